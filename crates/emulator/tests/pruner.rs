//! Masks and the optimizer against the host's, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::chunks::{Chunks, Member, Span, place};
use sparse_cuda::select::Selector;
use sparse_cuda::sgd::{self as device, Rule, Runs};
use sparse_cuda::{Error, Memory, Queue, masks};
use sparse_emulator::{TestQueue, download, queue, upload};
use sparse_kernels::sgd as host;
use sparse_sparsity::Mask;
use sparse_sparsity::select::{cutoff_of, prune_smallest};
use sparse_sparsity::threshold::mask_by_threshold;

/// One tensor longer than a chunk, short ones, an empty one.
const LENS: [usize; 6] = [9000, 1, 64, 0, 300, 16_385];

/// Tensors in one run, and what lies in it.
struct Parameters {
    queue: TestQueue,
    spans: Vec<Span>,
    end: usize,
}

impl Parameters {
    fn new(order: u64) -> Self {
        let (spans, end) = place(LENS);
        Self { queue: queue(order), spans, end }
    }

    /// One run with the values of all tensors, zeros between them.
    fn run(&self, tensors: &[Vec<f32>]) -> Vec<f32> {
        let mut run = vec![0.0; self.end];
        for (span, tensor) in self.spans.iter().zip(tensors) {
            run[span.start..span.start + span.len].copy_from_slice(tensor);
        }
        run
    }

    fn words(&self, masks: &[Mask]) -> Vec<u64> {
        let mut words = vec![0; self.end / 64];
        for (span, mask) in self.spans.iter().zip(masks) {
            words[span.start / 64..][..mask.words().len()].copy_from_slice(mask.words());
        }
        words
    }

    fn chunks(
        &self,
        group_of: impl Fn(usize) -> usize,
        masked: impl Fn(usize) -> bool,
    ) -> Chunks<<TestQueue as Queue>::Memory> {
        let member = |(i, &span): (usize, &Span)| Member { span, group: group_of(i), masked: masked(i) };
        let members: Vec<Member> = self.spans.iter().enumerate().map(member).collect();
        Chunks::new(&self.queue, &members).unwrap()
    }
}

/// Values with many ties and zeros of both signs.
fn tied(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| [0.5, -0.25, 0.0, -0.0, 0.125, -0.5, 2.0][(i * 31 + seed) % 7]).collect()
}

/// Values whose magnitudes differ in all digits of their bits.
fn fine(len: usize, seed: usize) -> Vec<f32> {
    let noise = |i: usize| (i as u64 * 7919 + seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..len).map(|i| (noise(i) >> 40) as f32 / 16_777_216.0 - 0.5).collect()
}

fn tensors(of: fn(usize, usize) -> Vec<f32>) -> Vec<Vec<f32>> {
    LENS.into_iter().enumerate().map(|(i, len)| of(len, i)).collect()
}

#[test]
fn thresholds_and_applied_masks_are_the_hosts() {
    for (order, of) in
        [(0, tied as fn(usize, usize) -> Vec<f32>), (2, fine)].into_iter().filter(|_| available())
    {
        for threshold in [0.0f32, 0.125, 0.3, 100.0] {
            let all = Parameters::new(order);
            let values = tensors(of);
            let expected: Vec<Mask> = values
                .iter()
                .map(|values| mask_by_threshold(values, f64::from(threshold)).unwrap())
                .collect();
            let weights = upload(&all.queue, &all.run(&values)).unwrap();
            let words = upload(&all.queue, &vec![0u64; all.end / 64]).unwrap();
            let nan = upload(&all.queue, &[0u32]).unwrap();
            let chunks = all.chunks(|_| 0, |_| true);
            let slices = [weights.slice(), words.slice(), nan.slice()];
            masks::from_threshold(&all.queue, slices, threshold, &chunks).unwrap();
            assert_eq!(
                download::<_, u64>(&all.queue, words.slice()).unwrap(),
                all.words(&expected),
                "{threshold}"
            );
            assert_eq!(download::<_, u32>(&all.queue, nan.slice()).unwrap(), [0]);
            masks::apply(&all.queue, [weights.slice(), words.slice()], &chunks).unwrap();
            let mut values = values;
            expected.iter().zip(&mut values).for_each(|(mask, values)| mask.apply(values));
            let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
            let found: Vec<f32> = download(&all.queue, weights.slice()).unwrap();
            assert_eq!(bits(&found), bits(&all.run(&values)), "{threshold}");
        }
    }
}

