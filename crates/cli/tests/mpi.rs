//! Runs that several processes share, on the real binary under `mpirun`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test tells how long an end took")]

#[cfg(not(feature = "mpi"))]
#[test]
fn runs_of_several_processes() {
    sparse_testing::Need::Mpi.left_out("runs of several processes");
}

#[cfg(feature = "mpi")]
mod common;

#[cfg(feature = "mpi")]
mod with_mpi {
    use crate::common::mpi::{
        fails, interrupted, mpirun, process_of, processes, shared, signal, wait_for_steps,
    };
    use crate::common::watched::Watched;
    use crate::common::{Bench, succeed};
    use sparse_testing::Need;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn the_same_number_of_processes_gives_the_same_bytes() {
        let bench = Bench::new();
        for mode in [
            "",
            "--sync_bn --pruning_strategy gmp --stable_epochs 0 --pruning_epochs 1 --tunning_epochs 1 --pruning_steps 4",
        ] {
            let flags = |run: &str, threads: usize| format!("{mode} --model_path {run} --threads {threads}");
            succeed(shared(&bench, 2, &flags("a", 1)));
            succeed(shared(&bench, 2, &flags("b", 2)));
            for file in ["weights.safetensors", "predictions.csv"] {
                assert_eq!(
                    bench.bytes(&format!("a/{file}")),
                    bench.bytes(&format!("b/{file}")),
                    "{mode}: {file}"
                );
            }
            for run in ["a", "b"] {
                std::fs::remove_dir_all(bench.path(run)).unwrap();
            }
        }
    }

    #[test]
    fn tests_are_shared_with_exact_counts() {
        let bench = Bench::new();
        bench.train("");
        let tested = |run: &str| {
            let report = bench.json(&format!("{run}/test.json"));
            let table = String::from_utf8(bench.bytes(&format!("{run}/predictions.csv"))).unwrap();
            let rows: Vec<String> =
                table.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
            (report["images"].clone(), report["top1"].clone(), report["top5"].clone(), rows)
        };
        let flags = |run: &str| format!("--phase test --pretrained_model run --model_path {run}");
        succeed(bench.small(&flags("one")));
        for ranks in [2, 3, 4] {
            let run = format!("by{ranks}");
            let ended = succeed(shared(&bench, ranks, &flags(&run)));
            assert_eq!(tested(&run), tested("one"), "{ranks} processes");
            assert_eq!(
                ended.stdout.matches("top-1").count(),
                1,
                "one of them alone prints: {}",
                ended.stdout
            );
        }
    }

