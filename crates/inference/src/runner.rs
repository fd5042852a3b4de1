//! Runs a program: memory and threads of one caller.
//!
//! As many images as there are threads are taken at once, each by a thread alone and without a barrier; what is left
//! (the one image of a batch of one) is shared by all threads, step by step.

#![allow(unsafe_code)]

use super::arena::Buffer;
use super::crew::{Counter, Crew};
use super::error::{Error, Result};
use super::head::Vectors;
use super::memory::Memory;
use super::program::Program;
use super::team::{Member, Team};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One caller's memory and threads for a program.
pub struct Runner {
    program: Arc<Program>,
    team: Team,
    memory: Own,
    counters: Vec<Counter>,
}

/// The memory of a runner.
struct Own {
    /// One for each thread that has worked alone; the first serves all threads together too.
    arenas: Vec<Buffer>,
    /// One for each thread.
    panels: Vec<Buffer>,
    shared_panels: Buffer,
    /// Vectors between the layers, in turn.
    vectors: [Buffer; 2],
    /// Where the arena and the panel of each thread begin.
    starts: Vec<[*mut f32; 2]>,
}

// SAFETY: `starts` points into the buffers beside it and is set anew before each run.
unsafe impl Send for Own {}

impl Runner {
    /// How long threads look for the next run before they sleep, at most. Who runs two runners in turn to compare them lets
    /// this pass in between: threads of the one that still look would keep a processor from those of the other.
    pub const SETTLING: Duration = Duration::from_millis(2);

    /// Memory and threads for a program; the calling thread is one of them.
    ///
    /// # Errors
    /// [`Error::Threads`] if there are not so many.
    pub fn new(program: Arc<Program>) -> Result<Self> {
        let threads = program.threads();
        let team = Team::new(threads).map_err(|source| Error::Threads { threads, source })?;
        let phases = threads * program.phases() + program.layers().len();
        let memory = Own {
            arenas: vec![Buffer::zeros(program.arena())],
            panels: (0..threads).map(|_| Buffer::zeros(program.panel())).collect(),
            shared_panels: Buffer::zeros(program.shared_panels()),
            vectors: [Buffer::zeros(0), Buffer::zeros(0)],
            starts: Vec::with_capacity(threads),
        };
        let counters = (0..phases * threads).map(|_| Counter::default()).collect();
        Ok(Self { program, team, memory, counters })
    }

    /// Brings images `[N, C, H, W]` to results `[N, outputs]`.
    ///
    /// # Errors
    /// [`Error::Images`] or [`Error::Outputs`] if these are not whole images, or not room for their results.
    pub fn run(&mut self, images: &[f32], outputs: &mut [f32]) -> Result<()> {
        self.work(images, outputs, &mut [])
    }

    /// As [`Runner::run`]; `times` gets what each part of the program took, added to what is there. With several images
    /// these are the times of the images that the calling thread worked on.
    ///
    /// # Errors
    /// As [`Runner::run`], and [`Error::Times`] if there is not one for each of [`Program::parts`].
    pub fn run_timed(&mut self, images: &[f32], outputs: &mut [f32], times: &mut [Duration]) -> Result<()> {
        let parts = self.program.parts();
        if times.len() != parts {
            return Err(Error::Times { times: times.len(), parts });
        }
        self.work(images, outputs, times)
    }

    fn work(&mut self, images: &[f32], outputs: &mut [f32], times: &mut [Duration]) -> Result<()> {
        let program = &*self.program;
        let count = images.len() / program.inputs();
        if count * program.inputs() != images.len() {
            return Err(Error::Images { numbers: images.len(), image: program.inputs() });
        }
        let expected = count * program.outputs();
        if outputs.len() != expected {
            return Err(Error::Outputs { numbers: outputs.len(), images: count, expected });
        }
        let threads = self.team.threads();
        let alone = count / threads * threads;
        self.memory.prepare(program, if alone > 0 { threads } else { 1 }, count);
        self.counters.iter_mut().for_each(Counter::reset);
        let vectors = self.memory.vectors.each_mut().map(|vectors| vectors.as_mut_ptr());
        let batch = Batch {
            program,
            count,
            alone,
            images: images.as_ptr(),
            starts: &self.memory.starts,
            panels: self.memory.shared_panels.as_mut_ptr(),
            features: if program.layers().is_empty() { outputs.as_mut_ptr() } else { vectors[0] },
            vectors,
            outputs: outputs.as_mut_ptr(),
            counters: &self.counters,
            times: (times.as_mut_ptr(), times.len()),
        };
        // SAFETY: the batch points to memory of the sizes that the program asks for, and lives until all threads are done.
        self.team.run(&|member| unsafe { batch.work(member) });
        Ok(())
    }
}

