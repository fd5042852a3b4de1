//! From image files to a batch of inputs, on several threads.

use sparse_data::{ImageFault, Transform, View, read_image, read_image_from};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::Builder;

/// The inputs, `[files, pixels]`, with zeros for a file that cannot be used, and for each file why it cannot be.
pub(super) fn read(
    paths: &[PathBuf],
    transform: &Transform,
    pixels: usize,
    threads: usize,
) -> (Vec<f32>, Vec<Option<String>>) {
    let (mut inputs, mut faults) = (vec![0.0; paths.len() * pixels], vec![None; paths.len()]);
    let queue = Mutex::new(paths.iter().zip(inputs.chunks_mut(pixels.max(1))).zip(&mut faults));
    let work = || {
        while let Some(((path, input), fault)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            *fault = read_one(path, transform, input).err();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(paths.len()) {
            // The others do the work of a thread that the system does not give.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    (inputs, faults)
}

fn read_one(path: &Path, transform: &Transform, input: &mut [f32]) -> Result<(), String> {
    let bytes = match path.to_str() {
        Some("-") => read_image_from(std::io::stdin().lock()),
        _ => read_image(path),
    };
    let bytes = bytes.map_err(|error| error.to_string())?;
    let written = transform.write(&bytes, View::Eval, 0, input);
    written.map_err(|fault| {
        input.fill(0.0);
        in_flags(&fault)
    })
}

/// Why an image cannot be used, in the words of flags: no config is read here.
fn in_flags(fault: &ImageFault) -> String {
    match fault {
        ImageFault::BelowCrop { width, height, size } => format!(
            "{width}x{height} pixels: it is smaller than the input of {size}x{size}; --resize_short {size} enlarges it"
        ),
        other => other.to_string(),
    }
}
