//! A run that was resumed at any step, or killed anywhere and resumed, ends with the bytes of one that ran through: in every mode,
//! on the real binary.
//!
//! Each mode is resumed from a few checkpoints of its unbroken run and killed once; with more of both, in numbers over all modes
//! for the kills and for each mode for the resumes:
//!
//! ```console
//! SPARSE_KILLS=200 SPARSE_RESUMES=20 cargo test --release -p sparse-train --test resume_modes -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use common::data::{write_image_folder, write_some_data};
use common::{Bench, Ended, names, timeless};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Images to train on, which make [`STEPS`] steps in two epochs.
const TRAIN_IMAGES: usize = 160;
const STEPS: usize = 40;
const THREADS: [usize; 3] = [2, 1, 3];

/// Stands for the flags of a run that learns from a teacher.
const TEACHER: &str = "--distill --teacher teacher";
/// Small photos with a cache of decoded ones, in as many steps.
const PHOTOS: &str = "--data imagenet --set data.path=images --set data.image_size=32 --set model.num_classes=16 \
                      --set data.cache=images.cache --batch_size 4 --num_epochs 10 --test_period 5";
/// A stem and a head that are whole keep a network alive that is this thin.
const INNER: &str = "--prune_params_type conv1x1_only";
const GMP: &str = "--pruning_strategy gmp --stable_epochs 0 --pruning_epochs 2 --tunning_epochs 0";
const ACDC: &str = "--pruning_strategy acdc --stable_epochs 1 --phase_epochs 2 --tunning_epochs 3";
const REWIND: &str = "--pruning_strategy rewind --rewind_epoch 1.25 --rewind_rounds 3";

/// A test for each mode, and the list of all.
macro_rules! modes {
    ($($name:ident: $($flags:expr),+;)+) => {
        const MODES: &[&str] = &[$(stringify!($name)),+];
        $(#[test]
        fn $name() {
            check(stringify!($name), &[$($flags),+].join(" "));
        })+
    };
}

