//! What one convolution keeps between forward and backward.

use super::across::Across;
use super::buffer::Buffer;
use crate::Result;
use sparse_kernels::Real;
use sparse_kernels::host::activation::{
    Activation, GateSums, Input, Norm, NormGradient, OutputGradient, Statistics,
};
use sparse_kernels::host::features::Output;
use sparse_kernels::host::vector::Stored;

/// Raw output of a convolution and the batch norm behind it.
#[derive(Default)]
pub(super) struct Layer<E: Stored> {
    /// Raw output, `[C, H, W, N]`.
    pub(super) y: Buffer<E>,
    /// Height and width of the output.
    pub(super) size: [usize; 2],
    pub(super) mean: Vec<E::Real>,
    pub(super) variance: Vec<E::Real>,
    /// 1 / sqrt(variance + ε).
    inverse: Vec<E::Real>,
    /// scale · inverse.
    gain: Vec<E::Real>,
    offset: Vec<E::Real>,
    activation: Activation,
    /// Backward: Σ g and Σ g·(y − mean) of the gated gradient.
    sum: Vec<E::Real>,
    product: Vec<E::Real>,
    constant: Vec<E::Real>,
    slope: Vec<E::Real>,
}

impl<E: Stored> Layer<E> {
    /// Makes room for an output of `channels` channels and `[height, width]` for `batch` images.
    pub(super) fn resize(&mut self, channels: usize, size: [usize; 2], batch: usize) -> Result<()> {
        self.size = size;
        self.y.resize(channels * size[0] * size[1] * batch)?;
        for values in [
            &mut self.mean,
            &mut self.variance,
            &mut self.inverse,
            &mut self.gain,
            &mut self.offset,
            &mut self.sum,
            &mut self.product,
            &mut self.constant,
            &mut self.slope,
        ] {
            values.resize(channels, E::Real::from_f64(0.0));
        }
        Ok(())
    }

    /// Where a convolution writes, and where its statistics go.
    pub(super) fn target<'a>(&'a mut self, shift: &'a [E::Real]) -> (&'a mut [E], Statistics<'a, E::Real>) {
        (self.y.as_mut_slice(), Statistics { shift, mean: &mut self.mean, variance: &mut self.variance })
    }

    /// The batch norm that follows from the statistics, and what comes behind it.
    pub(super) fn normalise(
        &mut self,
        [scale, offset]: [&[E::Real]; 2],
        epsilon: f64,
        activation: Activation,
    ) {
        for (channel, &variance) in self.variance.iter().enumerate() {
            let inverse = 1.0 / (variance.widen() + epsilon).sqrt();
            self.inverse[channel] = E::Real::from_f64(inverse);
            self.gain[channel] = E::Real::from_f64(inverse * scale[channel].widen());
        }
        self.offset.copy_from_slice(offset);
        self.activation = activation;
    }

    /// The output as the next layer reads it.
    pub(super) fn output(&self) -> Input<'_, E> {
        let Output { raw, norm } = self.features();
        Input::Normalised(raw, norm)
    }

    /// The output as it is compared with a teacher's.
    pub(super) fn features(&self) -> Output<'_, E> {
        let ceiling = self.activation.ceiling();
        let norm = Norm { mean: &self.mean, gain: &self.gain, offset: &self.offset, ceiling };
        Output { raw: self.y.as_slice(), norm }
    }

    /// As [`Layer::features`], and the sums of its gradient.
    pub(super) fn features_and_sums(&mut self) -> (Output<'_, E>, GateSums<'_, E::Real>) {
        let ceiling = self.activation.ceiling();
        let norm = Norm { mean: &self.mean, gain: &self.gain, offset: &self.offset, ceiling };
        let sums = GateSums { sum: &mut self.sum, product: &mut self.product };
        (Output { raw: self.y.as_slice(), norm }, sums)
    }

    /// The output as the next layer reads it, and where the sums of its gradient go.
    pub(super) fn output_and_sums(&mut self) -> (Input<'_, E>, GateSums<'_, E::Real>) {
        let (Output { raw, norm }, sums) = self.features_and_sums();
        (Input::Normalised(raw, norm), sums)
    }

    /// From the sums of the gradient: this rank's part of the gradients to scale and offset, and how `g` becomes the gradient to `y`.
    pub(super) fn close_gradient(
        &mut self,
        batch: usize,
        across: &mut Across<'_>,
    ) -> Result<[Vec<E::Real>; 2]> {
        let pixels = (self.size[0] * self.size[1] * batch) as f64 * across.parts();
        let [sums, products] = across.sums(&self.sum, &self.product)?;
        let mut dscale = Vec::with_capacity(self.sum.len());
        for (channel, (sum, product)) in sums.into_iter().zip(products).enumerate() {
            let inverse = self.inverse[channel].widen();
            self.constant[channel] = E::Real::from_f64(sum / pixels);
            self.slope[channel] = E::Real::from_f64(product * inverse * inverse / pixels);
            dscale.push(E::Real::from_f64(self.product[channel].widen() * inverse));
        }
        Ok([dscale, self.sum.clone()])
    }

    /// The gradient to the raw output, from the gated gradient `g` behind the ReLU.
    pub(super) fn gradient<'a>(&'a self, g: &'a [E]) -> OutputGradient<'a, E> {
        let norm =
            NormGradient { mean: &self.mean, gain: &self.gain, constant: &self.constant, slope: &self.slope };
        OutputGradient::ThroughNorm(g, self.y.as_slice(), norm)
    }
}