#[test]
fn one_selection_over_all_tensors_is_the_hosts() {
    for order in ORDERS.into_iter().filter(|_| available()) {
        for of in [tied as fn(usize, usize) -> Vec<f32>, fine] {
            let all = Parameters::new(order);
            let values = tensors(of);
            let (joined, total) = (values.concat(), LENS.iter().sum::<usize>());
            let weights = upload(&all.queue, &all.run(&values)).unwrap();
            let words = upload(&all.queue, &vec![0u64; all.end / 64]).unwrap();
            let selector = Selector::new(&all.queue, all.chunks(|_| 0, |_| true)).unwrap();
            for count in [0, 1, total / 3, total * 3 / 4, total - 1, total] {
                selector.select(&all.queue, [weights.slice(), words.slice()], None, &[count]).unwrap();
                let mask = prune_smallest(&joined, count).unwrap();
                let mut start = 0;
                let of_tensor = |len: usize| {
                    start += len;
                    Mask::from_fn(len, |i| mask.get(start - len + i))
                };
                let expected: Vec<Mask> = LENS.into_iter().map(of_tensor).collect();
                let found: Vec<u64> = download(&all.queue, words.slice()).unwrap();
                assert_eq!(found, all.words(&expected), "{count} of {total}, order {order}");
                let threshold = cutoff_of(&[&joined], count as u64).unwrap().magnitude();
                assert_eq!(selector.thresholds(&all.queue).unwrap(), [threshold], "{count} of {total}");
            }
        }
    }
}

#[test]
fn selections_layer_by_layer_are_the_hosts() {
    for order in ORDERS.into_iter().filter(|_| available()) {
        let all = Parameters::new(order);
        let values = tensors(tied);
        let weights = upload(&all.queue, &all.run(&values)).unwrap();
        let words = upload(&all.queue, &vec![0u64; all.end / 64]).unwrap();
        let selector = Selector::new(&all.queue, all.chunks(|i| i, |_| true)).unwrap();
        let counts = LENS.map(|len| len / 2);
        selector.select(&all.queue, [weights.slice(), words.slice()], None, &counts).unwrap();
        let expected: Vec<Mask> =
            values.iter().zip(counts).map(|(values, count)| prune_smallest(values, count).unwrap()).collect();
        assert_eq!(
            download::<_, u64>(&all.queue, words.slice()).unwrap(),
            all.words(&expected),
            "order {order}"
        );
    }
}

#[test]
fn what_is_pruned_stays_pruned_and_counts() {
    for order in ORDERS.into_iter().filter(|_| available()) {
        let all = Parameters::new(order);
        let values = tensors(fine);
        let open: Vec<Mask> = LENS.into_iter().map(|len| Mask::from_fn(len, |i| i % 3 != 0)).collect();
        let weights = upload(&all.queue, &all.run(&values)).unwrap();
        let words = upload(&all.queue, &all.words(&open)).unwrap();
        let selector = Selector::new(&all.queue, all.chunks(|_| 0, |_| true)).unwrap();
        let count = LENS.iter().sum::<usize>() * 3 / 4;
        selector.select(&all.queue, [weights.slice(), words.slice()], Some(words.slice()), &[count]).unwrap();
        // The host's way: what is open, ranked alone.
        let kept: Vec<f32> = values
            .iter()
            .zip(&open)
            .flat_map(|(values, mask)| {
                values.iter().enumerate().filter(|&(i, _)| mask.get(i)).map(|(_, &v)| v)
            })
            .collect();
        let pruned = open.iter().map(Mask::pruned).sum::<usize>();
        let ranked = prune_smallest(&kept, count - pruned).unwrap();
        let mut next = 0;
        let expected: Vec<Mask> = open
            .iter()
            .map(|mask| {
                Mask::from_fn(mask.len(), |i| {
                    let open = mask.get(i);
                    next += usize::from(open);
                    open && ranked.get(next - 1)
                })
            })
            .collect();
        assert_eq!(
            download::<_, u64>(&all.queue, words.slice()).unwrap(),
            all.words(&expected),
            "order {order}"
        );
    }
}

