//! A communicator on a thread of its own.

use crate::{Communicator, Error, Numbers, Result, Slice};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often others are shown that this rank lives.
const IDLE: Duration = Duration::from_secs(1);

/// What the thread is asked.
enum Job {
    Sum(Numbers),
    Counts(Vec<u64>),
    Gather(Vec<u8>),
    Broadcast(Vec<u8>),
    Finish,
}

/// What it answers, in the order of the jobs.
enum Answer {
    Sum(Numbers),
    Counts(Vec<u64>),
    Gathered(Vec<Vec<u8>>),
    Bytes(Vec<u8>),
    Finished,
}

/// Runs a communicator on a thread, so that a sum that was begun goes on while the caller computes. An MPI that is not
/// made for several threads is then called from one alone.
pub struct Background {
    rank: usize,
    size: usize,
    jobs: Sender<Job>,
    answers: Receiver<Result<Answer>>,
    /// Sums that were begun and not taken.
    begun: usize,
    /// Those of them whose answers came before that of another operation.
    early: VecDeque<Result<Answer>>,
    waited: Duration,
    thread: JoinHandle<()>,
}

impl Background {
    /// Starts the thread, and the communicator in it. `start` gets a way to tell of a failure from which it will not return.
    ///
    /// # Errors
    /// What `start` reports; [`Error::Ended`] if there is no thread to be had.
    pub fn start<C, F>(start: F) -> Result<Self>
    where
        C: Communicator,
        F: FnOnce(Failure) -> Result<C> + Send + 'static,
    {
        let (jobs, to_do) = channel();
        let (answer, answers) = channel();
        let (ready, started) = channel();
        let body = move || {
            let failure = Failure(answer.clone());
            match start(failure) {
                Ok(communicator) => {
                    if ready.send(Ok((communicator.rank(), communicator.size()))).is_ok() {
                        serve(communicator, &to_do, &answer);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new().name("collectives".to_owned()).spawn(body);
        let thread = thread.map_err(|_| Error::Ended)?;
        let (rank, size) = started.recv().map_err(|_| Error::Ended)??;
        Ok(Self {
            rank,
            size,
            jobs,
            answers,
            begun: 0,
            early: VecDeque::new(),
            waited: Duration::ZERO,
            thread,
        })
    }

    fn ask(&mut self, job: Job) -> Result<()> {
        self.jobs.send(job).map_err(|_| Error::Ended)
    }

    fn wait(&mut self) -> Result<Answer> {
        let start = Instant::now();
        let answer = self.answers.recv().map_err(|_| Error::Ended);
        self.waited += start.elapsed();
        answer?
    }

    /// Asks and waits; answers to sums that were begun before are kept.
    fn now(&mut self, job: Job) -> Result<Answer> {
        self.ask(job)?;
        while self.early.len() < self.begun {
            let answer = self.wait()?;
            self.early.push_back(Ok(answer));
        }
        self.wait()
    }
}

/// Tells the caller of a [`Background`] that its thread has failed and will not return.
pub struct Failure(Sender<Result<Answer>>);

impl Failure {
    /// Every operation that is waited for fails with this.
    pub fn tell(&self, error: &Error) {
        // One for each that may be waited for before the caller gives up.
        for _ in 0..64 {
            if self.0.send(Err(error.clone())).is_err() {
                return;
            }
        }
    }
}

/// Works until it is told to finish. A caller who goes away without that has failed: then nothing is cleaned up, which the
/// launcher takes for a failure as well.
fn serve(communicator: impl Communicator, jobs: &Receiver<Job>, answers: &Sender<Result<Answer>>) {
    let mut communicator = Box::new(communicator);
    loop {
        let answer = match jobs.recv_timeout(IDLE) {
            Ok(Job::Finish) => {
                drop(answers.send(communicator.finish().map(|()| Answer::Finished)));
                return;
            }
            Ok(job) => work(&mut *communicator, job),
            Err(RecvTimeoutError::Disconnected) => {
                std::mem::forget(communicator);
                return;
            }
            Err(RecvTimeoutError::Timeout) => match communicator.idle() {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

fn work(communicator: &mut impl Communicator, job: Job) -> Result<Answer> {
    match job {
        Job::Sum(mut values) => {
            communicator.sum(values.as_slice())?;
            Ok(Answer::Sum(values))
        }
        Job::Counts(mut counts) => {
            communicator.sum(Slice::U64(&mut counts))?;
            Ok(Answer::Counts(counts))
        }
        Job::Gather(bytes) => Ok(Answer::Gathered(communicator.gather(&bytes)?)),
        Job::Broadcast(bytes) => Ok(Answer::Bytes(communicator.broadcast(bytes)?)),
        Job::Finish => Ok(Answer::Finished),
    }
}

impl Communicator for Background {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, values: Slice<'_>) -> Result<()> {
        match values {
            Slice::F32(values) => {
                if let Answer::Sum(Numbers::F32(sum)) = self.now(Job::Sum(Numbers::F32(values.to_vec())))? {
                    values.copy_from_slice(&sum);
                }
            }
            Slice::F64(values) => {
                if let Answer::Sum(Numbers::F64(sum)) = self.now(Job::Sum(Numbers::F64(values.to_vec())))? {
                    values.copy_from_slice(&sum);
                }
            }
            Slice::U64(values) => {
                if let Answer::Counts(sum) = self.now(Job::Counts(values.to_vec()))? {
                    values.copy_from_slice(&sum);
                }
            }
        }
        Ok(())
    }

    fn begin_sum(&mut self, values: Numbers) -> Result<()> {
        self.ask(Job::Sum(values))?;
        self.begun += 1;
        Ok(())
    }

    fn end_sum(&mut self) -> Result<Numbers> {
        if self.begun == 0 {
            return Err(Error::NotBegun);
        }
        self.begun -= 1;
        let answer = match self.early.pop_front() {
            Some(answer) => answer?,
            None => self.wait()?,
        };
        if let Answer::Sum(values) = answer { Ok(values) } else { Err(Error::NotBegun) }
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        match self.now(Job::Gather(bytes.to_vec()))? {
            Answer::Gathered(gathered) => Ok(gathered),
            _ => Err(Error::NotBegun),
        }
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self.now(Job::Broadcast(bytes))? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::NotBegun),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.now(Job::Finish)?;
        self.thread.join().map_err(|_| Error::Ended)
    }

    fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    fn idle(&mut self) -> Result<()> {
        match self.answers.try_recv() {
            // Only sums that were begun are answered without being waited for.
            Ok(answer) => {
                self.early.push_back(Ok(answer?));
                Ok(())
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(Error::Ended),
        }
    }
}
