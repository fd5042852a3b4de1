//! Every way to train and to test, shared by several processes under `mpirun`: the bytes repeat for another number of threads and after
//! a kill, and what goes wrong ends all processes with one message.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(not(feature = "mpi"))]
#[test]
fn modes_of_several_processes() {
    sparse_testing::Need::Mpi.left_out("modes of several processes");
}

#[cfg(feature = "mpi")]
mod common;

#[cfg(feature = "mpi")]
mod with_mpi {
    use crate::common::data::{write_class_folders, write_image_folder, write_some_data};
    use crate::common::mpi::{fails, fails_once, interrupted, mpirun, process_of, shared, signal};
    use crate::common::{Bench, Ended, succeed, timeless};
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    const GMP: &str = "--pruning_strategy gmp --stable_epochs 0 --pruning_epochs 2 --tunning_epochs 0";
    /// Stands for the flags of a run that learns from a teacher.
    const TEACHER: &str = "--distill --teacher teacher";
    const PHOTOS: &str = "--data imagenet --set data.path=images --set data.image_size=32 --set model.num_classes=16 \
                          --batch_size 4 --num_epochs 10 --test_period 5";

    macro_rules! modes {
        ($($name:ident: $ranks:expr, $($flags:expr),+;)+) => {
            $(#[test]
            fn $name() {
                check($ranks, &[$($flags),+].join(" "));
            })+
        };
    }

    modes! {
        a_threshold_with_all_that_bends_a_loss: 2, "--pruning_mode threshold --threshold 0.15 --set train.clip_norm=1",
            "--set train.label_smoothing=0.1 --lr_strategy cosine_decay --bn_recal 3";
        averaged_weights: 2, "--ratio 0.55 --ema 0.9 --bn_recal 3";
        averaged_weights_with_sync_bn: 4, "--ratio 0.55 --ema 0.9 --bn_recal 3 --sync_bn";
        features: 2, "--ratio 0.55 --distill_features 2", TEACHER;
        features_with_sync_bn_and_averages: 4, "--ratio 0.55 --distill_features 2 --sync_bn --ema 0.9", TEACHER;
        blocks: 4, "--ratio 0.55 --sparse_block 2 1 --sync_bn";
        without_regrowth_from_a_teacher: 2, "--set prune.regrow=false --sync_bn", TEACHER;
        gradual_pruning_layer_by_layer: 4, "--ratio 0.6 --local_sparsity True --pruning_steps 20",
            "--set prune.gradient=\"dense\"", GMP;
        all_at_once: 4, "--ratio 0.9 --pruning_steps 20 --initial_ratio 0.3 --prune_params_type conv1x1_only",
            "--precision bf16 --bn_recal 3 --sync_bn", GMP, TEACHER;
        movement_in_gradual_pruning: 2, "--ratio 0.7 --criterion movement --pruning_steps 20", GMP;
        taylor_layer_by_layer: 4, "--ratio 0.6 --criterion taylor --local_sparsity True --pruning_steps 8 --sync_bn", GMP;
        two_of_four_without_regrowth: 2, "--pruning_mode pattern --prune_params_type conv1x1_only --set prune.regrow=false";
        erk: 2, "--ratio 0.7 --local_sparsity True --allocation erk";
        rigl: 2, "--ratio 0.6 --pruning_strategy rigl --update_period 3 --prune_params_type conv1x1_only";
        set_by_erk: 4, "--ratio 0.7 --pruning_strategy set --update_period 3 --local_sparsity True --allocation erk --sync_bn";
        rewinding: 2, "--ratio 0.6 --pruning_strategy rewind --rewind_epoch 0.5 --rewind_rounds 2 --ema 0.9";
        acdc: 2, "--ratio 0.6 --pruning_strategy acdc --stable_epochs 0 --phase_epochs 1 --tunning_epochs 2";
        photos_from_a_cache: 2, PHOTOS, "--set data.cache=images.cache";
    }

