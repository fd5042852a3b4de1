//! The engine for C, and for C++, Python and all others who call C functions; `include/sparse_engine.h` is their side.
//!
//! Pointers are checked as far as that can be done: none may be null, numbers must be aligned, and a session that two
//! threads use at once refuses the second. No panic leaves a function. A feature cannot ask for a library that C can link,
//! so the command line does: `cargo rustc --release -p sparse-engine --features cdylib --crate-type cdylib` (or
//! `staticlib`).

#![allow(unsafe_code, reason = "C hands over bare pointers")]

mod arguments;
mod failure;

use crate::{Engine, Session};
use arguments::{checked, numbers, options, path_of};
use failure::{Failure, PANICKED, guarded, misuse, status};
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, TryLockError};

/// A [`Session`] as C holds it.
pub struct CSession {
    session: Mutex<Session>,
    /// Numbers of an image.
    image: usize,
    /// Numbers of its scores.
    outputs: usize,
}

/// Reads a network; null if that fails. Sizes of 0 = as the file says, 0 threads = as many as there are processors.
///
/// # Safety
/// `path` is null or ends with a zero byte.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_load(
    path: *const c_char,
    threads: usize,
    height: usize,
    width: usize,
) -> *mut Engine {
    // SAFETY: as the caller promises.
    unsafe { sparse_engine_load_output(path, null(), threads, height, width) }
}

/// As [`sparse_engine_load`], for an ONNX file with several outputs: `output` is the name of the one with the scores; null = the
/// only one.
///
/// # Safety
/// `path` and `output` are null or end with a zero byte.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_load_output(
    path: *const c_char,
    output: *const c_char,
    threads: usize,
    height: usize,
    width: usize,
) -> *mut Engine {
    // SAFETY: as the caller promises.
    unsafe { sparse_engine_load_precision(path, output, arguments::F32, threads, height, width) }
}

/// As [`sparse_engine_load_output`], with products in another precision: 0 = f32, 1 = bf16.
///
/// # Safety
/// As [`sparse_engine_load_output`].
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_load_precision(
    path: *const c_char,
    output: *const c_char,
    precision: c_int,
    threads: usize,
    height: usize,
    width: usize,
) -> *mut Engine {
    let load = || {
        if path.is_null() {
            return Err(misuse("`path` is NULL"));
        }
        let options = options(threads, [height, width], precision)?;
        // SAFETY: the caller promises a zero byte at its end.
        let path = path_of(unsafe { CStr::from_ptr(path) })?;
        let engine = if output.is_null() {
            Engine::load(path, options)?
        } else {
            // SAFETY: as above.
            let output = unsafe { CStr::from_ptr(output) };
            Engine::load_output(path, output.to_str().map_err(|_| misuse("`output` is not UTF-8"))?, options)?
        };
        Ok(Box::into_raw(Box::new(engine)))
    };
    guarded(load).unwrap_or(null_mut())
}

/// Frees an engine; sessions keep what they need of it.
///
/// # Safety
/// `engine` is null or of [`sparse_engine_load`], and is not used during or after this call.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_free(engine: *mut Engine) {
    // SAFETY: as the caller promises.
    unsafe { free(engine) }
}

/// Writes `[C, H, W]` of an image; a status.
///
/// # Safety
/// `engine` is null or of [`sparse_engine_load`] and not freed; `shape` is null or has room for three.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_input_shape(engine: *const Engine, shape: *mut usize) -> c_int {
    status(guarded(|| {
        // SAFETY: as the caller promises.
        let engine = unsafe { borrowed(engine, "engine") }?;
        let shape = checked(shape, "shape")?.cast::<[usize; 3]>();
        // SAFETY: it is not null and aligned, and the caller promises room for three.
        unsafe { shape.write(engine.input_shape()) };
        Ok(())
    }))
}

/// Scores of an image; 0 if `engine` is null.
///
/// # Safety
/// `engine` is null or of [`sparse_engine_load`] and not freed.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_outputs(engine: *const Engine) -> usize {
    // SAFETY: as the caller promises.
    guarded(|| Ok(unsafe { borrowed(engine, "engine") }?.outputs())).unwrap_or(0)
}