// The weight's gradient changes its way at a density of 0.45, every product with bf16 at 0.25, and at 0.8 zeros begin to be left
// out: the masks of all these wander about one of them, layer by layer.
modes! {
    a_dense_run: "--pruning_mode none";
    a_ratio_of_0_2: "--ratio 0.2";
    a_ratio_of_0_3: "--ratio 0.3 --lr_strategy cosine_decay --set train.warmup_epochs=0.5";
    a_ratio_of_0_55: "--ratio 0.55";
    a_ratio_of_0_65: "--ratio 0.65 --lr 0.06 --set train.clip_norm=5", INNER;
    gradual_pruning_to_0_95: "--ratio 0.95 --pruning_steps 40 --initial_ratio 0.2", INNER, GMP;
    a_ratio_layer_by_layer: "--ratio 0.55 --local_sparsity True";
    a_threshold: "--pruning_mode threshold --threshold 0.15";
    gradual_pruning: "--ratio 0.75 --pruning_steps 40 --initial_ratio 0.3", GMP;
    gradual_pruning_layer_by_layer: "--ratio 0.6 --pruning_steps 30 --initial_ratio 0.5 --local_sparsity True", GMP;
    gradual_pruning_of_paddle: "--ratio 0.75 --pruning_steps 3 --set prune.paddle_compat=true", GMP;
    blocks: "--ratio 0.55 --sparse_block 2 1";
    blocks_in_gradual_pruning: "--ratio 0.7 --pruning_steps 20 --sparse_block 1 4 --prune_params_type conv1x1_only", GMP;
    without_regrowth: "--ratio 0.55 --set prune.regrow=false";
    without_regrowth_in_gradual_pruning: "--ratio 0.65 --pruning_steps 40 --set prune.regrow=false", GMP;
    taylor: "--ratio 0.55 --criterion taylor --pruning_steps 8", GMP;
    taylor_in_blocks_without_regrowth: "--ratio 0.65 --criterion taylor --pruning_steps 20 --set prune.regrow=false --sparse_block 2 1", GMP;
    movement: "--ratio 0.6 --criterion movement", INNER;
    movement_in_gradual_pruning: "--ratio 0.75 --criterion movement --pruning_steps 20 --local_sparsity True", INNER, GMP;
    two_of_four: "--pruning_mode pattern --pattern 2:4", INNER;
    one_of_four_in_gradual_pruning: "--pruning_mode pattern --pattern 1:4 --pruning_steps 20 --criterion taylor", INNER, GMP;
    erk: "--ratio 0.7 --local_sparsity True --allocation erk";
    ratios_by_name: "--ratio 0.6 --set prune.layers={\"^conv5_.*_sep\"=0.8,\"^fc\"=0.3} --pruning_steps 20", GMP;
    rigl: "--ratio 0.6 --pruning_strategy rigl --update_period 3", INNER;
    rigl_by_erk_in_bf16: "--ratio 0.8 --pruning_strategy rigl --update_period 4 --local_sparsity True --allocation erk --precision bf16";
    set: "--ratio 0.6 --pruning_strategy set --update_period 3 --update_fraction 0.5 --seed 5", INNER;
    acdc: "--ratio 0.6 --num_epochs 10 --batch_size 40", ACDC;
    acdc_with_a_pattern_and_taylor: "--pruning_mode pattern --num_epochs 10 --batch_size 40 --criterion taylor", INNER, ACDC;
    by_data: "--ratio 0.6 --criterion obs --obs_images 48", INNER;
    by_data_in_gradual_pruning: "--ratio 0.75 --criterion obs --obs_images 40 --pruning_steps 10 --initial_ratio 0.3 --ema 0.9", GMP;
    by_data_by_erk_without_regrowth: "--ratio 0.7 --criterion obs --obs_images 40 --pruning_steps 8 --set prune.regrow=false",
        "--local_sparsity True --allocation erk", INNER, GMP;
    by_data_in_a_pattern_from_a_teacher: "--pruning_mode pattern --pattern 1:4 --criterion obs --obs_images 40 --pruning_steps 20",
        "--precision bf16 --distill_features 1", INNER, GMP, TEACHER;
    rewinding: "--ratio 0.6 --num_epochs 10 --batch_size 40 --ema 0.9 --lr_strategy cosine_decay", INNER, REWIND;
    rewinding_the_rate: "--ratio 0.6 --num_epochs 10 --batch_size 40 --criterion taylor --rewind rate --local_sparsity True", INNER, REWIND;
    rewinding_to_initial_weights: "--pruning_mode pattern --pattern 1:4 --num_epochs 10 --batch_size 40", INNER, REWIND, "--rewind_epoch 0";
    dense_gradients: "--ratio 0.55 --set prune.gradient=\"dense\"";
    dense_gradients_in_bf16: "--ratio 0.75 --set prune.gradient=\"dense\" --precision bf16", INNER;
    soft_targets: "--ratio 0.55", TEACHER;
    averaged_weights: "--ratio 0.55 --ema 0.9 --bn_recal 3";
    averaged_weights_in_gradual_pruning: "--ratio 0.75 --pruning_steps 40 --ema 0.99 --set prune.regrow=false", GMP;
    features: "--ratio 0.55 --distill_features 1.5", TEACHER;
    features_in_bf16_with_averages: "--ratio 0.75 --pruning_steps 20 --precision bf16 --distill_features 1 --ema 0.9", INNER, GMP, TEACHER;
    sparse_weights_that_learn_from_dense_ones: "--pretrained_model sparse --ratio 0 --set prune.regrow=false --ema 0.9",
        "--lr_strategy cosine_decay --distill_features 1", TEACHER;
    batch_norm_estimated_anew: "--pruning_mode threshold --threshold 0.2 --bn_recal 7";
    bf16: "--ratio 0.75 --precision bf16", INNER;
    bf16_layer_by_layer: "--ratio 0.75 --precision bf16 --local_sparsity True", INNER;
    bf16_with_a_threshold: "--pruning_mode threshold --threshold 0.2 --precision bf16", INNER;
    all_at_once: "--ratio 0.9 --pruning_steps 40 --initial_ratio 0.3 --precision bf16 --bn_recal 3", INNER, GMP, TEACHER;
    photos_from_a_cache: "--ratio 0.55", PHOTOS;
}

