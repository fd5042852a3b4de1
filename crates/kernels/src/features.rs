//! Feature distillation: how far the normalised and rectified output of a layer is from that of a teacher's same layer, as a relative
//! squared error, and its gradient, which is added to the gated one that the next layer left.
//!
//! Source: Romero et al. 2015, "FitNets", arXiv:1412.6550, equation 3 (features as hints); measured as `Σ (s − t)² / Σ t²` as in Frantar &
//! Alistarh 2022, "SPDY", arXiv:2201.13096, section 3.3 (Global AdaPrune), so that layers of any scale count alike.

use super::activation::{ChannelNorm, GateSums, Input};
use super::lanes::{Sums, Vector, load, store, tail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_network::Bounds;
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, Vectors, dispatch, lanes};

/// Fewest elements worth a task of their own.
const TASK: usize = 8192;

/// Elements between two folds of the sums.
const RUN: usize = 4096;

/// `Σ (s − t)²` and `Σ t²` over all channels, where `s` and `t` are the normalised and rectified outputs of student and teacher.
///
/// Both have the same channels of `pixels` pixels each. The order of the sums is fixed by the shapes.
pub fn errors<E: Stored, F: Stored<Real = E::Real>>(
    student: Input<'_, E>,
    teacher: Input<'_, F>,
    pixels: usize,
) -> [f64; 2] {
    check(&student, &teacher, pixels);
    let channels = student.values().par_chunks(pixels).zip(teacher.values().par_chunks(pixels)).enumerate();
    let totals: Vec<[f64; 2]> = channels
        .with_min_len(tasks(pixels))
        .map(|(channel, (student_raw, teacher_raw))| {
            let norms = [bounded(&student, channel), bounded(&teacher, channel)];
            dispatch(Errors { student: student_raw, teacher: teacher_raw, norms })
        })
        .collect();
    totals.iter().fold([0.0; 2], |sums, channel| [sums[0] + channel[0], sums[1] + channel[1]])
}

/// Adds `scale · (s − t)` to the gradient `dx` behind the ReLU of the student, where it lets a gradient through, and what was added to the
/// sums of that gradient.
///
/// Shapes as in [`errors`]; `dx: [C, pixels]`. With `scale = 2·u / Σ t²` this is the gradient of `u · Σ (s − t)² / Σ t²`.
pub fn add_gradient<E: Stored, F: Stored<Real = E::Real>>(
    student: Input<'_, E>,
    teacher: Input<'_, F>,
    scale: f64,
    dx: &mut [E],
    sums: Option<GateSums<'_, E::Real>>,
    pixels: usize,
) {
    check(&student, &teacher, pixels);
    assert_eq!(dx.len(), student.values().len(), "elements of the gradient");
    let scale = E::Real::from_f64(scale);
    let rows = student.values().par_chunks(pixels).zip(teacher.values().par_chunks(pixels)).enumerate();
    let totals: Vec<[f64; 2]> = dx
        .par_chunks_mut(pixels)
        .zip(rows)
        .with_min_len(tasks(pixels))
        .map(|(dx, (channel, (student_raw, teacher_raw)))| {
            let norms = [bounded(&student, channel), bounded(&teacher, channel)];
            dispatch(AddGradient { student: student_raw, teacher: teacher_raw, norms, scale, dx })
        })
        .collect();
    let Some(sums) = sums else { return };
    for (channel, [sum, product]) in totals.into_iter().enumerate() {
        sums.sum[channel] = E::Real::from_f64(sums.sum[channel].widen() + sum);
        sums.product[channel] = E::Real::from_f64(sums.product[channel].widen() + product);
    }
}

/// How a channel is read.
fn bounded<E: Stored>(x: &Input<'_, E>, channel: usize) -> ChannelNorm<E::Real> {
    x.gate(channel).unwrap_or(ChannelNorm::identity(Bounds::NONE))
}

/// Panics unless the sizes fit.
fn check<E: Stored, F: Stored<Real = E::Real>>(
    student: &Input<'_, E>,
    teacher: &Input<'_, F>,
    pixels: usize,
) {
    assert!(pixels > 0 && student.values().len().is_multiple_of(pixels), "whole channels of {pixels} pixels");
    assert_eq!(student.values().len(), teacher.values().len(), "elements of student and teacher");
}

/// Channels that make a task together.
fn tasks(pixels: usize) -> usize {
    (TASK / pixels).max(1)
}

/// The sums of one channel.
struct Errors<'a, E: Stored, F: Stored<Real = E::Real>> {
    student: &'a [E],
    teacher: &'a [F],
    norms: [ChannelNorm<E::Real>; 2],
}