    /// Trains through, trains with a kill of the last process and other threads, and compares.
    fn check(ranks: usize, flags: &str) {
        let bench = Bench::new();
        write_some_data(&bench.path("data"), 160, 40);
        if flags.contains(PHOTOS) {
            write_image_folder(&bench.path("images"));
        }
        if flags.contains(TEACHER) {
            bench.train("--batch_size 16 --num_epochs 1 --pruning_mode none --model_path teacher");
        }
        let flags =
            format!("--batch_size 16 --num_epochs 4 --lr 0.02 --set checkpoint.every_steps=2 {flags}");
        succeed(shared(&bench, ranks, &format!("{flags} --model_path whole")));
        let flags = format!("{flags} --threads 2");
        while interrupted(&bench, ranks, &flags, 5, ranks - 1, "-KILL").code == Some(0) {
            // It was over before the kill came, and nothing was tried.
            std::fs::remove_dir_all(bench.path("run")).unwrap();
        }
        succeed(shared(&bench, ranks, &format!("{flags} --resume auto"))).says(&["resumed from"]);
        let averages = flags.contains("--ema").then_some("weights_ema.safetensors");
        for file in ["weights.safetensors", "predictions.csv"].into_iter().chain(averages) {
            let [run, whole] = ["run", "whole"].map(|run| bench.bytes(&format!("{run}/{file}")));
            assert!(run == whole, "{file} of {ranks} processes with {flags}");
        }
        let metrics = |run: &str| bench.metrics(run).into_iter().map(timeless).collect::<Vec<_>>();
        assert_eq!(metrics("run"), metrics("whole"), "{ranks} processes with {flags}");
        let leftovers = crate::common::names(&bench.path(""));
        assert!(!leftovers.iter().any(|name| name.contains("unfinished")), "{leftovers:?}");
    }

    #[test]
    fn with_sync_bn_the_losses_are_those_of_one_process() {
        let bench = Bench::new();
        bench.train("--num_epochs 2 --pruning_mode none --model_path base");
        // At usual rates a step changes the loss by so much that rounding grows with it, and a mask turns on a rounding.
        let flags = "--pretrained_model base --num_epochs 1 --lr 1e-4 --pruning_mode none --sync_bn \
                     --distill --set train.label_smoothing=0.1";
        bench.train(&format!("{flags} --model_path by1"));
        let losses = |run: &str| -> Vec<f64> {
            let steps = bench.metrics(run).into_iter().filter(|record| record["lr"].is_number());
            steps.map(|record| record["loss"].as_f64().unwrap()).collect()
        };
        for ranks in [2, 4] {
            let run = format!("by{ranks}");
            succeed(shared(&bench, ranks, &format!("{flags} --model_path {run}")));
            let (of_one, of_all) = (losses("by1"), losses(&run));
            assert_eq!((of_one.len(), of_all.len()), (10, 10));
            for (step, (one, all)) in of_one.iter().zip(&of_all).take(5).enumerate() {
                let off = (all - one).abs() / one;
                assert!(off <= 1e-5, "{ranks} processes, step {}: {one} and {all}, {off:e} apart", step + 1);
            }
        }
    }

    #[test]
    fn as_many_images_are_told_right_as_by_one_process() {
        let bench = Bench::new();
        let flags = "--num_epochs 8 --test_period 8 --bn_recal 10";
        let top1 = |run: &str| bench.json(&format!("{run}/summary.json"))["top1"].as_f64().unwrap();
        bench.train(&format!("{flags} --model_path by1"));
        for (ranks, bn) in [(2, ""), (4, "--sync_bn")] {
            let run = format!("by{ranks}");
            succeed(shared(&bench, ranks, &format!("{flags} {bn} --model_path {run}")));
            assert!(top1(&run) > 0.9 && top1("by1") > 0.9, "{} and {}", top1(&run), top1("by1"));
        }
    }

    #[test]
    fn the_first_process_alone_needs_weights_to_start_from_and_to_test() {
        let bench = Bench::new();
        // What the file says of its network all have to know.
        bench.train("--num_epochs 1 --pruning_mode none --model_path base --set model.activation=\"relu6\" --set model.bn_epsilon=0.002");
        let from =
            |place: &str| format!("--pretrained_model {place} --distill --teacher {place} --num_epochs 1");
        succeed(shared(&bench, 2, &format!("{} --model_path all", from("base"))));
        let elsewhere = format!("{} --model_path elsewhere", from("nowhere"));
        succeed(mpirun(&bench, &[(1, &from("base")), (1, &elsewhere)]));
        assert!(bench.bytes("run/weights.safetensors") == bench.bytes("all/weights.safetensors"));
        assert!(!bench.path("elsewhere").exists(), "the first process alone writes");
        succeed(bench.small("--phase test --pretrained_model run --model_path one"));
        let tests = [
            "--phase test --pretrained_model run --model_path two",
            "--phase test --pretrained_model nowhere",
        ];
        succeed(mpirun(&bench, &[(1, tests[0]), (1, tests[1])]));
        let tested = |run: &str| bench.json(&format!("{run}/test.json"));
        assert_eq!(
            (&tested("two")["top1"], &tested("two")["sparsity"]),
            (&tested("one")["top1"], &tested("one")["sparsity"])
        );
        fails_once(mpirun(&bench, &[(1, tests[1]), (1, tests[0])]), &["nowhere"]);
    }

