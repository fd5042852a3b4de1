//! A node of the file while it is read: its attributes by name, and errors that name it. That its attributes are such as its
//! operator has is checked before (`check.rs`); a value of zero may be left out.

use super::OnnxError;
use super::proto::{AttributeProto, NodeProto};

/// A node of the file.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    /// Version of the operators.
    pub(super) opset: i64,
}

impl<'a> Call<'a> {
    /// The node's name, or that of its first output if it has none.
    pub(super) fn name(&self) -> &'a str {
        let name = self.node.name.as_deref().filter(|name| !name.is_empty());
        name.or(self.node.output.first().map(String::as_str)).unwrap_or("without a name")
    }

    pub(super) fn operator(&self) -> &'a str {
        self.node.op_type.as_deref().unwrap_or_default()
    }

    /// The operator, after its domain if that is not ONNX's own.
    pub(super) fn full_operator(&self) -> String {
        if self.is_standard() {
            return self.operator().to_owned();
        }
        format!("{}.{}", self.node.domain.as_deref().unwrap_or_default(), self.operator())
    }

    /// Whether the operator is of ONNX's own domain.
    pub(super) fn is_standard(&self) -> bool {
        is_standard(self.node.domain.as_deref())
    }

    /// Whether the operator is one of ONNX's own, or what ONNX Runtime calls its twin of one.
    pub(super) fn is_known(&self) -> bool {
        let is_twin = matches!(self.operator(), "QuantizeLinear" | "DequantizeLinear");
        self.is_standard() || is_twin && self.node.domain.as_deref() == Some("com.microsoft")
    }

    /// Name of an input; none if it is left out.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        self.node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i.unwrap_or_default())
    }

    /// A real attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f.unwrap_or_default())
    }

    /// A text attribute.
    pub(super) fn text(&self, name: &str, default: &'static str) -> std::borrow::Cow<'a, str> {
        let bytes = |attribute: &'a AttributeProto| attribute.s.as_deref().unwrap_or_default();
        self.attribute(name).map_or(default.into(), |attribute| String::from_utf8_lossy(bytes(attribute)))
    }

    /// A list of integers.
    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// Attributes of integers that are counts, such as strides; all `default` if there is none.
    pub(super) fn counts<const N: usize>(
        &self,
        name: &str,
        default: [usize; N],
    ) -> Result<[usize; N], OnnxError> {
        let Some(numbers) = self.ints(name) else { return Ok(default) };
        let counts: Option<Vec<usize>> = numbers.iter().map(|&number| usize::try_from(number).ok()).collect();
        counts.and_then(|counts| counts.try_into().ok()).ok_or_else(|| {
            self.error(format!(
                "attribute {name} must be {N} numbers that are not negative (images of two axes)"
            ))
        })
    }

    /// An error that names the node.
    pub(super) fn error(&self, reason: impl Into<String>) -> OnnxError {
        OnnxError::Node {
            node: self.name().to_owned(),
            operator: self.full_operator(),
            reason: reason.into(),
        }
    }
}

/// Whether a domain is ONNX's own.
pub(super) fn is_standard(domain: Option<&str>) -> bool {
    matches!(domain.unwrap_or_default(), "" | "ai.onnx")
}
