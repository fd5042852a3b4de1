//! Runs of several processes under `mpirun`.

use super::{Bench, Ended, end};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A run as [`Bench::small`] by so many processes; `flags` may hold ` : ` and the flags of a rank of its own.
pub(crate) fn shared(bench: &Bench, ranks: usize, flags: &str) -> Command {
    mpirun(bench, &[(ranks, flags)])
}

/// Processes in groups with flags of their own.
pub(crate) fn mpirun(bench: &Bench, groups: &[(usize, &str)]) -> Command {
    launched(Command::new("mpirun"), bench, groups)
}

/// As [`mpirun`], by a command that ends with `mpirun` and flags for it.
pub(crate) fn launched(mut command: Command, bench: &Bench, groups: &[(usize, &str)]) -> Command {
    command.args(["--oversubscribe", "--allow-run-as-root"]);
    for (number, (ranks, flags)) in groups.iter().enumerate() {
        if number > 0 {
            command.arg(":");
        }
        let small = bench.small(flags);
        command.args(["-n", &ranks.to_string()]).arg(small.get_program()).args(small.get_args());
    }
    command.current_dir(bench.path("")).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Waits for the end of a run that must fail, with one message that holds every part.
#[track_caller]
pub(crate) fn fails_once(command: Command, parts: &[&str]) -> Ended {
    let ended = fails(command, parts);
    assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.stderr);
    ended
}

/// Waits for the end of a run that must fail, with every part in what it says.
#[track_caller]
pub(crate) fn fails(command: Command, parts: &[&str]) -> Ended {
    let ended = end(command);
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended.says(parts);
    ended
}

/// The processes that are ranks of the run in a folder, with their ranks, in order.
pub(crate) fn processes(bench: &Bench) -> Vec<(usize, u32)> {
    let here = bench.path("").canonicalize().unwrap();
    let rank_of = |process: std::fs::DirEntry| {
        let number: u32 = process.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(process.path().join("environ")).ok()?;
        let rank = environment.split(|&byte| byte == 0).find_map(|variable| {
            std::str::from_utf8(variable.strip_prefix(b"OMPI_COMM_WORLD_RANK=")?).ok()?.parse().ok()
        })?;
        let place = std::fs::read_link(process.path().join("cwd")).ok()?;
        (place == here).then_some((rank, number))
    };
    let mut found: Vec<_> = std::fs::read_dir("/proc").unwrap().flatten().filter_map(rank_of).collect();
    found.sort_unstable();
    found
}

/// The process that is this rank of the run in a folder.
pub(crate) fn process_of(bench: &Bench, rank: usize) -> Option<u32> {
    processes(bench).into_iter().find_map(|(other, process)| (other == rank).then_some(process))
}

/// Waits until a run has this many lines of metrics, or has ended.
pub(crate) fn wait_for_steps(bench: &Bench, child: &mut Child, steps: usize) {
    let lines =
        || std::fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap_or_default().lines().count();
    while lines() < steps && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal.
pub(crate) fn signal(process: u32, name: &str) {
    // It may be gone.
    Command::new("kill").args([name, &process.to_string()]).stderr(Stdio::null()).status().unwrap();
}

/// Starts a run, sends a signal to one of its processes after some steps, and waits for its end.
pub(crate) fn interrupted(
    bench: &Bench,
    ranks: usize,
    flags: &str,
    steps: usize,
    to: usize,
    name: &str,
) -> Ended {
    let mut command = shared(bench, ranks, flags);
    if name != "-KILL" {
        // Time to save, on a busy machine.
        command.env("OMPI_MCA_odls_base_sigkill_timeout", "5");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_steps(bench, &mut child, 1);
    let process = process_of(bench, to);
    wait_for_steps(bench, &mut child, steps);
    if let Some(process) = process.filter(|_| child.try_wait().unwrap().is_none()) {
        signal(process, name);
    }
    child.wait_with_output().unwrap().into()
}