    #[test]
    fn bad_images_are_listed_as_one_process_lists_them() {
        let bench = Bench::new();
        std::fs::remove_dir_all(bench.path("data")).unwrap();
        write_class_folders(&bench.path("data"));
        let flags = "--data imagenet --set data.image_size=32 --set model.num_classes=3 --batch_size 12 --lr 0.01 \
                     --num_workers 2 --bn_recal 3 --set data.bad_images_limit=";
        let listed = |run: &str| String::from_utf8(bench.bytes(&format!("{run}/bad_images.txt"))).unwrap();
        let said = ["6 of 61 training images cannot be used", "2 of 15 test images cannot be used"];
        succeed(bench.small(&format!("{flags}0.2 --model_path one"))).says(&said);
        for ranks in [2, 4] {
            let run = format!("by{ranks}");
            let ended = succeed(shared(&bench, ranks, &format!("{flags}0.2 --model_path {run}")));
            ended.says(&said);
            assert_eq!(listed(&run), listed("one"), "{ranks} processes");
            assert_eq!(bench.json(&format!("{run}/summary.json"))["images"], 13);
            let test = format!("{flags}0.2 --phase test --pretrained_model one --model_path test{ranks}");
            succeed(shared(&bench, ranks, &test)).says(&said[1..]);
            let of_test: String = listed("one")
                .lines()
                .filter(|line| line.starts_with("test"))
                .flat_map(|line| [line, "\n"])
                .collect();
            assert_eq!(listed(&format!("test{ranks}")), of_test);
        }
        // None of them finds more than 4 itself.
        let ended =
            fails_once(shared(&bench, 4, &format!("{flags}0.08 --model_path many")), &["6 of 61 images"]);
        assert_eq!(ended.code, Some(1));
    }

    #[test]
    fn what_cannot_work_ends_all_with_one_message() {
        let bench = Bench::new();
        bench.train("--num_epochs 1 --model_path base");
        let test = "--phase test --pretrained_model base --model_path test";
        fails_once(
            mpirun(&bench, &[(1, ""), (1, test)]),
            &["tasks of rank 1 differ", "a test there, training here"],
        );
        let other = Bench::new();
        write_some_data(&other.path("data"), 640, 150);
        let fewer = format!("{test} --set data.path={}", other.path("data").display());
        fails_once(
            mpirun(&bench, &[(1, test), (1, &fewer)]),
            &["test images of rank 1 differ from those of rank 0: 150 images"],
        );
        for flags in ["", "--sync_bn", "--precision bf16"] {
            let ended =
                fails_once(shared(&bench, 2, &format!("--lr 1e30 {flags}")), &["diverged after step"]);
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        }
        fails_once(
            shared(&bench, 2, "--model_path data/train-labels-idx1-ubyte/run"),
            &["data/train-labels-idx1-ubyte"],
        );
        assert_eq!(fails_once(shared(&bench, 2, "--bogus"), &["--bogus"]).code, Some(2));
        let mut convert = Command::new("mpirun");
        convert.args([
            "--oversubscribe",
            "--allow-run-as-root",
            "-n",
            "2",
            env!("CARGO_BIN_EXE_sparse-train"),
        ]);
        convert.args(["convert", "base", "copy.safetensors"]).current_dir(bench.path(""));
        fails(convert, &["`convert` is the work of one"]);
        assert!(!bench.path("copy.safetensors").exists());
        let printed = succeed(shared(&bench, 2, "--print_config")).stdout;
        assert_eq!(printed.matches("[train]").count(), 1, "{printed}");
    }

    #[test]
    fn a_signal_to_any_process_ends_a_test() {
        let bench = Bench::new();
        write_some_data(&bench.path("data"), 640, 20_000);
        bench.train(
            "--num_epochs 1 --test_period 9 --set train.batch_size_for_validation=500 --model_path base",
        );
        for (to, name, code) in [(0, "-TERM", 143), (1, "-INT", 130), (1, "-KILL", 137)] {
            let flags = "--phase test --pretrained_model base --set train.batch_size_for_validation=2";
            let mut command = shared(&bench, 2, flags);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            while !said.contains("testing ") && stderr.read_line(&mut said).unwrap() > 0 {}
            signal(process_of(&bench, to).unwrap(), name);
            stderr.read_to_string(&mut said).unwrap();
            let ended = Ended { code: child.wait().unwrap().code(), stdout: String::new(), stderr: said };
            assert_eq!(ended.code, Some(code), "{name} to {to}: {}", ended.stderr);
            assert!(!ended.stderr.contains("error: "), "{}", ended.stderr);
            assert!(!bench.path("run/test.json").exists());
        }
    }
}
