//! Two engines in turn.

use super::TURN;
use crate::error::Result;
use sparse_data::sample_rng;
use sparse_engine::{Engine, Session};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Two engines of one network, and what they took.
pub(super) struct Turns {
    sessions: [Session; 2],
    images: Vec<f32>,
    outputs: Vec<f32>,
    /// Whole runs.
    pub(super) runs: [Vec<Duration>; 2],
    /// Per engine and layer, the times of runs that were timed layer by layer.
    pub(super) layers: [Vec<Vec<Duration>>; 2],
}

impl Turns {
    /// Sessions and images for batches of this size.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub(super) fn new(engines: [&Engine; 2], batch: usize) -> Result<Self> {
        let [first, _] = engines;
        let numbers = batch * first.input_shape().iter().product::<usize>();
        let images = super::super::masks::normal(
            &mut sample_rng(super::super::SEED, super::super::IMAGES, 0),
            numbers,
        );
        let layers = || vec![Vec::new(); first.layers().len()];
        Ok(Self {
            sessions: [engines[0].session()?, engines[1].session()?],
            images,
            outputs: vec![0.0; batch * first.outputs()],
            runs: [Vec::new(), Vec::new()],
            layers: [layers(), layers()],
        })
    }

    /// Runs each engine at least `runs` times, [`TURN`] times before it is the other's turn, and then layer by layer. The
    /// first run of a turn, after the other engine's weights, does not count.
    ///
    /// # Errors
    /// If a run fails.
    pub(super) fn run(&mut self, runs: usize) -> Result<()> {
        while self.runs[1].len() < runs {
            for engine in 0..2 {
                sleep(Session::SETTLING);
                self.sessions[engine].run(&self.images, &mut self.outputs)?;
                for _ in 0..TURN {
                    let start = Instant::now();
                    self.sessions[engine].run(&self.images, &mut self.outputs)?;
                    self.runs[engine].push(start.elapsed());
                }
                self.layers_of(engine)?;
            }
        }
        Ok(())
    }

    /// One run that is timed layer by layer.
    fn layers_of(&mut self, engine: usize) -> Result<()> {
        let mut times = vec![Duration::ZERO; self.layers[engine].len()];
        for _ in 0..TURN / 2 {
            times.fill(Duration::ZERO);
            self.sessions[engine].run_timed(&self.images, &mut self.outputs, &mut times)?;
            self.layers[engine].iter_mut().zip(&times).for_each(|(layer, &time)| layer.push(time));
        }
        Ok(())
    }
}
