//! Global mean pooling, with the batch norm and ReLU before it.

use super::activation::{ChannelNorm, GateSums, Input};
use super::lanes::{Sums, Vector, copy, load, map_run, store, tail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, dispatch, lanes};

/// Fewest elements worth a task of their own.
const TASK: usize = 8192;

/// Elements between two folds of the sums.
const RUN: usize = 4096;

/// `y[n, c] = mean over the plane of z[c, ·, n]`, where `z` is what `x` stands for.
///
/// Shapes: `x: [C, plane, N]`, `y: [N, C]`.
pub fn forward<E: Stored>(x: Input<'_, E>, y: &mut [E::Real], plane: usize, batch: usize) {
    let channels = check(x.values().len(), y.len(), plane, batch);
    let zero = E::Real::from_f64(0.0);
    let share = E::Real::from_f64(1.0 / plane as f64);
    let mut sums = vec![zero; y.len()];
    let each = sums.par_chunks_mut(batch).zip(x.values().par_chunks(plane * batch)).enumerate();
    each.with_min_len(tasks(plane * batch)).for_each_init(
        || vec![zero; plane * batch],
        |scratch, (channel, (sums, plane))| {
            let norm = x.norm(channel);
            dispatch(Mean { x: plane, norm, scratch, sums });
        },
    );
    for (image, y) in y.chunks_exact_mut(channels).enumerate() {
        for (channel, y) in y.iter_mut().enumerate() {
            *y = sums[channel * batch + image] * share;
        }
    }
}

/// The gradient spread evenly: `dx[c, ·, n] = dy[n, c] / plane`.
///
/// Shapes: `dy: [N, C]`, `dx: [C, plane, N]`. If `x` is normalised, `dx` is the gradient behind the ReLU, 0 where it
/// lets nothing through, and `sums` takes its sums over each channel.
pub fn backward<E: Stored>(
    x: Input<'_, E>,
    dy: &[E::Real],
    dx: &mut [E],
    sums: Option<GateSums<'_, E::Real>>,
    plane: usize,
    batch: usize,
) {
    let channels = check(x.values().len(), dy.len(), plane, batch);
    assert_eq!(dx.len(), x.values().len(), "elements of the gradient to the input");
    let share = E::Real::from_f64(1.0 / plane as f64);
    let planes = dx.par_chunks_mut(plane * batch).zip(x.values().par_chunks(plane * batch)).enumerate();
    let totals: Vec<[f64; 2]> = planes
        .with_min_len(tasks(plane * batch))
        .map_init(
            || vec![E::Real::from_f64(0.0); plane * batch],
            |scratch, (channel, (dx, plane))| {
                let (first, rest) = scratch.split_at_mut(batch);
                for (image, share_of) in first.iter_mut().enumerate() {
                    *share_of = dy[image * channels + channel] * share;
                }
                rest.chunks_exact_mut(batch).for_each(|run| copy(first, run));
                let norm = x.gate(channel);
                dispatch(Spread { x: plane, norm, gradient: scratch, dx })
            },
        )
        .collect();
    if let Some(GateSums { sum, product }) = sums {
        for (channel, totals) in totals.iter().enumerate() {
            sum[channel] = E::Real::from_f64(totals[0]);
            product[channel] = E::Real::from_f64(totals[1]);
        }
    }
}

/// Panics unless the sizes fit; gives the channels.
fn check(x: usize, pooled: usize, plane: usize, batch: usize) -> usize {
    assert!(plane > 0 && batch > 0, "an empty plane: {plane} pixels, {batch} images");
    assert_eq!(x, pooled * plane, "elements of the input");
    pooled / batch
}

/// Channels that make a task together.
fn tasks(plane: usize) -> usize {
    (TASK / plane).max(1)
}

/// Sums one channel over its plane, image by image.
struct Mean<'a, E: Stored> {
    x: &'a [E],
    norm: Option<ChannelNorm<E::Real>>,
    scratch: &'a mut [E::Real],
    sums: &'a mut [E::Real],
}