impl Own {
    /// Room for a batch; nothing is taken if a batch as large was there before.
    fn prepare(&mut self, program: &Program, arenas: usize, images: usize) {
        while self.arenas.len() < arenas {
            self.arenas.push(Buffer::zeros(program.arena()));
        }
        let longest = images * program.longest_vector();
        for vectors in &mut self.vectors {
            if vectors.len() < longest {
                *vectors = Buffer::zeros(longest);
            }
        }
        self.starts.clear();
        for (thread, panel) in self.panels.iter_mut().enumerate() {
            let arena = self.arenas.get_mut(thread).map_or(std::ptr::null_mut(), |arena| arena.as_mut_ptr());
            self.starts.push([arena, panel.as_mut_ptr()]);
        }
    }
}

/// A batch in work.
struct Batch<'a> {
    program: &'a Program,
    /// Images.
    count: usize,
    /// Images that threads take for themselves; the others follow.
    alone: usize,
    images: *const f32,
    starts: &'a [[*mut f32; 2]],
    panels: *mut f32,
    features: *mut f32,
    vectors: [*mut f32; 2],
    outputs: *mut f32,
    counters: &'a [Counter],
    times: (*mut Duration, usize),
}

// SAFETY: each thread uses its own start, writes the features of its own images, and what `Program` and `Layer` cut for
// it; only the first thread touches the times.
unsafe impl Sync for Batch<'_> {}

impl Batch<'_> {
    /// A thread's part of a batch.
    ///
    /// # Safety
    /// All pointers must be good for the sizes that the program asks for.
    unsafe fn work(&self, member: &Member<'_>) {
        let crew = Crew::of(member, self.counters);
        let panel = self.starts[member.index][1];
        // SAFETY: the caller promises the memory. A thread alone writes to its own arena, all threads together to the first,
        // after a barrier.
        unsafe {
            for image in (member.index..self.alone).step_by(member.threads) {
                let memory = self.memory(image, self.starts[member.index][0]);
                self.program.image(&Crew::alone(), memory, panel, self.times(member));
            }
            member.wait();
            for image in self.alone..self.count {
                let memory = self.memory(image, self.starts[0][0]);
                self.program.image(&crew, memory, panel, self.times(member));
            }
            self.layers(member, &crew);
        }
    }

    /// # Safety
    /// As its caller promises to its own.
    unsafe fn memory(&self, image: usize, arena: *mut f32) -> Memory {
        // SAFETY: as in `work`.
        unsafe {
            Memory {
                image: self.images.add(image * self.program.inputs()),
                arena,
                panels: self.panels,
                features: self.features.add(image * self.program.features()),
            }
        }
    }

    /// The times, for the thread that speaks for all.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[allow(clippy::mut_from_ref, reason = "only the first member gets them, one borrow after the other")]
    unsafe fn times(&self, member: &Member<'_>) -> Option<&mut [Duration]> {
        let (start, len) = self.times;
        // SAFETY: only the first member gets them, one borrow after the other.
        (member.index == 0 && len > 0).then(|| unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// # Safety
    /// As its caller promises to its own.
    unsafe fn layers(&self, member: &Member<'_>, crew: &Crew<'_>) {
        let layers = self.program.layers();
        let (mut from, mut inputs) = (self.features.cast_const(), self.program.features());
        let mut start = Instant::now();
        for (index, layer) in layers.iter().enumerate() {
            let is_last = index + 1 == layers.len();
            let to = if is_last { self.outputs } else { self.vectors[(index + 1) % 2] };
            // SAFETY: vectors have room for the longest, and input and output alternate.
            unsafe {
                layer.run(crew, Vectors { from, to, images: self.count }, inputs);
                if let Some(times) = self.times(member) {
                    let now = Instant::now();
                    times[self.program.parts() - layers.len() + index] += now - start;
                    start = now;
                }
            }
            (from, inputs) = (to.cast_const(), layer.outputs(inputs).unwrap_or(0));
        }
    }
}
