//! Softmax cross-entropy.

use crate::host::{Binary, Element, Op, Operand, Output, Unary};
use candle_core::{Result, Shape, Tensor, bail};
use sparse_kernels::host::cross_entropy;
use std::sync::Arc;

/// Mean softmax cross-entropy of the batch, with label smoothing `smoothing` (fraction, 0 = off).
///
/// Shapes: `logits: [N, classes]`, `labels`: N entries, each below `classes`; result a scalar.
///
/// # Errors
/// If the number of labels is not N, a label is too large, or the element type is not f32 or f64.
pub fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    check(logits, labels)?;
    if logits.device().is_cuda() {
        return composed(logits, labels, smoothing);
    }
    logits.contiguous()?.apply_op1(Op(Forward { labels: labels.into(), smoothing }))
}

/// The same of candle's own operations.
fn composed(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let log_probabilities = shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?;
    let labels = Tensor::new(labels, logits.device())?.unsqueeze(1)?;
    let of_labels = log_probabilities.gather(&labels, 1)?.mean_all()?.affine(smoothing - 1.0, 0.0)?;
    of_labels + log_probabilities.mean_all()?.affine(-smoothing, 0.0)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// What CUDA tensors get is the operation's value and gradient.
    #[test]
    fn the_composition_is_the_operation() {
        let numbers: Vec<f64> = (0..15).map(|i| f64::from(i * 7 % 11) / 3.0 - 1.5).collect();
        let logits = Var::from_tensor(&Tensor::from_vec(numbers, (3, 5), &Device::Cpu).unwrap()).unwrap();
        for smoothing in [0.0, 0.1] {
            let both = [composed, cross_entropy].map(|loss: fn(&Tensor, &[u32], f64) -> Result<Tensor>| {
                let loss = loss(logits.as_tensor(), &[4, 0, 2], smoothing).unwrap();
                let gradient = loss.backward().unwrap().remove(logits.as_tensor()).unwrap();
                let mut values = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                values.push(loss.to_scalar::<f64>().unwrap());
                values
            });
            assert!(both[0].iter().zip(&both[1]).all(|(a, b)| (a - b).abs() < 1e-12), "{both:?}");
        }
    }
}
