//! The sum of two results, as at the end of a residual block, and the way of a gradient through it.
//!
//! What is added is read as convolutions read it; the sum is bounded when it is written. Backward the gradient to the sum is that
//! to both parts, so that it stays where it is, unless a part has bounds or other readers.

use super::activation::{ChannelNorm, Input, InputGradient};
use super::lanes::{Sums, load, store};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_network::Bounds;
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, Vectors, dispatch, lanes};

/// Fewest elements worth a task of their own.
const TASK: usize = 8192;

/// Elements between two folds of the sums.
const RUN: usize = 4096;

/// `z = min(max(a + b, low), high)`.
///
/// Shapes: `a, b, z: [C, pixels]`.
///
/// # Panics
/// If the slices are of different lengths: a fault of the caller.
pub fn forward<E: Stored>(a: Input<'_, E>, b: Input<'_, E>, z: &mut [E], bounds: Bounds, channels: usize) {
    let pixels = pixels(z.len(), channels);
    assert!(a.values().len() == z.len() && b.values().len() == z.len(), "parts of a sum of {}", z.len());
    let parts = a.values().par_chunks(pixels).zip(b.values().par_chunks(pixels));
    let each = z.par_chunks_mut(pixels).zip(parts).enumerate().with_min_len((TASK / pixels).max(1));
    each.for_each(|(channel, (z, (x, y)))| {
        let norms = [a.norm(channel), b.norm(channel)]
            .map(|norm| norm.unwrap_or(ChannelNorm::identity(Bounds::NONE)));
        dispatch(Add { parts: [x, y], norms, z, bounds: ChannelNorm::identity(bounds) });
    });
}

/// The gradient to a part `x` of a sum, from that to the sum: it goes to `dx.values`, or, without `g`, lies there already.
///
/// Shapes: `g, x, dx.values: [C, pixels]`.
///
/// # Panics
/// If the slices are of different lengths: a fault of the caller.
pub fn backward<E: Stored>(g: Option<&[E]>, x: Input<'_, E>, dx: InputGradient<'_, E>, channels: usize) {
    let InputGradient { values, adds, gated, sums } = dx;
    let pixels = pixels(values.len(), channels);
    assert!(
        x.values().len() == values.len() && g.is_none_or(|g| g.len() == values.len()),
        "gradient of a sum"
    );
    let each = values.par_chunks_mut(pixels).zip(x.values().par_chunks(pixels)).enumerate();
    let totals: Vec<[f64; 2]> = each
        .with_min_len((TASK / pixels).max(1))
        .map(|(channel, (dx, x_values))| {
            let g = g.map(|g| &g[channel * pixels..][..pixels]);
            let norm = if gated { x.gate(channel) } else { None };
            dispatch(Pass { g, x: x_values, norm, dx, adds })
        })
        .collect();
    if let Some(sums) = sums {
        for (channel, totals) in totals.into_iter().enumerate() {
            sums.sum[channel] = E::Real::from_f64(totals[0]);
            sums.product[channel] = E::Real::from_f64(totals[1]);
        }
    }
}

/// Pixels of a channel, at least one.
fn pixels(len: usize, channels: usize) -> usize {
    assert!(channels > 0 && len.is_multiple_of(channels), "{len} numbers of {channels} channels");
    (len / channels).max(1)
}

/// One channel of a sum.
struct Add<'a, E: Stored> {
    parts: [&'a [E]; 2],
    norms: [ChannelNorm<E::Real>; 2],
    z: &'a mut [E],
    bounds: ChannelNorm<E::Real>,
}

impl<E: Stored> WithSimd for Add<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { parts: [a, b], norms, z, bounds } = self;
        let lanes = lanes::<E::Real, S>();
        for start in (0..z.len()).step_by(lanes) {
            let end = z.len().min(start + lanes);
            let a = norms[0].apply_vector(simd, load(simd, &a[start..end]));
            let b = norms[1].apply_vector(simd, load(simd, &b[start..end]));
            store(simd, &mut z[start..end], bounds.bound(simd, E::Real::v_add(simd, a, b)));
        }
    }
}

/// One channel of the gradient to a part; gives Σ g and Σ g·(y − mean).
struct Pass<'a, E: Stored> {
    g: Option<&'a [E]>,
    x: &'a [E],
    norm: Option<ChannelNorm<E::Real>>,
    dx: &'a mut [E],
    adds: bool,
}

impl<E: Stored> WithSimd for Pass<'_, E> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { g, x, norm, dx, adds } = self;
        let lanes = lanes::<E::Real, S>();
        let mut totals = Sums::<E::Real, S, 2>::new(simd);
        let mut since = 0;
        for start in (0..x.len()).step_by(lanes) {
            let end = x.len().min(start + lanes);
            let y = load(simd, &x[start..end]);
            let mut gradient = match g {
                None => load(simd, &dx[start..end]),
                Some(g) => load(simd, &g[start..end]),
            };
            if adds {
                gradient = E::Real::v_add(simd, gradient, load(simd, &dx[start..end]));
            }
            if let Some(norm) = norm {
                // Lanes past the end hold a gradient of zero, and add nothing.
                gradient = norm.gate(simd, norm.linear_vector(simd, y), gradient);
                let centred = E::Real::v_sub(simd, y, E::Real::v_splat(simd, norm.mean));
                let [sum, product] = &mut totals.lanes;
                *sum = E::Real::v_add(simd, *sum, gradient);
                *product = E::Real::v_mul_add(simd, gradient, centred, *product);
            }
            store(simd, &mut dx[start..end], gradient);
            since += end - start;
            if since >= RUN {
                totals.added(simd, since);
                since = 0;
            }
        }
        totals.finish(simd)
    }
}
