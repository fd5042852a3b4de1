//! How a product is cut into tasks. Columns are cut by the shapes alone, so that no sum depends on the number of threads;
//! rows, which no sum crosses, are cut as the threads need it.

use std::ops::Range;

/// Row groups end at multiples of this, a whole number of tiles of any size.
const ROW_STEP: usize = 48;
/// Blocks end at multiples of this, a whole number of panels of any width.
const BLOCK_STEP: usize = 64;
/// Most steps in a block.
const MOST_STEPS: usize = 16;
/// Memory for a packed block, to stay in the second-level cache.
const BLOCK_BYTES: usize = 512 * 1024;
/// Tasks for each thread, so that one that is held up does not hold up the others much.
const TASKS_PER_THREAD: usize = 2;

/// The cut of a product with `columns` columns.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Columns that are packed together.
    pub(crate) block: usize,
    /// Runs of blocks; each is summed by itself.
    pub(crate) runs: Vec<Range<usize>>,
}

impl Split {
    /// Blocks of about [`BLOCK_BYTES`] with so many bytes per column, in `most` runs at most.
    pub(crate) fn new(columns: usize, bytes_per_column: usize, most: usize) -> Self {
        let block = (BLOCK_BYTES / bytes_per_column / BLOCK_STEP).clamp(1, MOST_STEPS) * BLOCK_STEP;
        let blocks = columns.div_ceil(block);
        let count = blocks.min(most).max(1);
        let edge = |run: usize| (run * blocks / count * block).min(columns);
        let runs = (0..count).map(|run| edge(run)..edge(run + 1)).collect();
        Self { block, runs }
    }

    /// A task for each run, and for each group of rows where there are fewer runs than the threads need; `most_rows` is the
    /// longer side of what a task makes.
    pub(crate) fn tasks(&self, most_rows: usize) -> Vec<Task> {
        let runs = self.runs.len();
        let wanted = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(runs);
        let groups = wanted.min(most_rows.div_ceil(ROW_STEP)).max(1);
        (0..runs).flat_map(|run| (0..groups).map(move |group| Task { run, group, groups })).collect()
    }

    /// The blocks of one run.
    pub(crate) fn blocks(&self, run: usize) -> impl Iterator<Item = Range<usize>> {
        let (run, block) = (self.runs[run].clone(), self.block);
        run.clone().step_by(block).map(move |start| start..(start + block).min(run.end))
    }
}

/// A part of a product: a run of blocks, and some of the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) run: usize,
    group: usize,
    groups: usize,
}

impl Task {
    /// The rows of this task out of `rows`.
    pub(crate) fn rows(&self, rows: usize) -> Range<usize> {
        let steps = rows.div_ceil(ROW_STEP);
        let edge = |group: usize| (group * steps / self.groups * ROW_STEP).min(rows);
        edge(self.group)..edge(self.group + 1)
    }
}
