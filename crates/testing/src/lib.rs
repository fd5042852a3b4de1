//! What tests need of a machine, and how they say that it is not there.
//!
//! A test that cannot run passes, and says so in a line that `cargo test` shows without `--nocapture`. The line names the
//! [`Need`], so that `cargo xtask ci` can tell a machine without it from a test that was left out for another reason.
//!
//! ```
//! use sparse_testing::Need;
//!
//! if Need::CCompiler.is_met_for("the C functions") {
//!     // Compile something.
//! }
//! ```

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A C compiler: `$CC`, or `cc`.
    CCompiler,
    /// A C++ compiler: `$CXX`, or `c++`.
    CppCompiler,
    /// Python with what the scripts of the tests import: `$SPARSE_PYTHON`.
    Python,
    /// A POSIX shell.
    Shell,
    /// A folder with photos and weights that are not part of the project: `$SHARED_DATA`.
    SharedData,
    /// A user whom the permissions of files bind, as they do not bind root.
    BoundUser,
    /// A device that is always full: `/dev/full`.
    FullDevice,
    /// valgrind.
    Valgrind,
    /// A build with the feature `mpi`.
    Mpi,
    /// Network namespaces that this user may make and link: root with `ip`, `tc` and `unshare`.
    Namespaces,
    /// A system that tells what a process has taken at most: `/proc`.
    PeakMemory,
    /// `taskset`, which says on which processors a process may run.
    Taskset,
    /// Somebody who lets tests wait out what takes a minute: `$SPARSE_MINUTES`.
    Minutes,
}

impl Need {
    /// Every need.
    pub const ALL: [Self; 13] = [
        Self::CCompiler,
        Self::CppCompiler,
        Self::Python,
        Self::Shell,
        Self::SharedData,
        Self::BoundUser,
        Self::FullDevice,
        Self::Valgrind,
        Self::Mpi,
        Self::Namespaces,
        Self::PeakMemory,
        Self::Taskset,
        Self::Minutes,
    ];

    /// What it is called in the line of a test that is left out.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CCompiler => "a C compiler ($CC or cc)",
            Self::CppCompiler => "a C++ compiler ($CXX or c++)",
            Self::Python => "a Python with the packages of the script ($SPARSE_PYTHON)",
            Self::Shell => "a POSIX shell (sh)",
            Self::SharedData => "the folder of larger test data ($SHARED_DATA)",
            Self::BoundUser => "a user whom the permissions of files bind (not root)",
            Self::FullDevice => "a device that is always full (/dev/full)",
            Self::Valgrind => "valgrind",
            Self::Mpi => "a build with --features mpi",
            Self::Namespaces => "network namespaces (root with ip, tc and unshare)",
            Self::PeakMemory => "a system that tells what a process takes at most (/proc)",
            Self::Taskset => "taskset",
            Self::Minutes => "leave to wait for a minute ($SPARSE_MINUTES)",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_met(self) -> bool {
        match self {
            Self::CCompiler => runs(&[&variable("CC", "cc"), "--version"]),
            Self::CppCompiler => runs(&[&variable("CXX", "c++"), "--version"]),
            Self::Python => python().is_some(),
            Self::Shell => runs(&["sh", "-c", "true"]),
            Self::SharedData => shared_data().is_some(),
            // Root may open any folder.
            Self::BoundUser => runs(&["sh", "-c", "test \"$(id -u)\" -ne 0"]),
            Self::FullDevice => std::path::Path::new("/dev/full").exists(),
            Self::Valgrind => runs(&["valgrind", "--version"]),
            // A step of `cargo xtask ci` is such a build.
            Self::Mpi => false,
            Self::Namespaces => runs(&["unshare", "--mount", "--net", "--uts", "sh", "-c", LINK]),
            Self::PeakMemory => std::path::Path::new("/proc/self/status").exists(),
            Self::Taskset => runs(&["taskset", "--version"]),
            Self::Minutes => env::var_os("SPARSE_MINUTES").is_some(),
        }
    }

    /// Whether this machine has it; if not, says that `what` is left out.
    #[must_use]
    pub fn is_met_for(self, what: &str) -> bool {
        let met = self.is_met();
        if !met {
            self.left_out(what);
        }
        met
    }

    /// Says that `what` is left out for want of it, past the capture of the test runner.
    pub fn left_out(self, what: &str) {
        // A test passes whether or not somebody listens.
        let _ = writeln!(std::io::stderr(), "{SKIPPED}{what}: needs {}", self.name());
    }

    /// The need that a line of test output names, if it is one of [`Need::left_out`].
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(SKIPPED)?;
        let (_, name) = rest.rsplit_once(": needs ")?;
        Self::ALL.into_iter().find(|need| need.name() == name.trim_end())
    }
}

/// Makes a link of limited rate, in namespaces that end with the shell.
const LINK: &str = "ip netns list && ip link add name port type bridge && ip link add name link type veth peer name other && \
                    tc qdisc add dev link root tbf rate 1gbit burst 256kb latency 50ms";

/// How the line of a test that is left out begins.
pub const SKIPPED: &str = "SKIPPED ";

/// The folder that `$SHARED_DATA` names, if it is one.
#[must_use]
pub fn shared_data() -> Option<PathBuf> {
    env::var_os("SHARED_DATA").map(PathBuf::from).filter(|folder| folder.is_dir())
}

/// The Python that `$SPARSE_PYTHON` names, if it runs.
#[must_use]
pub fn python() -> Option<String> {
    let program = env::var("SPARSE_PYTHON").ok()?;
    runs(&[&program, "--version"]).then_some(program)
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn runs(command: &[&str]) -> bool {
    let quiet = || Stdio::null();
    let status =
        Command::new(command[0]).args(&command[1..]).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_need() {
        for need in Need::ALL {
            let line = format!("test a ... {SKIPPED}the kernels: needs everything: needs {}\n", need.name());
            assert_eq!(Need::of_line(&line), Some(need));
        }
        assert_eq!(Need::of_line("SKIPPED the kernels: needs luck"), None);
        assert_eq!(Need::of_line("the kernels: needs valgrind"), None);
    }

    #[test]
    fn what_does_not_run_is_not_there() {
        assert!(!runs(&["no-such-program-anywhere"]));
    }
}
