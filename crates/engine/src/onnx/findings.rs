//! What is wrong with a file, gathered so that one error can name all of it.

use std::collections::BTreeMap;

use super::call::Call;
use super::error::{OnnxError, OtherFault, UnsupportedOperator};

/// Nodes that an error names for each operator.
const NAMED_NODES: usize = 5;
/// Faults that an error names besides operators.
const NAMED_FAULTS: usize = 8;

/// Operators and nodes that cannot be read.
#[derive(Default)]
pub(super) struct Findings {
    operators: BTreeMap<String, UnsupportedOperator>,
    /// In the order in which they were found; nodes with the same fault count as one.
    faults: Vec<(Option<[String; 2]>, OnnxError, usize)>,
}

impl Findings {
    /// Notes an operator that is not supported.
    pub(super) fn unsupported(&mut self, call: &Call<'_>) {
        let operator = call.full_operator();
        let entry = self.operators.entry(operator.clone());
        let entry = entry.or_insert_with(|| UnsupportedOperator { operator, nodes: Vec::new(), count: 0 });
        entry.count += 1;
        if entry.nodes.len() < NAMED_NODES {
            entry.nodes.push(call.name().to_owned());
        }
    }

    /// Notes a node that cannot be read.
    pub(super) fn fault(&mut self, error: OnnxError) {
        let kind = match &error {
            OnnxError::Node { operator, reason, .. } => Some([operator.clone(), reason.clone()]),
            _ => None,
        };
        match self.faults.iter_mut().find(|(known, ..)| kind.is_some() && *known == kind) {
            Some((.., count)) => *count += 1,
            None => self.faults.push((kind, error, 1)),
        }
    }

    /// The error that names everything; `Ok` if there is nothing.
    pub(super) fn refuse(&mut self) -> Result<(), OnnxError> {
        let operators: Vec<_> = std::mem::take(&mut self.operators).into_values().collect();
        let mut faults = std::mem::take(&mut self.faults);
        if operators.is_empty() && faults.is_empty() {
            return Ok(());
        }
        if operators.is_empty() && matches!(faults[..], [(_, _, 1)]) {
            return faults.pop().map_or(Ok(()), |(_, error, _)| Err(error));
        }
        let left_out = faults.len().saturating_sub(NAMED_FAULTS);
        let other = |(_, error, count): (_, OnnxError, usize)| OtherFault { first: error.to_string(), count };
        let others = faults.into_iter().take(NAMED_FAULTS).map(other).collect();
        Err(OnnxError::Unsupported { operators, others, left_out })
    }

    /// An error that ends the reading, after what was found before it.
    pub(super) fn with(&mut self, error: OnnxError) -> OnnxError {
        if self.operators.is_empty() && self.faults.is_empty() {
            return error;
        }
        self.fault(error);
        match self.refuse() {
            Err(all) => all,
            Ok(()) => OnnxError::NoOutput,
        }
    }
}