impl<E: Stored, F: Stored<Real = E::Real>> WithSimd for Errors<'_, E, F> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { student, teacher, norms } = self;
        let tail = tail::<E::Real, S>(simd, student.len());
        let mut totals = Sums::<E::Real, S, 2>::new(simd);
        for (student, teacher) in student.chunks(RUN).zip(teacher.chunks(RUN)) {
            let lanes = lanes::<E::Real, S>();
            let (mut s, mut t) = (student.chunks_exact(lanes), teacher.chunks_exact(lanes));
            for (s, t) in s.by_ref().zip(t.by_ref()) {
                let [s, t] = [E::load_vector(simd, s), F::load_vector(simd, t)];
                square(simd, [norms[0].apply_vector(simd, s), norms[1].apply_vector(simd, t)], &mut totals);
            }
            if !s.remainder().is_empty() {
                let [s, t] = [load(simd, s.remainder()), load(simd, t.remainder())];
                let outputs = [norms[0].apply_vector(simd, s), norms[1].apply_vector(simd, t)];
                square(simd, outputs.map(|z| E::Real::where_positive(simd, tail, z)), &mut totals);
            }
            totals.added(simd, student.len());
        }
        totals.finish(simd)
    }
}

/// Adds the squares of one vector.
#[inline(always)]
fn square<T: Real, S: Simd>(simd: S, [s, t]: [Vector<T, S>; 2], totals: &mut Sums<T, S, 2>) {
    let off = T::v_sub(simd, s, t);
    totals.lanes[0] = T::v_mul_add(simd, off, off, totals.lanes[0]);
    totals.lanes[1] = T::v_mul_add(simd, t, t, totals.lanes[1]);
}

/// Adds to the gradient of one channel; gives the sums of what was added, and of that times (y − mean).
struct AddGradient<'a, E: Stored, F: Stored<Real = E::Real>> {
    student: &'a [E],
    teacher: &'a [F],
    norms: [ChannelNorm<E::Real>; 2],
    scale: E::Real,
    dx: &'a mut [E],
}

impl<E: Stored, F: Stored<Real = E::Real>> WithSimd for AddGradient<'_, E, F> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { student, teacher, norms, scale, dx } = self;
        let tail = tail::<E::Real, S>(simd, student.len());
        let mut totals = Sums::<E::Real, S, 2>::new(simd);
        let rows = student.chunks(RUN).zip(teacher.chunks(RUN));
        for ((student, teacher), dx) in rows.zip(dx.chunks_mut(RUN)) {
            let lanes = lanes::<E::Real, S>();
            let (mut s, mut t) = (student.chunks_exact(lanes), teacher.chunks_exact(lanes));
            let mut dx = dx.chunks_exact_mut(lanes);
            for ((s, t), dx) in s.by_ref().zip(t.by_ref()).zip(dx.by_ref()) {
                let raw = [E::load_vector(simd, s), F::load_vector(simd, t)];
                let added = gradient(simd, raw, norms, scale);
                let sum = E::Real::v_add(simd, E::load_vector(simd, dx), added);
                E::store_vector(simd, dx, sum);
                gather(simd, added, raw[0], norms[0], &mut totals);
            }
            let dx = dx.into_remainder();
            if !dx.is_empty() {
                let raw = [load(simd, s.remainder()), load(simd, t.remainder())];
                let added = E::Real::where_positive(simd, tail, gradient(simd, raw, norms, scale));
                let sum = E::Real::v_add(simd, load(simd, dx), added);
                store(simd, dx, sum);
                gather(simd, added, raw[0], norms[0], &mut totals);
            }
            totals.added(simd, student.len());
        }
        totals.finish(simd)
    }
}

/// What one vector adds to the gradient.
#[inline(always)]
fn gradient<T: Real, S: Simd>(
    simd: S,
    [s, t]: [Vector<T, S>; 2],
    norms: [ChannelNorm<T>; 2],
    scale: T,
) -> Vector<T, S> {
    let linear = norms[0].linear_vector(simd, s);
    let off = T::v_sub(simd, norms[0].bound(simd, linear), norms[1].apply_vector(simd, t));
    norms[0].gate(simd, linear, T::v_mul(simd, T::v_splat(simd, scale), off))
}

/// Adds one vector to the sums of a gradient.
#[inline(always)]
fn gather<T: Real, S: Simd>(
    simd: S,
    added: Vector<T, S>,
    y: Vector<T, S>,
    norm: ChannelNorm<T>,
    totals: &mut Sums<T, S, 2>,
) {
    let centred = T::v_sub(simd, y, T::v_splat(simd, norm.mean));
    totals.lanes[0] = T::v_add(simd, totals.lanes[0], added);
    totals.lanes[1] = T::v_mul_add(simd, added, centred, totals.lanes[1]);
}

