//! How a value is read: the batch norm or bias behind a convolution, and the way of a gradient back through it.

use super::across::Across;
use crate::Result;
use sparse_kernels::activation::{GateSums, Input, Norm, NormGradient, OutputGradient, Statistics};
use sparse_network::Bounds;
use sparse_vectors::Real;
use sparse_vectors::vector::Stored;

/// What is known of the channels of one value, `[C]` each; empty for a value without a norm.
#[derive(Default)]
pub(super) struct ChannelState<T> {
    pub(super) mean: Vec<T>,
    pub(super) variance: Vec<T>,
    /// 1 / sqrt(variance + ε).
    inverse: Vec<T>,
    /// scale · inverse.
    gain: Vec<T>,
    offset: Vec<T>,
    /// Backward: Σ g and Σ g·(y − mean) of the gated gradient.
    sum: Vec<T>,
    product: Vec<T>,
    constant: Vec<T>,
    slope: Vec<T>,
}

impl<T: Real> ChannelState<T> {
    /// Makes room for so many channels.
    pub(super) fn resize(&mut self, channels: usize) {
        let Self { mean, variance, inverse, gain, offset, sum, product, constant, slope } = self;
        for values in [mean, variance, inverse, gain, offset, sum, product, constant, slope] {
            values.resize(channels, T::from_f64(0.0));
        }
    }

    /// Where the statistics of a convolution's output go.
    pub(super) fn statistics<'a>(&'a mut self, shift: &'a [T]) -> Statistics<'a, T> {
        Statistics { shift, mean: &mut self.mean, variance: &mut self.variance }
    }

    /// The batch norm that follows from the statistics.
    pub(super) fn normalise(&mut self, scale: &[T], offset: &[T], epsilon: f64) {
        for (channel, &variance) in self.variance.iter().enumerate() {
            let inverse = 1.0 / (variance.widen() + epsilon).sqrt();
            self.inverse[channel] = T::from_f64(inverse);
            self.gain[channel] = T::from_f64(inverse * scale[channel].widen());
        }
        self.offset.copy_from_slice(offset);
    }

    /// Nothing but a bias: a norm that has no statistics, through which a gradient goes as it is.
    pub(super) fn shift(&mut self, bias: &[T]) {
        let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
        for values in [&mut self.mean, &mut self.variance, &mut self.constant, &mut self.slope] {
            values.fill(zero);
        }
        self.inverse.fill(one);
        self.gain.fill(one);
        self.offset.copy_from_slice(bias);
    }

    /// `raw` as its readers see it.
    pub(super) fn input<'a, E: Stored<Real = T>>(&'a self, raw: &'a [E], bounds: Bounds) -> Input<'a, E> {
        if !self.mean.is_empty() {
            Input::Normalised(raw, self.norm(bounds))
        } else if bounds.is_none() {
            Input::Plain(raw)
        } else {
            Input::Bounded(raw, bounds)
        }
    }

    /// As [`ChannelState::input`], and where the sums of its gradient go.
    pub(super) fn input_and_sums<'a, E: Stored<Real = T>>(
        &'a mut self,
        raw: &'a [E],
        bounds: Bounds,
    ) -> (Input<'a, E>, Option<GateSums<'a, T>>) {
        if self.mean.is_empty() {
            return (self.input(raw, bounds), None);
        }
        let norm = Norm { mean: &self.mean, gain: &self.gain, offset: &self.offset, bounds };
        (Input::Normalised(raw, norm), Some(GateSums { sum: &mut self.sum, product: &mut self.product }))
    }

    fn norm(&self, bounds: Bounds) -> Norm<'_, T> {
        Norm { mean: &self.mean, gain: &self.gain, offset: &self.offset, bounds }
    }

    /// From the sums of the gradient over `pixels` of a channel: this rank's part of the gradients to scale and offset, and how `g` becomes the
    /// gradient to the raw output.
    pub(super) fn close_gradient(&mut self, pixels: usize, across: &mut Across<'_>) -> Result<[Vec<T>; 2]> {
        let pixels = pixels as f64 * across.parts();
        let [sums, products] = across.sums(&self.sum, &self.product)?;
        let mut dscale = Vec::with_capacity(self.sum.len());
        for (channel, (sum, product)) in sums.into_iter().zip(products).enumerate() {
            let inverse = self.inverse[channel].widen();
            self.constant[channel] = T::from_f64(sum / pixels);
            self.slope[channel] = T::from_f64(product * inverse * inverse / pixels);
            dscale.push(T::from_f64(self.product[channel].widen() * inverse));
        }
        Ok([dscale, self.sum.clone()])
    }

    /// The gradient to a bias.
    pub(super) fn bias_gradient(&self) -> Vec<T> {
        self.sum.clone()
    }

    /// The gradient to the raw output, from the gated gradient `g` behind the bounds.
    pub(super) fn gradient<'a, E: Stored<Real = T>>(
        &'a self,
        g: &'a [E],
        raw: &'a [E],
    ) -> OutputGradient<'a, E> {
        if self.mean.is_empty() {
            return OutputGradient::Plain(g);
        }
        let norm =
            NormGradient { mean: &self.mean, gain: &self.gain, constant: &self.constant, slope: &self.slope };
        OutputGradient::ThroughNorm(g, raw, norm)
    }
}
