//! How fast image files become network input.

use crate::error::{Error, Result};
use serde::Serialize;
use sparse_data::{Normalise, PixelCache, Transform, TransformConfig, View, decode_image, read_image};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Times that each kind of work is timed, in turns; the median counts.
const ROUNDS: usize = 3;
/// Folders within folders that are searched.
const DEPTH: usize = 32;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataBenchConfig {
    /// A folder; all JPEG and PNG files below it are read.
    pub path: PathBuf,
    /// Side of the network's input, in pixels, from 1 to 7168.
    pub size: usize,
    /// Threads that read images, from 1 to 1024.
    pub threads: usize,
    /// Files to read at most, spread evenly over all.
    pub limit: usize,
}

/// What was measured: images per second, by the clock, divided by the threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataBenchReport {
    /// The training view of PaddleSlim's recipe: read, decode, random crop, Lanczos, flip, normalise.
    pub images_per_second_per_thread: f64,
    /// The training view from decoded images with a short side of 256 pixels.
    pub cached_images_per_second_per_thread: f64,
    /// The test view: resize of the short side, centre.
    pub eval_images_per_second_per_thread: f64,
    /// Decoding whole images, nothing else.
    pub decode_images_per_second_per_thread: f64,
    /// Images that were timed, per kind of work and round.
    pub images: usize,
    /// Files that are no images that can be used.
    pub unusable: usize,
    /// Bytes of a file, on average.
    pub mean_file_bytes: f64,
    /// Side of the network's input, in pixels.
    pub size: usize,
    /// Threads.
    pub threads: usize,
}

/// Times each way from a file to network input; the files are read anew each time, from what the system keeps of them
/// in memory.
///
/// # Errors
/// [`Error::BenchSetting`] for a setting out of its range or a folder without images; otherwise what the cache reports,
/// which is made in the folder for temporary files and removed.
pub fn bench_data(config: &DataBenchConfig) -> Result<DataBenchReport> {
    let DataBenchConfig { path, size, threads, limit } = config;
    let refused = |setting, value: String, rule| Error::BenchSetting { setting, value, rule };
    if !(1..=1024).contains(threads) {
        return Err(refused("threads", threads.to_string(), "a whole number from 1 to 1024"));
    }
    if !(1..=7168).contains(size) {
        return Err(refused("size", size.to_string(), "a whole number from 1 to 7168"));
    }
    let transform = Transform::new(&TransformConfig {
        normalise: Normalise::imagenet(),
        ..TransformConfig::imagenet(*size)
    })?;
    let mut files = Vec::new();
    search(path, DEPTH, &mut files);
    files.sort();
    let step = files.len().div_ceil((*limit).max(1)).max(1);
    let all: Vec<PathBuf> = files.into_iter().step_by(step).collect();
    let work = Work { transform, size: *size, threads: *threads };
    let (files, bytes) = work.usable(&all);
    if files.is_empty() {
        return Err(Error::NoImages { path: path.clone() });
    }
    tracing::info!("timing {} files", files.len());
    let temporary = Temporary::new();
    let read = |index: usize| read_image(&files[index]).ok();
    let (cache, _) =
        PixelCache::open_or_build(&temporary.0, &work.transform, 0, files.len(), *threads, &read)?;
    let rates = work.rates(&files, &cache);
    Ok(DataBenchReport {
        images_per_second_per_thread: rates[0],
        cached_images_per_second_per_thread: rates[1],
        eval_images_per_second_per_thread: rates[2],
        decode_images_per_second_per_thread: rates[3],
        images: files.len(),
        unusable: all.len() - files.len(),
        mean_file_bytes: bytes as f64 / files.len() as f64,
        size: *size,
        threads: *threads,
    })
}

/// Adds the JPEG and PNG files below a folder; what cannot be read is passed over.
fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        if path.is_dir() {
            if depth > 0 {
                search(&path, depth - 1, files);
            }
        } else if extension
            .is_some_and(|extension| ["jpg", "jpeg", "png"].iter().any(|known| extension == **known))
        {
            files.push(path);
        }
    }
}

/// A name for a file that is removed in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("sparse-train-bench-{}.cache", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // There is nothing to do if it cannot be removed: it lies among temporary files.
        let _ = fs::remove_file(&self.0);
    }
}

struct Work {
    transform: Transform,
    size: usize,
    threads: usize,
}

impl Work {
    /// The files that can be used in both views, and their bytes; reading them all is the warm-up as well.
    fn usable(&self, files: &[PathBuf]) -> (Vec<PathBuf>, usize) {
        let mut image = vec![0.0; 3 * self.size * self.size];
        let mut usable = Vec::new();
        let mut total = 0;
        for path in files {
            let Ok(bytes) = read_image(path) else { continue };
            let whole = decode_image(&bytes).is_ok();
            if whole && self.transform.write(&bytes, View::Eval, 0, &mut image).is_ok() {
                usable.push(path.clone());
                total += bytes.len();
            }
        }
        (usable, total)
    }

    /// Images per second and thread of each kind of work.
    fn rates(&self, files: &[PathBuf], cache: &PixelCache) -> [f64; 4] {
        let mut rates: [Vec<f64>; 4] = Default::default();
        for round in 0..ROUNDS {
            let view = View::Train { seed: 0, epoch: round as u64 };
            let write = |index: usize, view, image: &mut [f32]| {
                let bytes = read_image(&files[index]).unwrap_or_default();
                self.transform.write(&bytes, view, index, image).is_ok()
            };
            rates[0].push(self.rate(files.len(), |index, image| write(index, view, image)));
            rates[1].push(self.rate(files.len(), |index, image| {
                self.transform.write_cached(cache, index, view, index, image).unwrap_or(false)
            }));
            rates[2].push(self.rate(files.len(), |index, image| write(index, View::Eval, image)));
            rates[3].push(self.rate(files.len(), |index, _| {
                decode_image(&read_image(&files[index]).unwrap_or_default()).is_ok()
            }));
        }
        rates.map(|mut rounds| {
            rounds.sort_by(f64::total_cmp);
            rounds[ROUNDS / 2]
        })
    }

    /// Runs `work` for every image, the images spread over the threads.
    fn rate(&self, images: usize, work: impl Fn(usize, &mut [f32]) -> bool + Sync) -> f64 {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..self.threads {
                let work = &work;
                scope.spawn(move || {
                    let mut image = vec![0.0; 3 * self.size * self.size];
                    for index in (thread..images).step_by(self.threads) {
                        std::hint::black_box(work(index, &mut image));
                    }
                });
            }
        });
        images as f64 / start.elapsed().as_secs_f64() / self.threads as f64
    }
}