#[cfg(test)]
mod tests {
    use super::super::activation::Norm;
    use super::*;
    use half::bf16;

    const CHANNELS: usize = 3;
    const SCALE: f64 = 0.5;
    /// Mean, gain, offset and ceiling; the gate shuts at both ends for many of the values.
    const STUDENT: ([f64; 3], [f64; 3], [f64; 3], f64) =
        ([0.25, -0.5, 0.125], [1.5, -0.75, 2.0], [0.25, 0.125, -0.5], 0.75);
    const TEACHER: ([f64; 3], [f64; 3], [f64; 3], f64) =
        ([0.5, 0.25, -0.25], [1.0, 2.0, -1.5], [0.5, 0.25, 0.0], f64::INFINITY);

    /// Numbers that f32 and bf16 hold exactly, so that a gate closes for all types alike.
    fn values(len: usize, seed: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 127) as f64 / 64.0 - 1.0).collect()
    }

    /// Errors, dx and the two sums of each channel.
    type Results = ([f64; 2], Vec<f64>, [Vec<f64>; 2]);

    fn expected(pixels: usize) -> Results {
        let len = CHANNELS * pixels;
        let (s, t, mut dx) = (values(len, 1), values(len, 2), values(len, 3));
        let (mut errors, mut sums) = ([0.0; 2], [vec![0.25; CHANNELS], vec![0.5; CHANNELS]]);
        let z = |y: f64, (mean, gain, offset, ceiling): ([f64; 3], [f64; 3], [f64; 3], f64), c: usize| {
            ((y - mean[c]) * gain[c] + offset[c]).clamp(0.0, ceiling)
        };
        for i in 0..len {
            let c = i / pixels;
            let (zs, zt) = (z(s[i], STUDENT, c), z(t[i], TEACHER, c));
            errors[0] += (zs - zt).powi(2);
            errors[1] += zt * zt;
            let added = if zs > 0.0 && zs < STUDENT.3 { SCALE * (zs - zt) } else { 0.0 };
            dx[i] += added;
            sums[0][c] += added;
            sums[1][c] += added * (s[i] - STUDENT.0[c]);
        }
        (errors, dx, sums)
    }

    fn computed<E: Stored, F: Stored<Real = E::Real>>(pixels: usize) -> Results {
        let len = CHANNELS * pixels;
        let real = |values: &[f64]| values.iter().map(|&v| E::Real::from_f64(v)).collect::<Vec<_>>();
        let raw = |seed| real(&values(len, seed));
        let s: Vec<E> = raw(1).into_iter().map(E::store).collect();
        let t: Vec<F> = raw(2).into_iter().map(F::store).collect();
        let mut dx: Vec<E> = raw(3).into_iter().map(E::store).collect();
        let norms = [STUDENT, TEACHER].map(|(mean, gain, offset, ceiling)| {
            (real(&mean), real(&gain), real(&offset), Bounds { low: 0.0, high: ceiling })
        });
        let [student, teacher] = [0, 1].map(|side| {
            let (mean, gain, offset, bounds) = &norms[side];
            Norm { mean, gain, offset, bounds: *bounds }
        });
        let (student, teacher) = (Input::Normalised(&s, student), Input::Normalised(&t, teacher));
        let errors = errors(student, teacher, pixels);
        let (mut sum, mut product) = (real(&[0.25; CHANNELS]), real(&[0.5; CHANNELS]));
        let sums = Some(GateSums { sum: &mut sum, product: &mut product });
        add_gradient(student, teacher, SCALE, &mut dx, sums, pixels);
        let wide = |values: Vec<E::Real>| values.into_iter().map(Real::widen).collect::<Vec<_>>();
        (errors, wide(dx.into_iter().map(E::load).collect()), [wide(sum), wide(product)])
    }

    #[track_caller]
    fn near(got: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= tolerance * expected.abs().max(1.0), "{got} {expected}");
        }
    }

    #[test]
    fn errors_and_gradients_are_those_of_the_plain_loop() {
        for pixels in [1, 7, 16, 33, 129, 5000] {
            let (errors, dx, sums) = expected(pixels);
            for (got, tolerance, rounding) in [
                (computed::<f64, f64>(pixels), 1e-12, 1e-12),
                (computed::<f32, f32>(pixels), 1e-5, 1e-5),
                // A gradient is rounded when it is stored.
                (computed::<bf16, f32>(pixels), 1e-5, 0.005),
            ] {
                near(&got.0, &errors, tolerance);
                near(&got.1, &dx, rounding);
                got.2.iter().zip(&sums).for_each(|(got, expected)| near(got, expected, tolerance));
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| computed::<f32, f32>(20_001))
        };
        let one = run(1);
        assert!(run(2) == one && run(3) == one);
    }
}
