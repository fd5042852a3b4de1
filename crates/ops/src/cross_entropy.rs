//! Softmax cross-entropy.

use crate::host::{Binary, Element, Op, Operand, Output, Unary};
use candle_core::{Result, Shape, Tensor, bail};
use sparse_kernels::cross_entropy;
use std::sync::Arc;

/// Mean softmax cross-entropy of the batch, with label smoothing `smoothing` (fraction, 0 = off).
///
/// Shapes: `logits: [N, classes]`, `labels`: N entries, each below `classes`; result a scalar.
///
/// # Errors
/// If the number of labels is not N, a label is too large, or the element type is not f32 or f64.
pub fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    check(logits, labels)?;
    logits.contiguous()?.apply_op1(Op(Forward { labels: labels.into(), smoothing }))
}

fn check(logits: &Tensor, labels: &[u32]) -> Result<()> {
    let (batch, classes) = logits.dims2()?;
    if labels.len() != batch || batch == 0 {
        bail!("cross_entropy: {batch} rows of logits, {} labels", labels.len());
    }
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        bail!("cross_entropy: label {label} with {classes} classes");
    }
    Ok(())
}

struct Forward {
    labels: Arc<[u32]>,
    smoothing: f64,
}

struct InputGradient {
    labels: Arc<[u32]>,
    smoothing: f64,
}

impl Unary for Forward {
    const NAME: &'static str = "cross-entropy";

    fn run<T: Element>(&self, logits: Operand<'_, T>) -> Output<T> {
        Ok((vec![cross_entropy::forward(logits.data, &self.labels, self.smoothing)], Shape::from(())))
    }

    fn gradient(&self, logits: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let gradient = InputGradient { labels: self.labels.clone(), smoothing: self.smoothing };
        logits.apply_op2_no_bwd(dy, &Op(gradient))
    }
}

impl Binary for InputGradient {
    const NAME: &'static str = "cross-entropy-input-gradient";

    fn run<T: Element>(&self, logits: Operand<'_, T>, dy: Operand<'_, T>) -> Output<T> {
        let mut dlogits = vec![T::default(); logits.data.len()];
        cross_entropy::input_gradient(logits.data, &self.labels, self.smoothing, dy.data[0], &mut dlogits);
        Ok((dlogits, Shape::from(logits.dims.to_vec())))
    }
}