impl<E: Stored> WithSimd for Mean<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, norm, scratch, sums } = self;
        let len = (x.len(), tail::<E::Real, S>(simd, x.len()));
        match norm {
            Some(norm) => map_run(
                simd,
                [x],
                scratch,
                len,
                #[inline(always)]
                |[y]| norm.apply_vector(simd, y),
            ),
            None => map_run(
                simd,
                [x],
                scratch,
                len,
                #[inline(always)]
                |[value]| value,
            ),
        }
        for run in scratch.chunks_exact(sums.len()) {
            for (sum, &value) in sums.iter_mut().zip(run) {
                *sum += value;
            }
        }
    }
}

/// Gates the gradient of one channel; gives Σ g and Σ g·(y − mean).
pub(super) struct Spread<'a, E: Stored> {
    pub(super) x: &'a [E],
    pub(super) norm: Option<ChannelNorm<E::Real>>,
    pub(super) gradient: &'a [E::Real],
    pub(super) dx: &'a mut [E],
}

impl<E: Stored> WithSimd for Spread<'_, E> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { x, norm, gradient, dx } = self;
        let Some(norm) = norm else {
            map_run(
                simd,
                [gradient],
                dx,
                (x.len(), tail::<E::Real, S>(simd, x.len())),
                #[inline(always)]
                |[value]| value,
            );
            return [0.0; 2];
        };
        let mut totals = Sums::<E::Real, S, 2>::new(simd);
        let lanes = lanes::<E::Real, S>();
        for ((x, gradient), dx) in x.chunks(RUN).zip(gradient.chunks(RUN)).zip(dx.chunks_mut(RUN)) {
            let len = x.len();
            let (mut x, mut dx) = (x.chunks_exact(lanes), dx.chunks_exact_mut(lanes));
            let mut gradient = gradient.chunks_exact(lanes);
            for ((x, gradient), dx) in x.by_ref().zip(gradient.by_ref()).zip(dx.by_ref()) {
                let (y, gradient) = (E::load_vector(simd, x), E::Real::load_vector(simd, gradient));
                E::store_vector(simd, dx, gated(simd, y, gradient, norm, &mut totals));
            }
            let dx = dx.into_remainder();
            if !dx.is_empty() {
                // The lanes past the end of `gradient` are zeros, and add nothing.
                let (y, gradient) = (load(simd, x.remainder()), load(simd, gradient.remainder()));
                store(simd, dx, gated(simd, y, gradient, norm, &mut totals));
            }
            totals.added(simd, len);
        }
        totals.finish(simd)
    }
}

/// One vector of a gradient behind the ReLU; adds to its sums.
#[inline(always)]
fn gated<T: Real, S: Simd>(
    simd: S,
    y: Vector<T, S>,
    gradient: Vector<T, S>,
    norm: ChannelNorm<T>,
    totals: &mut Sums<T, S, 2>,
) -> Vector<T, S> {
    let gradient = norm.gate(simd, norm.linear_vector(simd, y), gradient);
    let centred = T::v_sub(simd, y, T::v_splat(simd, norm.mean));
    totals.lanes[0] = T::v_add(simd, totals.lanes[0], gradient);
    totals.lanes[1] = T::v_mul_add(simd, gradient, centred, totals.lanes[1]);
    gradient
}

#[cfg(test)]
mod tests {
    use super::super::activation::Norm;
    use super::*;
    use half::bf16;
    use sparse_network::Bounds;

    const CHANNELS: usize = 3;
    const MEAN: [f64; 3] = [0.25, -0.5, 0.125];
    const GAIN: [f64; 3] = [1.5, -0.75, 2.0];
    const OFFSET: [f64; 3] = [0.25, 0.125, -0.5];
    /// Below many of the values, so that the gate shuts at both ends.
    const CEILING: f64 = 0.75;

    /// y, dx and the two sums.
    type Results = [Vec<f64>; 4];

