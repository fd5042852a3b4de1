//! The second signal, and limits of the system on what is written, on the real binary.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, Ended, fail, names, succeed};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Starts a command, waits for a line on its stderr that holds `part`, does `then`, and waits for the end.
fn when_it_says(mut command: Command, part: &str, then: impl FnOnce(&mut Child, &mut dyn BufRead)) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = wait_for(&mut stderr, part);
    then(&mut child, &mut stderr);
    stderr.read_to_string(&mut said).unwrap();
    let output = child.wait_with_output().unwrap();
    let ended = Ended::from(output);
    Ended { stderr: said, ..ended }
}

fn wait_for(stderr: &mut dyn BufRead, part: &str) -> String {
    let mut said = String::new();
    while !said.contains(part) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it never said {part:?}: {said}");
    }
    said
}

/// A run whose steps take so long that the second signal comes before the end of the one under way.
fn slow(bench: &Bench, flags: &str) -> Command {
    bench.small(&format!("--set model.scale=1 --batch_size 320 --num_epochs 50 {flags}"))
}

#[test]
fn a_second_signal_says_what_is_given_up_and_ends_at_once() {
    let bench = Bench::new();
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let ended = when_it_says(slow(&bench, ""), "step[1] ", |child, stderr| {
            signal(child, name);
            wait_for(stderr, "once more stops at once");
            signal(child, name);
        });
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended.says(&["run holds no checkpoint yet, so all steps of this run are given up"]);
        assert!(!bench.path("run/checkpoints").exists());
    }
    bench.train("--num_epochs 1 --set model.scale=1 --batch_size 320");
    let ended = when_it_says(slow(&bench, "--resume auto"), "step[3] ", |child, stderr| {
        signal(child, "-INT");
        wait_for(stderr, "once more stops at once");
        signal(child, "-INT");
    });
    assert_eq!(ended.code, Some(130), "{ended:?}");
    ended.says(&["what came after step 2 is given up", "--resume auto", "run/checkpoints/step-00000002"]);
}

#[test]
fn before_a_run_begins_the_first_signal_ends_it() {
    let bench = Bench::new();
    std::fs::remove_file(bench.path("data/train-images-idx3-ubyte")).unwrap();
    let made = Command::new("mkfifo").arg(bench.path("data/train-images-idx3-ubyte")).status();
    assert!(made.unwrap().success());
    // Whether a pipe of images is refused or waited for, a signal ends the program.
    let child = bench.small("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(matches!(ended.code, Some(1 | 143) | None), "{ended:?}");
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_the_last_good_state_stays() {
    let bench = Bench::new();
    bench.train("--num_epochs 1 --model_path whole");
    bench.train("--num_epochs 1");
    let size = bench.bytes("run/weights.safetensors").len();
    // In blocks of 512 bytes: the weights do not fit, everything before them does.
    let blocks = size / 512 - 10;
    let limited = format!("ulimit -f {blocks}; exec $BIN $SMALL --resume auto");
    let ended = fail(bench.shell(&limited), 1, &["File too large"]);
    assert!(ended.stderr.contains("weights.safetensors"), "{}", ended.stderr);
    assert_eq!(names(&bench.path("run/checkpoints")), ["step-00000010"]);
    assert!(
        names(&bench.path("run")).iter().all(|name| !name.starts_with('.')),
        "{:?}",
        names(&bench.path("run"))
    );
    succeed(bench.small("--resume auto")).says(&["(10 of 20 steps done)"]);
    bench.train("--model_path whole");
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"));
    let exported = format!("ulimit -f {blocks}; exec $BIN convert run out.safetensors");
    fail(bench.shell(&exported), 1, &["out.safetensors", "File too large"]);
    assert!(!bench.path("out.safetensors").exists());
}
