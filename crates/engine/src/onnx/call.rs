//! A node of the file while it is read: its attributes by name, and errors that name it.

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

    /// Name of an input; none if it is left out.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        self.node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, OnnxError> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        attribute.i.ok_or_else(|| self.error(format!("attribute {name} is no integer")))
    }

    /// A real attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, OnnxError> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        attribute.f.ok_or_else(|| self.error(format!("attribute {name} is no real number")))
    }

    /// Attributes of integers that are counts, such as strides; all `default` if there is none.
    pub(super) fn counts<const N: usize>(
        &self,
        name: &str,
        default: [usize; N],
    ) -> Result<[usize; N], OnnxError> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        let counts: Option<Vec<usize>> =
            attribute.ints.iter().map(|&number| usize::try_from(number).ok()).collect();
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
            operator: self.operator().to_owned(),
            reason: reason.into(),
        }
    }
}

/// Whether a domain is ONNX's own.
pub(super) fn is_standard(domain: Option<&str>) -> bool {
    matches!(domain.unwrap_or_default(), "" | "ai.onnx")
}