    #[test]
    fn what_ranks_cannot_share_is_refused() {
        let bench = Bench::new();
        fails(shared(&bench, 3, ""), &["a batch of 64 images cannot be shared by 3 processes", "63 or 66"]);
        fails(
            shared(&bench, 4, "--batch_size 2"),
            &["cannot be shared by 4 processes", "--batch_size) 4, or"],
        );
        fails(
            mpirun(&bench, &[(1, ""), (1, "--lr 0.25")]),
            &["settings of rank 1 differ from those of rank 0: lr = 0.25 there, lr = 0.05 here"],
        );
        let other = Bench::new();
        let images = other.bytes("data/train-labels-idx1-ubyte");
        let mut labels = images;
        let last = labels.len() - 1;
        labels[last] = (labels[last] + 1) % 10;
        std::fs::write(other.path("data/train-labels-idx1-ubyte"), labels).unwrap();
        let data = format!("--set data.path={}", other.path("data").display());
        fails(
            mpirun(&bench, &[(1, ""), (1, &data)]),
            &["training images of rank 1 differ from those of rank 0"],
        );
        fails(mpirun(&bench, &[(1, ""), (1, "--set data.path=nowhere")]), &["rank 1: ", "nowhere"]);
        assert!(!bench.path("run").exists(), "a refused run leaves nothing");
        let sweep = bench.bare("sweep");
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "--allow-run-as-root", "-n", "2"]);
        command.arg(sweep.get_program()).arg("sweep").current_dir(bench.path(""));
        fails(command, &["a sweep is the work of one"]);
    }

    #[test]
    fn a_batch_per_card_is_the_same_run() {
        let bench = Bench::new();
        succeed(shared(&bench, 2, "--num_epochs 1 --model_path a"));
        succeed(shared(&bench, 2, "--num_epochs 1 --model_path b --batch_size_per_card 32"));
        assert_eq!(bench.bytes("a/weights.safetensors"), bench.bytes("b/weights.safetensors"));
        fails(
            shared(&bench, 4, "--model_path b --batch_size_per_card 32 --resume auto"),
            &["train.batch_size", "--batch_size_per_card 16"],
        );
    }

    #[test]
    fn a_signal_to_any_rank_saves_once_and_more_or_fewer_go_on() {
        let bench = Bench::new();
        for (name, code) in [("-TERM", 143), ("-INT", 130)] {
            for to in [0, 1] {
                let ended = interrupted(&bench, 2, "--num_epochs 40", 5, to, name);
                assert_eq!(ended.code, Some(code), "{}", ended.stderr);
                assert_eq!(ended.stderr.matches("state saved; --resume auto").count(), 1, "{}", ended.stderr);
                assert!(bench.path("run/checkpoints").exists());
                std::fs::remove_dir_all(bench.path("run")).unwrap();
            }
        }
        interrupted(&bench, 2, "", 5, 1, "-TERM");
        succeed(shared(&bench, 4, "--resume auto"));
        assert_eq!(bench.json("run/summary.json")["steps"], 20);
    }

    #[test]
    fn a_killed_rank_ends_all_and_the_resumed_run_has_the_same_bytes() {
        let bench = Bench::new();
        let flags = "--set checkpoint.every_steps=2";
        succeed(shared(&bench, 2, &format!("{flags} --model_path whole")));
        let kills = std::env::var("SPARSE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3);
        for kill in 0..kills {
            let ended = interrupted(&bench, 2, flags, 2 + kill * 5 % 17, kill % 2, "-KILL");
            assert_ne!(ended.code, Some(0));
            succeed(shared(&bench, 2, &format!("{flags} --resume auto")));
            for file in ["weights.safetensors", "predictions.csv"] {
                assert_eq!(
                    bench.bytes(&format!("run/{file}")),
                    bench.bytes(&format!("whole/{file}")),
                    "kill {kill}: {file}"
                );
            }
            std::fs::remove_dir_all(bench.path("run")).unwrap();
        }
    }

    /// Longer than a rank waits for a sign of life.
    const PATIENCE: Duration = Duration::from_secs(35);

    #[test]
    fn a_stopped_rank_is_missed_and_ends_all() {
        if !Need::Minutes.is_met_for("a rank that is stopped") {
            return;
        }
        let bench = Bench::new();
        let flags = "--num_epochs 20 --set checkpoint.every_steps=2";
        succeed(shared(&bench, 2, &format!("{flags} --model_path whole")));
        for rank in [0, 1] {
            let mut run = Watched::start(&bench, shared(&bench, 2, flags));
            wait_for_steps(&bench, &mut run.child, 5);
            signal(process_of(&bench, rank).unwrap(), "-STOP");
            let seconds = run.wait_for_ranks();
            eprintln!("rank {rank} stopped: both processes had ended after {seconds:.0} s");
            let ended = run.end();
            assert_ne!(ended.code, Some(0));
            ended.says(&[&format!("error: {}", missed(rank))]);
            assert_eq!(ended.stderr.matches("has not answered").count(), 1, "{}", ended.stderr);
            succeed(shared(&bench, 2, &format!("{flags} --resume auto")));
            assert_eq!(bench.bytes("run/weights.safetensors"), bench.bytes("whole/weights.safetensors"));
            std::fs::remove_dir_all(bench.path("run")).unwrap();
        }
    }

    /// What the other of two ranks says.
    fn missed(rank: usize) -> String {
        let by = if rank == 0 { "rank 1: " } else { "" };
        format!("{by}rank {rank} has not answered for 30 s")
    }

    #[test]
    fn a_run_that_was_suspended_goes_on() {
        if !Need::Minutes.is_met_for("a run that is suspended") {
            return;
        }
        let bench = Bench::new();
        let flags = "--num_epochs 20";
        succeed(shared(&bench, 2, &format!("{flags} --model_path whole")));
        let mut run = Watched::start(&bench, shared(&bench, 2, flags));
        wait_for_steps(&bench, &mut run.child, 5);
        let ranks = processes(&bench);
        assert_eq!(ranks.len(), 2);
        ranks.iter().for_each(|&(_, process)| signal(process, "-STOP"));
        std::thread::sleep(PATIENCE);
        ranks.iter().for_each(|&(_, process)| signal(process, "-CONT"));
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(bench.bytes("run/weights.safetensors"), bench.bytes("whole/weights.safetensors"));
    }

    #[test]
    fn a_benchmark_tells_the_rate_of_all_and_the_wait() {
        let bench = Bench::new();
        let bare = bench
            .bare("bench train --batch 4 --size 32 --steps 2 --scale 0.125 --classes 5 --sparsity 0 --json");
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "--allow-run-as-root", "-n", "2"]);
        command.arg(bare.get_program()).args(bare.get_args());
        let reports: serde_json::Value = serde_json::from_str(&succeed(command).stdout).unwrap();
        assert_eq!((&reports[0]["processes"], &reports[0]["batch"]), (&2.into(), &4.into()));
        assert!(reports[0]["waiting_share"].as_f64().unwrap() > 0.0);
    }
}
