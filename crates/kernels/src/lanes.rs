//! Runs of any length taken as whole registers, and sums that keep their digits.

use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::vector::{MOST_LANES, Stored, Vectors, lanes};

/// A register of numbers of type `T`.
pub(crate) type Vector<T, S> = <T as Vectors>::Vector<S>;

/// Vectors after which running sums are folded into `f64`.
const FOLD: usize = 128;

/// The first elements of a run; lanes past its end hold zero.
#[inline(always)]
pub(crate) fn load<E: Stored, S: Simd>(simd: S, from: &[E]) -> Vector<E::Real, S> {
    if from.len() >= lanes::<E::Real, S>() {
        return E::load_vector(simd, from);
    }
    let mut whole = [E::default(); MOST_LANES];
    copy(from, &mut whole[..from.len()]);
    E::load_vector(simd, &whole)
}

/// Writes a vector to the start of a run; lanes past its end are dropped.
#[inline(always)]
pub(crate) fn store<E: Stored, S: Simd>(simd: S, to: &mut [E], value: Vector<E::Real, S>) {
    if to.len() >= lanes::<E::Real, S>() {
        return E::store_vector(simd, to, value);
    }
    let mut whole = [E::default(); MOST_LANES];
    E::store_vector(simd, &mut whole, value);
    copy(&whole[..to.len()], to);
}

/// Ones in the lanes that the last, short vector of a run of `len` numbers fills; zeros in the others.
#[inline(always)]
pub(crate) fn tail<T: Real, S: Simd>(simd: S, len: usize) -> Vector<T, S> {
    let mut ones = [T::zero(); MOST_LANES];
    ones[..len % lanes::<T, S>()].fill(T::one());
    T::load_vector(simd, &ones)
}

/// `to[i] = value(from[i]…)` for `i < len`, vector by vector. All runs may go on after `len`; where `to` does, the rest
/// of its last vector is overwritten with zeros. `tail` is [`tail`] of the length.
#[inline(always)]
pub(crate) fn map_run<E: Stored, F: Stored<Real = E::Real>, S: Simd, const K: usize>(
    simd: S,
    from: [&[E]; K],
    to: &mut [F],
    (len, tail): (usize, Vector<E::Real, S>),
    value: impl Fn([Vector<E::Real, S>; K]) -> Vector<E::Real, S>,
) {
    let mut vectors = [E::Real::v_splat(simd, E::Real::from_f64(0.0)); K];
    let lanes = lanes::<E::Real, S>();
    let whole = len / lanes * lanes;
    let (wholes, rest) = to.split_at_mut(whole);
    for (i, to) in wholes.chunks_exact_mut(lanes).enumerate() {
        for (vector, from) in vectors.iter_mut().zip(from) {
            *vector = E::load_vector(simd, &from[i * lanes..]);
        }
        F::store_vector(simd, to, value(vectors));
    }
    if whole < len {
        for (vector, from) in vectors.iter_mut().zip(from) {
            *vector = load(simd, &from[whole..]);
        }
        store(simd, rest, E::Real::where_positive(simd, tail, value(vectors)));
    }
}

/// Copies a run to one of the same length that may be very short: no call, few branches.
#[inline(always)]
pub(crate) fn copy<E: Copy>(from: &[E], to: &mut [E]) {
    let (from, to) = copy_blocks::<E, MOST_LANES>(from, to);
    let (from, to) = copy_blocks::<E, 4>(from, to);
    copy_blocks::<E, 1>(from, to);
}

/// Copies blocks of `B`; gives what is left.
#[inline(always)]
fn copy_blocks<'a, E: Copy, const B: usize>(from: &'a [E], to: &'a mut [E]) -> (&'a [E], &'a mut [E]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<B>(), to.as_chunks_mut::<B>());
    // Neither a call of memcpy nor a zip of iterators, which stays a call in a large function.
    let mut i = 0;
    while i < from.len().min(to.len()) {
        to[i] = from[i];
        i += 1;
    }
    (from_rest, to_rest)
}

/// `K` sums of one channel: in lanes over a few hundred vectors, then in `f64`, in an order fixed by the shapes.
#[derive(Clone, Copy)]
pub(crate) struct Sums<T: Real, S: Simd, const K: usize> {
    /// What was added since the last fold.
    pub(crate) lanes: [Vector<T, S>; K],
    totals: [f64; K],
    vectors: usize,
}

impl<T: Real, S: Simd, const K: usize> Sums<T, S, K> {
    /// Zeros.
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        Self { lanes: [T::v_splat(simd, T::zero()); K], totals: [0.0; K], vectors: 0 }
    }

    /// Says that a run of `len` numbers was added to the lanes; folds them when it is time.
    #[inline(always)]
    pub(crate) fn added(&mut self, simd: S, len: usize) {
        self.vectors += len.div_ceil(lanes::<T, S>());
        if self.vectors >= FOLD {
            self.fold(simd);
        }
    }

    /// The sums of all that was added.
    #[inline(always)]
    pub(crate) fn finish(mut self, simd: S) -> [f64; K] {
        self.fold(simd);
        self.totals
    }

    #[inline(always)]
    fn fold(&mut self, simd: S) {
        for (lanes, total) in self.lanes.iter_mut().zip(&mut self.totals) {
            let mut apart = [T::zero(); MOST_LANES];
            T::store_vector(simd, &mut apart, *lanes);
            for lane in apart {
                *total += lane.widen();
            }
            *lanes = T::v_splat(simd, T::zero());
        }
        self.vectors = 0;
    }
}