#[test]
fn a_nan_is_an_error() {
    if !available() {
        return;
    }
    let all = Parameters::new(0);
    let mut values = tensors(fine);
    values[5][16_000] = f32::NAN;
    let weights = upload(&all.queue, &all.run(&values)).unwrap();
    let words = upload(&all.queue, &vec![0u64; all.end / 64]).unwrap();
    let selector = Selector::new(&all.queue, all.chunks(|_| 0, |_| true)).unwrap();
    selector.select(&all.queue, [weights.slice(), words.slice()], None, &[100]).unwrap();
    assert!(matches!(selector.thresholds(&all.queue), Err(Error::NotANumber)));
}

#[test]
fn steps_of_the_optimizer_are_the_hosts() {
    for (masked, hold_pruned) in
        [(false, false), (true, false), (true, true)].into_iter().filter(|_| available())
    {
        let all = Parameters::new(2);
        let (mut w, mut v, g) = (tensors(fine), tensors(tied), tensors(fine));
        let masks: Vec<Mask> = LENS.into_iter().map(|len| Mask::from_fn(len, |i| i % 5 < 2)).collect();
        let [weights, velocities, gradients] = [&w, &v, &g].map(|t| upload(&all.queue, &all.run(t)).unwrap());
        let words = upload(&all.queue, &all.words(&masks)).unwrap();
        // The second and the last tensor have no mask.
        let open = |i: usize| i == 1 || i == 5;
        let chunks = all.chunks(|_| 0, |i| !open(i));
        let runs = Runs {
            weights: weights.slice(),
            gradients: gradients.slice(),
            velocities: velocities.slice(),
            words: words.slice(),
        };
        let [partial, scale] = [chunks.len() * 4, 4].map(|bytes| all.queue.allocate(bytes).unwrap());
        let longest = 2.5;
        device::clip(&all.queue, runs, masked, longest, [partial.slice(), scale.slice()], &chunks).unwrap();
        let mask_of = |i: usize| (masked && !open(i)).then(|| masks[i].words());
        let squares: f64 = (0..LENS.len()).map(|i| host::squared_norm(&g[i], mask_of(i))).sum();
        let [factor]: [f32; 1] = download(&all.queue, scale.slice()).unwrap().try_into().unwrap();
        assert!((f64::from(factor) - longest / squares.sqrt()).abs() < 1e-6, "{factor} of {squares}");

        let rule = Rule { learning_rate: 0.1, momentum: 0.9, l2_decay: 3e-5, masked, hold_pruned };
        device::step(&all.queue, runs, rule, Some(scale.slice()), &chunks).unwrap();
        for i in 0..LENS.len() {
            let rule = host::Velocity {
                momentum: 0.9,
                l2_decay: 3e-5,
                gradient_scale: f64::from(factor),
                mask: mask_of(i),
                hold_pruned,
            };
            host::update_velocity(&mut v[i], &g[i], &w[i], rule);
            host::apply_velocity(&mut w[i], &v[i], 0.1);
        }
        let found: [Vec<f32>; 2] =
            [&weights, &velocities].map(|memory| download(&all.queue, memory.slice()).unwrap());
        assert_eq!(found, [all.run(&w), all.run(&v)], "{masked} {hold_pruned}");
    }
}