/// Memory and threads for a caller; null if that fails.
///
/// # Safety
/// `engine` is null or of [`sparse_engine_load`] and not freed.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_session_new(engine: *const Engine) -> *mut CSession {
    let new = || {
        // SAFETY: as the caller promises.
        let engine = unsafe { borrowed(engine, "engine") }?;
        let session = Mutex::new(engine.session()?);
        let image = engine.input_shape().iter().product();
        Ok(Box::into_raw(Box::new(CSession { session, image, outputs: engine.outputs() })))
    };
    guarded(new).unwrap_or(null_mut())
}

/// Frees a session and ends its threads.
///
/// # Safety
/// `session` is null or of [`sparse_engine_session_new`], and is not used during or after this call.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_session_free(session: *mut CSession) {
    // SAFETY: as the caller promises.
    unsafe { free(session) }
}

/// Class scores of `count` images `[N, C, H, W]` to `outputs: [N, classes]`; a status.
///
/// # Safety
/// `session` is null or of [`sparse_engine_session_new`] and not freed; `images` and `outputs` are null or have these sizes
/// and do not overlap, and nothing else writes to them meanwhile, nor reads `outputs`.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparse_engine_run(
    session: *const CSession,
    images: *const f32,
    count: usize,
    outputs: *mut f32,
) -> c_int {
    status(guarded(|| {
        // SAFETY: as the caller promises.
        let to_run = unsafe { borrowed(session, "session") }?;
        if count == 0 {
            return Ok(());
        }
        let images = checked(images.cast_mut(), "images")?.cast_const();
        let outputs = checked(outputs, "outputs")?;
        let (image_numbers, output_numbers) =
            (numbers(count, to_run.image)?, numbers(count, to_run.outputs)?);
        // SAFETY: not null, aligned and no larger than memory can be; the caller promises that all of it is there.
        let images = unsafe { std::slice::from_raw_parts(images, image_numbers) };
        // SAFETY: as above; the caller promises that nobody else uses it.
        let outputs = unsafe { std::slice::from_raw_parts_mut(outputs, output_numbers) };
        to_run.run(images, outputs)
    }))
}

/// Why the last function that failed on this thread did; valid until another one fails or the thread ends.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn sparse_engine_last_error() -> *const c_char {
    failure::last_error()
}

/// The version of the library.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn sparse_engine_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

impl CSession {
    fn run(&self, images: &[f32], outputs: &mut [f32]) -> Result<(), Failure> {
        match self.session.try_lock() {
            Ok(mut session) => Ok(session.run(images, outputs)?),
            Err(TryLockError::WouldBlock) => {
                Err(misuse("the session is in use by another thread; each thread needs one of its own"))
            }
            Err(TryLockError::Poisoned(_)) => Err(Failure(
                PANICKED,
                "an earlier run of this session panicked; free it and make another".to_owned(),
            )),
        }
    }
}

/// What a pointer points to.
///
/// # Safety
/// It is null or points to a `T` that lives for `'a` and is not written to meanwhile.
unsafe fn borrowed<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    let pointer = checked(pointer.cast_mut(), name)?;
    // SAFETY: it is not null, and the caller promises the rest.
    Ok(unsafe { &*pointer })
}

