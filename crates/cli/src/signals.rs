//! Signals. Ctrl-C and SIGTERM: the first asks a run to save and stop, the second ends the program at once and says what
//! that gives up. A limit on the size of files (SIGXFSZ) is an error of the write, like a full disk.

use crate::ranks;
use sparse_trainer::StopFlag;
use sparse_trainer::checkpoint::Store;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a signal would interrupt.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Training in this run folder.
    Training(PathBuf),
    /// A test.
    Testing,
    /// Pruning by images.
    Pruning,
    /// A sweep in this folder.
    Sweep(PathBuf),
}

/// Listens for both signals. Until [`Signals::begin`] there is nothing to save, and the first ends the program.
pub(crate) struct Signals {
    stop: StopFlag,
    work: Arc<Mutex<Option<Work>>>,
}

impl Signals {
    /// The flag that the first signal sets.
    pub(crate) fn stop(&self) -> &StopFlag {
        &self.stop
    }

    /// From here on the first signal asks to stop.
    pub(crate) fn begin(&self, work: Work) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }
}

impl Work {
    /// What the first signal leads to.
    #[cfg_attr(not(unix), allow(dead_code, reason = "said by the thread that waits for signals"))]
    fn asked(&self) -> &'static str {
        match self {
            Self::Training(_) if ranks::rank().is_some() => {
                "stopping all processes after this step with the state saved; if one is gone, nothing is saved and --resume auto goes \
                 on from the newest checkpoint"
            }
            Self::Training(_) => {
                "stopping after this step with the state saved; once more stops at once, without saving"
            }
            Self::Pruning => {
                "stopping within this layer; those that are done are saved, and the same command goes on from them"
            }
            Self::Testing => "stopping after this batch; once more stops at once",
            Self::Sweep(_) => {
                "stopping after this step with the state of this point saved; once more stops at once, without saving"
            }
        }
    }

    /// What the second signal gives up.
    #[cfg_attr(not(unix), allow(dead_code, reason = "said by the thread that waits for signals"))]
    fn given_up(&self) -> String {
        match self {
            Self::Training(folder) => {
                let newest = Store::of_run(folder).list().ok().and_then(|mut found| found.pop());
                match newest {
                    Some(found) => format!(
                        "stopped at once: what came after step {} is given up; --resume auto goes on from {}",
                        found.step,
                        found.folder.display()
                    ),
                    None => format!(
                        "stopped at once: {} holds no checkpoint yet, so all steps of this run are given up",
                        folder.display()
                    ),
                }
            }
            Self::Pruning => "stopped at once: this layer is given up; those before it are saved".to_owned(),
            Self::Testing => "stopped at once: the test is given up, no result is written".to_owned(),
            Self::Sweep(folder) => format!(
                "stopped at once: the point under way in {} is given up back to its newest checkpoint; the same command \
                 goes on from there",
                folder.display()
            ),
        }
    }
}

/// The exit code of a program ended by a signal: 128 and its number.
pub(crate) fn exit_code(signal: usize) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(unix)]
pub(crate) use with_a_thread::{file_limit_is_an_error, listen};
#[cfg(not(unix))]
pub(crate) use with_flags::{file_limit_is_an_error, listen};

/// A thread waits for signals, so that it may say something, and ends the program though the rest of it hang.
#[cfg(unix)]
mod with_a_thread {
    use super::{Signals, Work, exit_code};
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    use sparse_trainer::StopFlag;
    use std::io::Result;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::sync_channel;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    /// How long the last words may take: who stopped reading stderr is not waited for.
    const LAST_WORDS: Duration = Duration::from_millis(300);

    /// Lets a write beyond the limit on the size of files (`ulimit -f`) fail, where it would end the program.
    ///
    /// # Errors
    /// If no handler can be installed.
    pub(crate) fn file_limit_is_an_error() -> Result<()> {
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
    }

    /// Listens for both signals.
    ///
    /// # Errors
    /// If a handler cannot be installed or the thread not be started.
    pub(crate) fn listen() -> Result<Signals> {
        let mut incoming = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let (stop, work) = (StopFlag::default(), Arc::new(Mutex::new(None)));
        let (flag, doing) = (stop.clone(), Arc::clone(&work));
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in incoming.forever() {
                let work = doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(signal, work.as_ref(), &flag);
            }
        })?;
        Ok(Signals { stop, work })
    }

    fn answer(signal: i32, work: Option<&Work>, stop: &StopFlag) {
        let number = usize::try_from(signal).unwrap_or_default();
        match work {
            Some(work) if stop.signal().is_none() => {
                stop.handle().store(number, Ordering::Relaxed);
                let _ = say(work.asked().to_owned());
            }
            work => {
                if let Some(work) = work {
                    let said = say(work.given_up());
                    let _ = said.map(|said| said.recv_timeout(LAST_WORDS));
                }
                signal_hook::low_level::exit(exit_code(number).into());
            }
        }
    }

    /// Says something on a thread of its own, which may hang where nobody reads; tells when it is said.
    fn say(text: String) -> Result<std::sync::mpsc::Receiver<()>> {
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new().spawn(move || {
            tracing::warn!("{text}");
            // The receiver may have waited long enough.
            let _ = sender.send(());
        })?;
        Ok(receiver)
    }
}

/// Elsewhere handlers set flags, and say nothing.
#[cfg(not(unix))]
mod with_flags {
    use super::{Signals, exit_code};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use sparse_trainer::StopFlag;
    use std::io::Result;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};

    /// There is no such limit.
    ///
    /// # Errors
    /// None.
    pub(crate) fn file_limit_is_an_error() -> Result<()> {
        Ok(())
    }

    /// Listens for both signals.
    ///
    /// # Errors
    /// If a handler cannot be installed.
    pub(crate) fn listen() -> Result<Signals> {
        let stop = StopFlag::default();
        for signal in [SIGINT, SIGTERM] {
            let asked_before = Arc::new(AtomicBool::new(false));
            let code = exit_code(signal as usize).into();
            flag::register_conditional_shutdown(signal, code, Arc::clone(&asked_before))?;
            flag::register(signal, asked_before)?;
            flag::register_usize(signal, stop.handle(), signal as usize)?;
        }
        Ok(Signals { stop, work: Arc::new(Mutex::new(None)) })
    }
}
