//! A run under `mpirun` that may never end.

use super::mpi::{processes, signal};
use super::{Bench, Ended};
use std::fs::File;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A run that may never end. What it says goes to files, since whoever hangs keeps a pipe open.
pub(crate) struct Watched<'a> {
    bench: &'a Bench,
    pub(crate) child: Child,
}

impl<'a> Watched<'a> {
    pub(crate) fn start(bench: &'a Bench, mut command: Command) -> Self {
        let file = |name: &str| File::create(bench.path(name)).unwrap();
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        Self { bench, child }
    }

    /// Waits until no process is a rank of the run any more, and tells the seconds that it took.
    pub(crate) fn wait_for_ranks(&mut self) -> f64 {
        self.wait(|run| processes(run.bench).is_empty())
    }

    /// Waits for the launcher as well.
    pub(crate) fn end(mut self) -> Ended {
        self.wait(|run| run.child.try_wait().unwrap().is_some());
        self.ended()
    }

    /// Ends a launcher that does not end by itself.
    pub(crate) fn kill(mut self) -> Ended {
        assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.ended().stderr);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.ended()
    }

    fn wait(&mut self, over: impl Fn(&mut Self) -> bool) -> f64 {
        let start = Instant::now();
        while !over(self) {
            std::thread::sleep(Duration::from_millis(50));
        }
        start.elapsed().as_secs_f64()
    }

    fn ended(&mut self) -> Ended {
        let text = |name: &str| String::from_utf8(self.bench.bytes(name)).unwrap();
        let code = self.child.try_wait().unwrap().and_then(|status| status.code());
        Ended { code, stdout: text("stdout"), stderr: text("stderr") }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // What a failed test leaves of its run.
        let _ = self.child.kill();
        processes(self.bench).into_iter().for_each(|(_, process)| {
            signal(process, "-KILL");
        });
        let _ = self.child.wait();
    }
}
