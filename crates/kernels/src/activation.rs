//! What convolutions read and write while training: batch norm and ReLU happen on the way, not in passes of their own.
//!
//! A convolution writes its raw output `y` and gathers the mean and variance of each channel as it writes. Whoever reads
//! it next normalises and rectifies in registers. Backward, the gradient `g` behind a ReLU is written already gated,
//! with the two sums that batch norm needs, and the reader turns `g` and `y` into the gradient to `y`.
//!
//! Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1 and section 3; variance is biased, as PaddlePaddle keeps it.

use pulp::Simd;
use sparse_network::Bounds;
use sparse_vectors::Real;
use sparse_vectors::vector::Stored;

/// Batch norm and bounds of each channel, `[C]` each: `z = min(max((y − mean) · gain + offset, low), high)`.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a, T> {
    /// Mean to subtract.
    pub mean: &'a [T],
    /// scale / sqrt(variance + ε).
    pub gain: &'a [T],
    /// Added last.
    pub offset: &'a [T],
    /// What bounds `z`, for all channels; a gradient passes between them.
    pub bounds: Bounds,
}

/// What a convolution reads, `[C, pixels]`.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, E: Stored> {
    /// The values themselves.
    Plain(&'a [E]),
    /// The raw output `y` of the layer before, to be normalised and bounded.
    Normalised(&'a [E], Norm<'a, E::Real>),
    /// Values that were bounded when they were written; a gradient passes between the bounds.
    Bounded(&'a [E], Bounds),
}

/// The way of a gradient back through batch norm, `[C]` each: `dy = gain · (g − constant − (y − mean) · slope)`.
#[derive(Clone, Copy, Debug)]
pub struct NormGradient<'a, T> {
    /// Mean of `y`.
    pub mean: &'a [T],
    /// scale / sqrt(variance + ε).
    pub gain: &'a [T],
    /// Σ g / M over the M pixels of a channel.
    pub constant: &'a [T],
    /// Σ g·(y − mean) / (M · (variance + ε)).
    pub slope: &'a [T],
}

/// The gradient to the output of a convolution, `[C, pixels]`.
#[derive(Clone, Copy, Debug)]
pub enum OutputGradient<'a, E: Stored> {
    /// The values themselves.
    Plain(&'a [E]),
    /// The gated gradient `g` behind batch norm and ReLU, and the raw output `y`.
    ThroughNorm(&'a [E], &'a [E], NormGradient<'a, E::Real>),
}

/// The statistics a convolution gathers of its output, `[C]` each.
#[derive(Debug)]
pub struct Statistics<'a, T> {
    /// A value near the mean (the running mean, say): sums are taken of `y − shift`, which keeps their digits.
    pub shift: &'a [T],
    /// Mean of the batch.
    pub mean: &'a mut [T],
    /// Biased variance of the batch.
    pub variance: &'a mut [T],
}

/// The sums a backward pass gathers of the gated gradient `g` to its input, `[C]` each.
#[derive(Debug)]
pub struct GateSums<'a, T> {
    /// Σ g: the gradient to the offset.
    pub sum: &'a mut [T],
    /// Σ g·(y − mean): the gradient to the scale, times sqrt(variance + ε).
    pub product: &'a mut [T],
}

/// Where the gradient to what a layer read goes, `[C, pixels]`.
#[derive(Debug)]
pub struct InputGradient<'a, E: Stored> {
    /// Written, or added to.
    pub values: &'a mut [E],
    /// Whether what lies there is a part of the gradient, from other readers.
    pub adds: bool,
    /// Whether this is the last part, after which the gradient is shut where the bounds of the input were.
    pub gated: bool,
    /// Takes the sums over the last part; for a normalised input only.
    pub sums: Option<GateSums<'a, E::Real>>,
}

impl<'a, E: Stored> InputGradient<'a, E> {
    /// The gradient from the only reader.
    pub fn only(values: &'a mut [E], sums: Option<GateSums<'a, E::Real>>) -> Self {
        Self { values, adds: false, gated: true, sums }
    }
}

impl<'a, E: Stored> Input<'a, E> {
    /// The elements as they are stored.
    pub fn values(&self) -> &'a [E] {
        match *self {
            Self::Plain(values) | Self::Normalised(values, _) | Self::Bounded(values, _) => values,
        }
    }

    /// How channel `channel` is to be read; `None` = as it is.
    #[inline(always)]
    pub(crate) fn norm(&self, channel: usize) -> Option<ChannelNorm<E::Real>> {
        match self {
            Self::Plain(_) | Self::Bounded(..) => None,
            Self::Normalised(_, norm) => Some(norm.channel(channel)),
        }
    }

    /// Where a gradient to channel `channel` passes; `None` = everywhere.
    #[inline(always)]
    pub(crate) fn gate(&self, channel: usize) -> Option<ChannelNorm<E::Real>> {
        match self {
            Self::Plain(_) => None,
            Self::Normalised(_, norm) => Some(norm.channel(channel)),
            Self::Bounded(_, bounds) => Some(ChannelNorm::identity(*bounds)),
        }
    }
}

