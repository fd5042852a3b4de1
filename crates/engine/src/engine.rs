//! A network ready to run, and the callers' sessions.

use crate::compile::compile;
use crate::error::Result;
use crate::fold::fold;
use crate::graph::Graph;
use crate::load::{load, load_with};
use crate::lower::{Lowered, lower};
use crate::measure;
use crate::onnx::ReadOptions;
use crate::report::{LayerReport, reports};
use crate::shape::shapes;
use sparse_inference::{Precision, Program, Runner};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How products treat zeros in their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// Layer by layer as is faster here, which is measured when the engine is made.
    #[default]
    Measured,
    /// All zeros are multiplied like other weights.
    Dense,
    /// All zeros are left out.
    Sparse,
}

/// How an engine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads of a session, its caller among them.
    pub threads: usize,
    /// How zeros are treated.
    pub products: Products,
    /// Height and width of images; `None` = as the file says.
    pub size: Option<[usize; 2]>,
    /// What products multiply that are not in integers.
    pub precision: Precision,
}

impl Default for Options {
    /// As many threads as there are processors; zeros are treated as is faster, products in f32.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, products: Products::Measured, size: None, precision: Precision::F32 }
    }
}

/// A network ready to run. It does not change, so threads may share it; each caller has a [`Session`] of its own.
#[derive(Clone, Debug)]
pub struct Engine {
    program: Arc<Program>,
    lowered: Arc<Lowered>,
    /// By unit: whether zeros are left out.
    sparse: Vec<bool>,
    options: Options,
}

impl Engine {
    /// Reads a network as [`load`] does and makes an engine for it.
    ///
    /// # Errors
    /// As [`load`] and [`Engine::new`].
    pub fn load(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::new(load(path.as_ref(), options.size)?.graph, options)
    }

    /// As [`Engine::load`], for an ONNX file with several outputs: `output` is the name of the one with the scores.
    ///
    /// # Errors
    /// As [`load_with`] and [`Engine::new`].
    pub fn load_output(path: impl AsRef<Path>, output: &str, options: Options) -> Result<Self> {
        let read = ReadOptions { size: options.size, output: Some(output.to_owned()) };
        Self::new(load_with(path.as_ref(), &read)?.graph, options)
    }

    /// Makes an engine for a graph.
    ///
    /// # Errors
    /// [`crate::Error::Graph`] if the graph is not sound, [`crate::Error::Unsupported`] naming a node that cannot be run.
    pub fn new(graph: Graph, options: Options) -> Result<Self> {
        shapes(&graph)?;
        Self::of(Arc::new(lower(&fold(graph), true, options.precision)?), options)
    }

    /// As [`Engine::new`], with everything computed in f32, what is rounded to bytes too: any part of a graph then gives the bits that it gives
    /// within the whole, where integers would depend on what lies in the same graph.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn in_numbers(graph: Graph, options: Options) -> Result<Self> {
        shapes(&graph)?;
        Self::of(Arc::new(lower(&fold(graph), false, options.precision)?), options)
    }

    fn of(lowered: Arc<Lowered>, options: Options) -> Result<Self> {
        let sparse = match options.products {
            Products::Dense => vec![false; lowered.units.len()],
            Products::Sparse => {
                lowered.units.iter().map(|unit| unit.left_out(options.precision) > 0).collect()
            }
            Products::Measured => measure::choose(&lowered, options.threads)?,
        };
        let program = Arc::new(compile(&lowered, options.threads, &|unit| sparse[unit])?);
        Ok(Self { program, lowered, sparse, options })
    }

    /// The same network with zeros treated in another way.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_products(&self, products: Products) -> Result<Self> {
        Self::of(Arc::clone(&self.lowered), Options { products, ..self.options })
    }

    /// How it was made.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Shape of an image, `[C, H, W]`.
    pub fn input_shape(&self) -> [usize; 3] {
        self.lowered.image
    }

    /// Numbers of a result, one for each class.
    pub fn outputs(&self) -> usize {
        self.program.outputs()
    }

    /// What each layer does, in the order of [`Session::run_timed`].
    pub fn layers(&self) -> Vec<LayerReport> {
        reports(&self.lowered, &self.sparse, self.options.precision)
    }

    /// Memory and threads for a caller.
    ///
    /// # Errors
    /// [`crate::Error::Run`] if the system gives no more threads.
    pub fn session(&self) -> Result<Session> {
        Ok(Session { runner: Runner::new(Arc::clone(&self.program))? })
    }
}

/// One caller's memory and threads. Nothing is allocated in a call unless its batch is larger than all before.
pub struct Session {
    runner: Runner,
}

impl Session {
    /// How long the threads of a session look for its next run before they sleep, at most. Who runs two sessions in turn to
    /// compare them lets this pass in between: threads that still look keep a processor from those of the other.
    pub const SETTLING: Duration = Runner::SETTLING;

    /// Class scores of images: `images: [N, C, H, W]`, normalised, to `outputs: [N, classes]`.
    ///
    /// The results are the same bits for any number of threads, any batch, and with or without zeros left out.
    ///
    /// # Errors
    /// [`crate::Error::Run`] if `images` are no whole images or `outputs` has another size.
    pub fn run(&mut self, images: &[f32], outputs: &mut [f32]) -> Result<()> {
        Ok(self.runner.run(images, outputs)?)
    }

    /// As [`Session::run`]; `times` gets what each of [`Engine::layers`] took, added to what is there. With more images
    /// than threads these are the times of the images that the calling thread worked on.
    ///
    /// # Errors
    /// As [`Session::run`], and if there is not one time per layer.
    pub fn run_timed(&mut self, images: &[f32], outputs: &mut [f32], times: &mut [Duration]) -> Result<()> {
        Ok(self.runner.run_timed(images, outputs, times)?)
    }
}