/// Drops what was boxed; nothing if it is null.
///
/// # Safety
/// `pointer` is null or of `Box::into_raw`, and is not used any more.
unsafe fn free<T>(pointer: *mut T) {
    // A value that panics while it is dropped is lost, and the caller can do nothing about it.
    let _ = guarded(|| {
        if !pointer.is_null() {
            // SAFETY: it is not null, and the caller promises the rest.
            drop(unsafe { Box::from_raw(pointer) });
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn last_error() -> String {
        // SAFETY: the message of this thread, copied before another function is called.
        unsafe { CStr::from_ptr(sparse_engine_last_error()) }.to_string_lossy().into_owned()
    }

    fn engine() -> *mut Engine {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/grouped_17.onnx");
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a C string.
        let engine = unsafe { sparse_engine_load(path.as_ptr(), 1, 0, 0) };
        assert!(!engine.is_null(), "{}", last_error());
        engine
    }

    #[test]
    fn an_engine_is_loaded_asked_and_freed_before_its_session() {
        let (engine, mut shape) = (engine(), [0; 3]);
        // SAFETY: the engine is not freed yet, and there is room for three.
        let (status, outputs) =
            unsafe { (sparse_engine_input_shape(engine, shape.as_mut_ptr()), sparse_engine_outputs(engine)) };
        assert_eq!((status, shape, outputs), (failure::OK, [3, 15, 16], 5));
        // SAFETY: as above; the engine is not used after it is freed.
        let session = unsafe {
            let session = sparse_engine_session_new(engine);
            sparse_engine_free(engine);
            session
        };
        let (images, mut scores) = (vec![0.5; 2 * 3 * 15 * 16], [0.0; 2 * 5]);
        // SAFETY: two images and room for their scores.
        let status = unsafe { sparse_engine_run(session, images.as_ptr(), 2, scores.as_mut_ptr()) };
        assert_eq!(status, failure::OK);
        let sum: f32 = scores[..5].iter().sum();
        assert!((sum - 1.0).abs() < 1e-5 && scores[..5] == scores[5..], "{scores:?}");
        // SAFETY: it is not used any more.
        unsafe { sparse_engine_session_free(session) };
    }

    #[test]
    fn an_output_is_named_or_the_only_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/grouped_17.onnx");
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        for output in [null(), c"scores".as_ptr(), c"none".as_ptr()] {
            // SAFETY: C strings, and an engine that is freed once.
            unsafe {
                let engine = sparse_engine_load_output(path.as_ptr(), output, 1, 0, 0);
                let is_wrong = !output.is_null() && CStr::from_ptr(output) == c"none";
                assert_eq!(engine.is_null(), is_wrong);
                sparse_engine_free(engine);
            }
        }
        assert!(last_error().contains("no output `none`; it has [scores [batch, 5]]"), "{}", last_error());
    }

    #[test]
    fn a_precision_is_one_of_those_there_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/grouped_17.onnx");
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        for (precision, is_bf16) in [(arguments::F32, false), (arguments::BF16, true)] {
            // SAFETY: a C string, and an engine that is freed once.
            unsafe {
                let engine = sparse_engine_load_precision(path.as_ptr(), null(), precision, 1, 0, 0);
                let layers = engine.as_ref().unwrap().layers();
                assert_eq!(layers.iter().any(|layer| layer.kind.contains("bf16")), is_bf16, "{layers:?}");
                sparse_engine_free(engine);
            }
        }
        // SAFETY: a C string.
        assert!(unsafe { sparse_engine_load_precision(path.as_ptr(), null(), 2, 1, 0, 0) }.is_null());
        assert!(last_error().contains("precision 2 is none: 0 is f32, 1 is bf16"), "{}", last_error());
    }

    #[test]
    fn a_busy_session_and_one_that_panicked_refuse_to_run() {
        let engine = engine();
        // SAFETY: neither is freed yet, and the boxes are theirs.
        let session = unsafe { Box::from_raw(sparse_engine_session_new(engine)) };
        let (image, mut scores) = (vec![0.0; 3 * 15 * 16], [0.0; 5]);
        let mut run = || {
            // SAFETY: one image and room for its scores.
            unsafe { sparse_engine_run(&raw const *session, image.as_ptr(), 1, scores.as_mut_ptr()) }
        };
        let lock = session.session.lock().unwrap();
        assert_eq!(run(), failure::MISUSE);
        assert!(last_error().contains("in use"), "{}", last_error());
        drop(lock);
        assert_eq!(run(), failure::OK);
        let panicked = guarded(|| {
            let _lock = session.session.lock();
            if true { panic!("on purpose") } else { Ok(()) }
        });
        assert_eq!((panicked, last_error().as_str()), (Err(PANICKED), "a bug in the engine: on purpose"));
        assert_eq!(run(), PANICKED);
        assert!(last_error().contains("earlier run"), "{}", last_error());
        // SAFETY: it is not used any more.
        unsafe { sparse_engine_free(engine) };
    }

    #[test]
    fn null_is_refused_with_its_name() {
        // SAFETY: null is allowed everywhere.
        unsafe {
            assert!(sparse_engine_load(null(), 1, 0, 0).is_null() && last_error() == "`path` is NULL");
            assert!(sparse_engine_load_output(null(), c"y".as_ptr(), 1, 0, 0).is_null());
            assert_eq!(last_error(), "`path` is NULL");
            assert!(sparse_engine_session_new(null()).is_null() && last_error() == "`engine` is NULL");
            assert_eq!(sparse_engine_run(null(), null(), 1, null_mut()), failure::MISUSE);
            assert_eq!(last_error(), "`session` is NULL");
            sparse_engine_free(null_mut());
            sparse_engine_session_free(null_mut());
        }
    }

    #[test]
    fn engines_may_be_shared_and_sessions_moved() {
        fn shared<T: Send + Sync>() {}
        shared::<Engine>();
        shared::<CSession>();
    }
}