impl<T: Real> Norm<'_, T> {
    /// The coefficients of one channel.
    #[inline(always)]
    pub(crate) fn channel(&self, channel: usize) -> ChannelNorm<T> {
        ChannelNorm {
            mean: self.mean[channel],
            gain: self.gain[channel],
            offset: self.offset[channel],
            low: T::from_f64(self.bounds.low),
            high: T::from_f64(self.bounds.high),
        }
    }
}

/// [`Norm`] of one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelNorm<T> {
    pub(crate) mean: T,
    pub(crate) gain: T,
    pub(crate) offset: T,
    pub(crate) low: T,
    pub(crate) high: T,
}

impl<T: Real> ChannelNorm<T> {
    /// Nothing but bounds.
    #[inline(always)]
    pub(crate) fn identity(bounds: Bounds) -> Self {
        let [low, high] = [bounds.low, bounds.high].map(T::from_f64);
        Self { mean: T::zero(), gain: T::one(), offset: T::zero(), low, high }
    }

    /// `z` of one element.
    #[inline(always)]
    pub(crate) fn apply(&self, y: T) -> T {
        let z = (y - self.mean).mul_add(self.gain, self.offset);
        // A NaN passes through, so that the loss shows it.
        if z < self.low {
            self.low
        } else if self.high < z {
            self.high
        } else {
            z
        }
    }

    /// Whether a gradient passes to one element.
    #[inline(always)]
    pub(crate) fn lets_through(&self, y: T) -> bool {
        let z = (y - self.mean).mul_add(self.gain, self.offset);
        self.low < z && z < self.high
    }

    /// `z` of a register, before the bounds.
    #[inline(always)]
    pub(crate) fn linear_vector<S: Simd>(&self, simd: S, y: T::Vector<S>) -> T::Vector<S> {
        let centred = T::v_sub(simd, y, T::v_splat(simd, self.mean));
        T::v_mul_add(simd, centred, T::v_splat(simd, self.gain), T::v_splat(simd, self.offset))
    }

    /// `z` of a register.
    #[inline(always)]
    pub(crate) fn apply_vector<S: Simd>(&self, simd: S, y: T::Vector<S>) -> T::Vector<S> {
        self.bound(simd, self.linear_vector(simd, y))
    }

    /// `z` of what [`ChannelNorm::linear_vector`] gave.
    #[inline(always)]
    pub(crate) fn bound<S: Simd>(&self, simd: S, linear: T::Vector<S>) -> T::Vector<S> {
        T::v_bound(simd, linear, T::v_splat(simd, self.low), T::v_splat(simd, self.high))
    }

    /// `gradient` where it passes to an element whose [`ChannelNorm::linear_vector`] is `linear`, else 0.
    #[inline(always)]
    pub(crate) fn gate<S: Simd>(
        &self,
        simd: S,
        linear: T::Vector<S>,
        gradient: T::Vector<S>,
    ) -> T::Vector<S> {
        T::where_between(simd, linear, T::v_splat(simd, self.low), T::v_splat(simd, self.high), gradient)
    }
}

/// [`NormGradient`] of one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelNormGradient<T> {
    pub(crate) mean: T,
    pub(crate) gain: T,
    pub(crate) constant: T,
    pub(crate) slope: T,
}

impl<T: Real> ChannelNormGradient<T> {
    /// `dy` of one element.
    #[inline(always)]
    pub(crate) fn apply(&self, g: T, y: T) -> T {
        self.gain * (self.slope.mul_add(self.mean - y, g - self.constant))
    }

    /// `dy` of a register.
    #[inline(always)]
    pub(crate) fn apply_vector<S: Simd>(&self, simd: S, g: T::Vector<S>, y: T::Vector<S>) -> T::Vector<S> {
        let centred = T::v_sub(simd, T::v_splat(simd, self.mean), y);
        let rest = T::v_sub(simd, g, T::v_splat(simd, self.constant));
        T::v_mul(
            simd,
            T::v_splat(simd, self.gain),
            T::v_mul_add(simd, T::v_splat(simd, self.slope), centred, rest),
        )
    }
}

impl<E: Stored> OutputGradient<'_, E> {
    /// Elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(values) | Self::ThroughNorm(values, ..) => values.len(),
        }
    }
}

impl<T: Real> NormGradient<'_, T> {
    /// The coefficients of one channel.
    #[inline(always)]
    pub(crate) fn channel(&self, channel: usize) -> ChannelNormGradient<T> {
        ChannelNormGradient {
            mean: self.mean[channel],
            gain: self.gain[channel],
            constant: self.constant[channel],
            slope: self.slope[channel],
        }
    }
}

/// Mean and biased variance from Σ (y − shift) and Σ (y − shift)² over `count` pixels.
pub(crate) fn moments<T: Real>(shift: T, sum: f64, squares: f64, count: usize) -> (T, T) {
    let offset = sum / count as f64;
    let variance = (squares / count as f64 - offset * offset).max(0.0);
    (T::from_f64(shift.widen() + offset), T::from_f64(variance))
}