    /// Numbers that f32 and bf16 hold exactly, so that a gate closes for all types alike.
    fn values(len: usize, seed: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 127) as f64 / 64.0 - 1.0).collect()
    }

    /// One step after the other, one element at a time.
    fn expected(plane: usize, batch: usize, normalised: bool) -> Results {
        let (x, dy) = (values(CHANNELS * plane * batch, 1), values(CHANNELS * batch, 2));
        let mut results = [vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; CHANNELS], vec![0.0; CHANNELS]];
        let [y, dx, sum, product] = &mut results;
        for (i, &x) in x.iter().enumerate() {
            let c = i / (plane * batch);
            let pooled = i % batch * CHANNELS + c;
            let z = if normalised { ((x - MEAN[c]) * GAIN[c] + OFFSET[c]).clamp(0.0, CEILING) } else { x };
            y[pooled] += z / plane as f64;
            dx[i] = dy[pooled] / plane as f64;
            if normalised {
                dx[i] *= f64::from(z > 0.0 && z < CEILING);
                sum[c] += dx[i];
                product[c] += dx[i] * (x - MEAN[c]);
            }
        }
        results
    }

    fn computed<E: Stored>(plane: usize, batch: usize, normalised: bool) -> Results {
        let real = |values: &[f64]| values.iter().map(|&v| E::Real::from_f64(v)).collect::<Vec<_>>();
        let wide = |values: Vec<E::Real>| values.into_iter().map(Real::widen).collect::<Vec<_>>();
        let x: Vec<E> = real(&values(CHANNELS * plane * batch, 1)).into_iter().map(E::store).collect();
        let dy = real(&values(CHANNELS * batch, 2));
        let [mean, gain, offset] = [MEAN, GAIN, OFFSET].map(|values| real(&values));
        let input = match normalised {
            true => {
                let bounds = Bounds { low: 0.0, high: CEILING };
                Input::Normalised(&x, Norm { mean: &mean, gain: &gain, offset: &offset, bounds })
            }
            false => Input::Plain(&x),
        };
        // What lies in the results before must not matter.
        let one = E::Real::from_f64(1.0);
        let (mut y, mut dx) = (vec![one; dy.len()], vec![E::store(one); x.len()]);
        let (mut sum, mut product) = (real(&[0.0; CHANNELS]), real(&[0.0; CHANNELS]));
        forward(input, &mut y, plane, batch);
        let sums = normalised.then_some(GateSums { sum: &mut sum, product: &mut product });
        backward(input, &dy, &mut dx, sums, plane, batch);
        [wide(y), wide(dx.into_iter().map(E::load).collect()), wide(sum), wide(product)]
    }

    fn cases() -> impl Iterator<Item = (usize, usize, bool)> {
        let sizes =
            [1, 4, 5, 12, 49, 126].into_iter().flat_map(|plane| [1, 5, 8, 9, 32, 43].map(|n| (plane, n)));
        sizes.flat_map(|(plane, batch)| [(plane, batch, false), (plane, batch, true)])
    }

    fn check<E: Stored>(tolerance: f64) {
        for (plane, batch, normalised) in cases() {
            let expected = expected(plane, batch, normalised);
            for (a, b) in expected.iter().zip(&computed::<E>(plane, batch, normalised)) {
                let near = a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * a.abs().max(1.0));
                assert!(near && a.len() == b.len(), "{plane} {batch} {normalised}: {a:?}, {b:?}");
            }
        }
    }

    #[test]
    fn all_types_agree_with_the_separate_steps() {
        check::<f64>(1e-12);
        check::<f32>(1e-5);
        check::<bf16>(1.0 / 128.0);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (one, two) = (pool(1), pool(2));
        for (plane, batch, normalised) in cases() {
            let computed = || computed::<f32>(plane, batch, normalised);
            assert_eq!(one.install(computed), two.install(computed), "{plane} {batch} {normalised}");
        }
    }
}
