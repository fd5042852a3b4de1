//! Processes that an MPI started.

use crate::background::Failure;
use crate::silence::Silence;
use crate::{Background, Error, Exchange, Folding, Result};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::{Request, StaticScope, multiple_scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination, Equivalence, Source};
use std::time::{Duration, Instant};

/// How often each rank shows the next one that it lives.
const PULSE: Duration = Duration::from_secs(2);
/// After so long without a sign of life the rank before counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at messages on their way, while they are many and afterwards.
const SHORT: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_micros(200);
/// Looks without a pause, and with a short one.
const EAGER: u32 = 50;
const SOON: u32 = 500;

const DATA: i32 = 1;
const SIGN: i32 = 2;
/// What is sent as a sign of life.
static SIGN_OF_LIFE: [u8; 1] = [1];

/// The processes that were started together, `MPI_COMM_WORLD`. MPI is initialised, used and finalised by a thread of its own.
///
/// # Errors
/// [`Error::Mpi`] if it was initialised before or cannot be.
pub fn mpi() -> Result<Background> {
    Background::start(|failure| Ok(Folding::new(World::new(failure)?)))
}

/// Messages between processes. It stays on the thread that made it.
struct World {
    world: SimpleCommunicator,
    rank: usize,
    size: usize,
    signs: Signs,
    failure: Failure,
    /// Finalises MPI when it is dropped, after all else.
    _universe: Universe,
}

impl World {
    fn new(failure: Failure) -> Result<Self> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| Error::Mpi("MPI was initialised before in this process".to_owned()))?;
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        Ok(Self { world, rank, size, signs: Signs::new(), failure, _universe: universe })
    }
}

impl Exchange for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn exchange(&mut self, send: &[&[u8]], receive: &mut [&mut [u8]]) -> Result<()> {
        let Self { world, rank, signs, failure, .. } = self;
        let expected: Vec<(usize, usize)> = others(*rank, receive.iter().map(|to| to.len())).collect();
        let sends: Vec<(usize, usize)> = others(*rank, send.iter().map(|bytes| bytes.len())).collect();
        let process = |rank: usize| world.process_at_rank(rank as i32);
        multiple_scope(expected.len() + sends.len(), |scope, messages| {
            // Sends come first. MPI announces a large message and sends it when the other side allows that. If a late rank
            // allowed what waits for it before it announced its own, the answer to it would queue behind all of those bytes.
            for &(to, _) in &sends {
                messages.add(process(to).immediate_send_with_tag(scope, send[to], DATA));
            }
            for (from, to) in receive.iter_mut().enumerate() {
                if from != *rank && !to.is_empty() {
                    messages.add(process(from).immediate_receive_into_with_tag(scope, &mut **to, DATA));
                }
            }
            let (mut done, mut looks) = (Vec::new(), 0);
            while !messages.test_all(&mut done) {
                if let Err(error) = signs.tend(world) {
                    // Messages that are on their way cannot be taken back, nor can their memory.
                    failure.tell(&error);
                    loop {
                        std::thread::park();
                    }
                }
                pause(looks);
                looks += 1;
            }
            let got = done
                .iter()
                .skip(sends.len())
                .map(|(_, status, _)| status.count(u8::equivalent_datatype()) as usize);
            match got.zip(&expected).find(|(got, (_, expected))| got != expected) {
                Some((got, &(rank, expected))) => Err(Error::Disagree { rank, got, expected }),
                None => Ok(()),
            }
        })
    }

    fn idle(&mut self) -> Result<()> {
        self.signs.tend(&self.world)
    }
}

/// Ranks but this one to or from which bytes go, with how many.
fn others(rank: usize, lens: impl Iterator<Item = usize>) -> impl Iterator<Item = (usize, usize)> {
    lens.enumerate().filter(move |&(other, len)| other != rank && len > 0)
}

/// Leaves the processor to those who compute, the longer the wait the longer.
fn pause(looks: u32) {
    match looks {
        0..EAGER => std::thread::yield_now(),
        EAGER..SOON => std::thread::sleep(SHORT),
        _ => std::thread::sleep(LONG),
    }
}

/// Signs of life, from each rank to the next and from the last to the first. A rank whose threads compute or read for long still
/// gives them, one whose process or machine is gone does not.
struct Signs {
    sent: Instant,
    /// The last one, while it is on its way.
    on_its_way: Option<Request<'static, [u8], StaticScope>>,
    of_the_one_before: Silence,
}

impl Signs {
    fn new() -> Self {
        let now = Instant::now();
        Self { sent: now, on_its_way: None, of_the_one_before: Silence::new(now) }
    }

    fn tend(&mut self, world: &SimpleCommunicator) -> Result<()> {
        let (rank, size) = (world.rank(), world.size());
        let (before, next) = ((rank + size - 1) % size, (rank + 1) % size);
        self.on_its_way = self.on_its_way.take().and_then(|sign| sign.test().err());
        if size > 1 && self.on_its_way.is_none() && self.sent.elapsed() >= PULSE {
            let sign = &SIGN_OF_LIFE[..];
            let next = world.process_at_rank(next);
            self.on_its_way = Some(next.immediate_send_with_tag(StaticScope, sign, SIGN));
            self.sent = Instant::now();
        }
        let (before_it, mut heard) = (world.process_at_rank(before), false);
        while before_it.immediate_probe_with_tag(SIGN).is_some() {
            let mut sign = [0u8; 1];
            before_it.receive_into_with_tag(&mut sign, SIGN);
            heard = true;
        }
        let silent = self.of_the_one_before.look(Instant::now(), heard);
        if size > 1 && silent > PATIENCE {
            return Err(Error::Lost { ranks: vec![before as usize], seconds: silent.as_secs() });
        }
        Ok(())
    }
}

impl Drop for Signs {
    fn drop(&mut self) {
        if let Some(sign) = self.on_its_way.take() {
            sign.wait_without_status();
        }
    }
}
