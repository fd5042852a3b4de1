//! Runs that several hosts share: network namespaces of this machine, linked by 1 Gbit/s.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test tells how long an end took")]

#[cfg(not(feature = "mpi"))]
#[test]
fn runs_of_several_hosts() {
    sparse_testing::Need::Mpi.left_out("runs of several hosts");
}

#[cfg(feature = "mpi")]
mod common;

#[cfg(feature = "mpi")]
mod with_mpi {
    use crate::common::hosts::Hosts;
    use crate::common::mpi::{launched, shared, wait_for_steps};
    use crate::common::watched::Watched;
    use crate::common::{Bench, Ended, succeed};
    use sparse_testing::Need;

    /// 200 steps: some are left when the test has seen the first ones and cuts the link.
    const LONG: &str = "--num_epochs 20 --set checkpoint.every_steps=2";

    /// What makes Open MPI notice after four seconds that a host is cut off.
    const KEEPALIVE: [&str; 9] = [
        "--mca",
        "oob_tcp_keepalive_time",
        "1",
        "--mca",
        "oob_tcp_keepalive_intvl",
        "1",
        "--mca",
        "oob_tcp_keepalive_probes",
        "3",
    ];

    #[track_caller]
    fn same_results(bench: &Bench, run: &str, other: &str) {
        for file in ["weights.safetensors", "predictions.csv"] {
            let bytes = |run: &str| bench.bytes(&format!("{run}/{file}"));
            assert!(bytes(run) == bytes(other), "{file} of {run} and {other}");
        }
    }

    #[test]
    fn a_run_by_two_hosts_has_the_bytes_of_one_by_processes_of_one() {
        if !Need::Namespaces.is_met_for("runs of several hosts") {
            return;
        }
        let bench = Bench::new();
        for each in [1, 2] {
            let (ranks, hosts) = (2 * each, Hosts::new(&bench, 2));
            let (one, two) = (format!("one{ranks}"), format!("two{ranks}"));
            succeed(shared(&bench, ranks, &format!("--model_path {one}")));
            let flags = format!("--model_path {two}");
            let run = Watched::start(&bench, launched(hosts.mpirun(each), &bench, &[(ranks, &flags)]));
            let ended = run.end();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            same_results(&bench, &two, &one);
            // 20 steps, each with half of the 61434 numbers to be summed and half of the sums.
            let sent = [hosts.sent(0), hosts.sent(1)];
            assert!(sent.iter().all(|&sent| sent > 20 * 61_434 * 4), "{sent:?} bytes went over the links");
        }
    }

    /// Starts a run on two hosts, and takes the link of one down after some steps. Returns when its processes have ended.
    fn cut_off<'a>(bench: &'a Bench, hosts: &Hosts, host: usize, settings: &[&str]) -> Watched<'a> {
        let mut launcher = hosts.mpirun(1);
        launcher.args(settings);
        let mut run = Watched::start(bench, launched(launcher, bench, &[(2, LONG)]));
        wait_for_steps(bench, &mut run.child, 5);
        hosts.cut(host);
        let seconds = run.wait_for_ranks();
        eprintln!("host {host} cut off: both processes had ended after {seconds:.0} s");
        run
    }

    /// One message, and a checkpoint from which the run goes on as if nothing had been.
    #[track_caller]
    fn ended_well(bench: &Bench, ended: &Ended, message: &str) {
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        ended.says(&[message]);
        let messages = ["has not answered", "lost communication with a remote daemon", "panicked"];
        let said: usize = messages.iter().map(|message| ended.stderr.matches(message).count()).sum();
        assert_eq!(said, 1, "{}", ended.stderr);
        succeed(shared(bench, 2, &format!("{LONG} --resume auto")));
        same_results(bench, "run", "whole");
        std::fs::remove_dir_all(bench.path("run")).unwrap();
    }

    #[test]
    fn a_host_that_the_launcher_finds_cut_off_ends_all() {
        if !Need::Namespaces.is_met_for("a host that is cut off") {
            return;
        }
        let bench = Bench::new();
        succeed(shared(&bench, 2, &format!("{LONG} --model_path whole")));
        for host in [0, 1] {
            let hosts = Hosts::new(&bench, 2);
            let ended = cut_off(&bench, &hosts, host, &KEEPALIVE).end();
            ended_well(&bench, &ended, "lost communication with a remote daemon");
            hosts.wait_until_empty(host);
        }
    }

    /// Without the settings the launcher waits on, for a quarter of an hour.
    #[test]
    fn a_host_that_the_processes_find_cut_off_ends_them() {
        let what = "a host that is cut off and not missed by the launcher";
        if !Need::Namespaces.is_met_for(what) || !Need::Minutes.is_met_for(what) {
            return;
        }
        let bench = Bench::new();
        succeed(shared(&bench, 2, &format!("{LONG} --model_path whole")));
        let hosts = Hosts::new(&bench, 2);
        let ended = cut_off(&bench, &hosts, 1, &[]).kill();
        ended_well(&bench, &ended, "rank 1 has not answered for 30 s");
    }
}