/// A linear congruential generator.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A number from the environment.
fn asked_for(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// One mode with its data, and its unbroken run in `whole`, which has kept every checkpoint.
struct Mode {
    bench: Bench,
    flags: String,
}

impl Mode {
    fn new(flags: &str) -> Self {
        let bench = Bench::new();
        write_some_data(&bench.path("data"), TRAIN_IMAGES, 40);
        if flags.contains(PHOTOS) {
            write_image_folder(&bench.path("images"));
        }
        let flags = format!("--batch_size 8 --lr 0.02 --test_period 1 {flags}");
        let mode = Self { bench, flags };
        if mode.flags.contains(TEACHER) {
            mode.bench.train("--batch_size 8 --num_epochs 1 --pruning_mode none --model_path teacher");
        }
        if mode.flags.contains("--pretrained_model sparse") {
            mode.bench.train(
                "--batch_size 8 --num_epochs 1 --ratio 0.75 --prune_params_type conv1x1_only --pretrained_model teacher \
                 --model_path sparse",
            );
        }
        mode.bench.train(&mode.with("whole", "--set checkpoint.every_steps=1 --set checkpoint.keep=1000"));
        assert_eq!(mode.bench.json("whole/summary.json")["steps"], STEPS);
        mode.is_alive();
        mode
    }

    /// Checks that the unbroken run learned: a network that is dead keeps its masks, and nothing would be tried.
    fn is_alive(&self) {
        let at =
            |step: usize, name: &str| self.bench.bytes(&format!("whole/checkpoints/step-{step:08}/{name}"));
        let changes = |name: &str| at(STEPS / 2, name) != at(STEPS, name);
        let masks_move = changes("masks.safetensors")
            || ["regrow=false", "none", "gmp", "acdc", "obs", "rewind"]
                .iter()
                .any(|held| self.flags.contains(held));
        assert!(changes("weights.safetensors") && masks_move, "{} stands still", self.flags);
    }

    fn with(&self, run: &str, flags: &str) -> String {
        format!("{} --model_path {run} {flags}", self.flags)
    }

    /// Goes on from the checkpoint of a step of the unbroken run, in a folder that was killed right after it.
    fn resume(&self, step: usize, threads: usize) {
        let run = format!("from-{step}");
        let name = format!("checkpoints/step-{step:08}");
        let (from, to) = (self.bench.path("whole").join(&name), self.bench.path(&run).join(&name));
        std::fs::create_dir_all(&to).unwrap();
        for file in names(&from) {
            std::fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
        let metrics = self.bench.path("whole/metrics.jsonl");
        std::fs::copy(metrics, self.bench.path(&run).join("metrics.jsonl")).unwrap();
        self.finish(&run, threads).says(&[&format!("({step} of {STEPS} steps done)")]);
        self.is_the_same(&run, &format!("resumed at step {step}, threads: {threads}"));
    }

    /// Kills a run of its own so many times, then lets it finish; gives the steps it had saved at the kills.
    fn kill(&self, kills: usize, noise: &mut Noise) -> Vec<usize> {
        let run = self.bench.path("run");
        // No attempt goes further than its share before its kill, so that the last one has something left to do.
        let share = 2 * STEPS / (kills + 2);
        let mut killed_at = Vec::new();
        while killed_at.len() < kills {
            let until = newest_step(&run) + noise.below(share);
            let threads = THREADS[killed_at.len() % THREADS.len()];
            let flags = format!("--resume auto --threads {threads} --set checkpoint.every_steps=1");
            let mut child = start(self.bench.small(&self.with("run", &flags)));
            while newest_step(&run) < until && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(noise.below(20_000) as u64));
            child.kill().unwrap();
            let ended = Ended::from(child.wait_with_output().unwrap());
            if ended.code.is_none() {
                killed_at.push(newest_step(&run));
            } else {
                // It was over before the kill came, and nothing was tried.
                assert_eq!(ended.code, Some(0), "{}", ended.stderr);
                std::fs::remove_dir_all(&run).unwrap();
            }
        }
        assert!(!run.join("summary.json").exists());
        self.finish("run", 2);
        self.is_the_same("run", &format!("killed after steps {killed_at:?}"));
        killed_at
    }

    fn finish(&self, run: &str, threads: usize) -> Ended {
        self.bench.train(&self.with(run, &format!("--resume auto --threads {threads}")))
    }

    /// Checks that a run left what the unbroken one did.
    fn is_the_same(&self, run: &str, how: &str) {
        let what = |name: &str| format!("{name} of a run with {} {how}", self.flags);
        let averages = self.flags.contains("--ema").then_some("weights_ema.safetensors");
        for name in ["weights.safetensors", "predictions.csv"].into_iter().chain(averages) {
            let [got, expected] = [run, "whole"].map(|run| self.bench.bytes(&format!("{run}/{name}")));
            assert!(got == expected, "{}", what(name));
        }
        let metrics = |run: &str| self.bench.metrics(run).into_iter().map(timeless).collect::<Vec<_>>();
        assert_eq!(metrics(run), metrics("whole"), "{}", what("metrics.jsonl"));
        let summary = |run: &str| timeless(self.bench.json(&format!("{run}/summary.json")));
        assert_eq!(summary(run), summary("whole"), "{}", what("summary.json"));
        let leftovers = names(&self.bench.path(run)).into_iter().filter(|name| name.contains(".tmp-"));
        assert_eq!(leftovers.count(), 0, "{}", what("the folder"));
    }
}

/// The step of the newest checkpoint of a run.
fn newest_step(run: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(run.join("checkpoints")) else { return 0 };
    let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix("step-")?.parse().ok();
    entries.filter_map(|entry| step(entry.ok()?.file_name())).max().unwrap_or(0)
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Resumes and kills one mode.
fn check(name: &str, flags: &str) {
    let place = MODES.iter().position(|mode| *mode == name).unwrap();
    let mode = Mode::new(flags);
    let mut noise = Noise(place as u64 + 1);
    let resumes = asked_for("SPARSE_RESUMES", 3).min(STEPS - 1);
    let mut steps: Vec<usize> = (1..STEPS).collect();
    for (resume, threads) in THREADS.into_iter().cycle().take(resumes).enumerate() {
        let chosen = resume + noise.below(steps.len() - resume);
        steps.swap(resume, chosen);
        mode.resume(steps[resume], threads);
    }
    let kills = asked_for("SPARSE_KILLS", 20);
    // Those that are left over go to the first modes.
    let kills = kills / MODES.len() + usize::from(place < kills % MODES.len());
    let killed_at = mode.kill(kills, &mut noise);
    println!("{name}: the same bytes after {resumes} resumes and {kills} kills (after steps {killed_at:?})");
}
