//! How an operator is described: what each operator set lets it have, and what of that is supported.

use super::OnnxError;
use super::call::Call;
use super::proto::{
    FLOAT_ATTRIBUTE, FLOATS_ATTRIBUTE, INT_ATTRIBUTE, INTS_ATTRIBUTE, SPARSE_ATTRIBUTE, STRING_ATTRIBUTE,
    STRINGS_ATTRIBUTE, TENSOR_ATTRIBUTE,
};
use super::scope::{Scope, Value};

/// Makes what a node's first output stands for; further outputs go to [`Scope::more`].
pub(super) type Reader = for<'a> fn(&mut Scope<'a>, &Call<'a>) -> Result<Value<'a>, OnnxError>;

/// An operator of ONNX's own domain.
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// Reads nodes of which an input depends on the image.
    pub(super) images: Option<Reader>,
    /// Reads nodes of which all inputs are constants.
    pub(super) constants: Option<Reader>,
    /// What each operator set lets it have, oldest first.
    pub(super) forms: &'static [Form],
}

impl Operator {
    /// What an operator set lets it have; none if the operator came later.
    pub(super) fn form(&self, opset: i64) -> Option<&'static Form> {
        self.forms.iter().rev().find(|form| form.since <= opset)
    }
}

/// What an operator has from one operator set on.
pub(super) struct Form {
    pub(super) since: i64,
    /// Least and most inputs.
    pub(super) inputs: [usize; 2],
    /// Most outputs.
    pub(super) outputs: usize,
    /// What outputs after the first are to us.
    pub(super) further: Further,
    pub(super) settings: &'static [Setting],
}

impl Form {
    /// A form with one output.
    pub(super) const fn new(since: i64, inputs: [usize; 2], settings: &'static [Setting]) -> Self {
        Self { since, inputs, outputs: 1, further: Further::Computed, settings }
    }

    /// The form with more outputs.
    pub(super) const fn with_outputs(self, outputs: usize, further: Further) -> Self {
        Self { outputs, further, ..self }
    }
}

/// What outputs after the first are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Further {
    /// Results like the first.
    Computed,
    /// Not computed: nobody may read them.
    Unread,
    /// A mark of training: none may be there.
    Training,
}

/// An attribute.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    /// The one number that is supported, and what to do about others.
    pub(super) only: Option<(i64, &'static str)>,
}

impl Setting {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, is_required: false, only: None }
    }

    /// Nodes without it are malformed.
    pub(super) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Other numbers are not supported.
    pub(super) const fn only(self, number: i64, advice: &'static str) -> Self {
        Self { only: Some((number, advice)), ..self }
    }
}

/// An integer.
pub(super) const fn int(name: &'static str) -> Setting {
    Setting::new(name, Kind::Int)
}

/// Integers.
pub(super) const fn ints(name: &'static str) -> Setting {
    Setting::new(name, Kind::Ints)
}

/// A real number.
pub(super) const fn float(name: &'static str) -> Setting {
    Setting::new(name, Kind::Float)
}

/// Real numbers.
pub(super) const fn floats(name: &'static str) -> Setting {
    Setting::new(name, Kind::Floats)
}

/// A text.
pub(super) const fn text(name: &'static str) -> Setting {
    Setting::new(name, Kind::Text)
}

/// Texts.
pub(super) const fn texts(name: &'static str) -> Setting {
    Setting::new(name, Kind::Texts)
}

/// A constant.
pub(super) const fn tensor(name: &'static str) -> Setting {
    Setting::new(name, Kind::Tensor)
}

/// A constant that is stored without its zeros.
pub(super) const fn sparse(name: &'static str) -> Setting {
    Setting::new(name, Kind::Sparse)
}

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Text,
    Tensor,
    Floats,
    Ints,
    Texts,
    Sparse,
}

impl Kind {
    /// Its number in `AttributeProto.type`.
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::Float => FLOAT_ATTRIBUTE,
            Self::Int => INT_ATTRIBUTE,
            Self::Text => STRING_ATTRIBUTE,
            Self::Tensor => TENSOR_ATTRIBUTE,
            Self::Floats => FLOATS_ATTRIBUTE,
            Self::Ints => INTS_ATTRIBUTE,
            Self::Texts => STRINGS_ATTRIBUTE,
            Self::Sparse => SPARSE_ATTRIBUTE,
        }
    }

    /// What it is called in a message.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Float => "a real number (FLOAT)",
            Self::Int => "an integer (INT)",
            Self::Text => "a text (STRING)",
            Self::Tensor => "a tensor (TENSOR)",
            Self::Floats => "a list of real numbers (FLOATS)",
            Self::Ints => "a list of integers (INTS)",
            Self::Texts => "a list of texts (STRINGS)",
            Self::Sparse => "a sparse tensor (SPARSE_TENSOR)",
        }
    }
}
