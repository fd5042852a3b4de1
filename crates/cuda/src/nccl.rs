//! All-reduce by NCCL, NVIDIA's library for sums over devices of one and of many machines.
//!
//! It works on a stream of its own beside the one that computes, and is told by events what it must wait for. Its bindings are pinned to 2.22, the
//! oldest that cudarc has; what is called here is older (`ncclAvg` came with 2.10).

#![allow(unsafe_code)]

use super::{AllReduce, Error, Reduction, Result, Slice, Stream};
use cudarc::driver::CudaStream;
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;
use std::ffi::c_char;
use std::sync::Arc;

/// Bytes of what the ranks of one run find each other by.
pub const ID_BYTES: usize = 128;

/// The ranks of one run, as one of them sees them.
pub struct Nccl {
    communicator: sys::ncclComm_t,
    rank: usize,
    ranks: usize,
    /// Where the sums are made.
    beside: Arc<CudaStream>,
}

/// Whether the library is on this machine: without it cudarc panics.
pub fn is_there() -> bool {
    // SAFETY: only tries to load the library.
    unsafe { sys::is_culib_present() }
}

/// What the ranks of a new run find each other by: one of them asks for it and tells all others.
///
/// # Errors
/// The library's, for example if no network interface can be used.
pub fn new_id() -> Result<Vec<u8>> {
    let id = result::get_uniqueid().map_err(failed("starting NCCL"))?;
    Ok(id.internal.iter().map(|&byte| byte as u8).collect())
}

impl Nccl {
    /// Joins the ranks that have the same id; returns when all have. Each must have a device of its own.
    ///
    /// # Errors
    /// The library's.
    ///
    /// # Panics
    /// If the id has not [`ID_BYTES`]: a fault of the caller.
    pub fn join_ranks(stream: &Stream, rank: usize, ranks: usize, id: &[u8]) -> Result<Self> {
        assert_eq!(id.len(), ID_BYTES, "bytes of an id");
        let mut internal: [c_char; ID_BYTES] = [0; ID_BYTES];
        internal.iter_mut().zip(id).for_each(|(to, &byte)| *to = byte as c_char);
        let what = "joining the other ranks by NCCL";
        let beside = stream.stream().context().new_stream().map_err(failed(what))?;
        stream.bind()?;
        let mut communicator: sys::ncclComm_t = std::ptr::null_mut();
        // SAFETY: the place for the result outlives the call, and the device is that of this thread.
        unsafe {
            let id = sys::ncclUniqueId { internal };
            result::comm_init_rank(&raw mut communicator, ranks as i32, id, rank as i32)
        }
        .map_err(failed(what))?;
        Ok(Self { communicator, rank, ranks, beside })
    }

    /// What went wrong since, for example because another rank is gone.
    fn check(&self) -> Result<()> {
        let mut status = sys::ncclResult_t::ncclSuccess;
        // SAFETY: the communicator is one until `self` is dropped, and the place for the result outlives the call.
        let asked = unsafe { sys::ncclCommGetAsyncError(self.communicator, &raw mut status) };
        [asked, status].into_iter().try_for_each(|status| match status.result() {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("a sum over all ranks")(error)),
        })
    }
}

impl AllReduce<Stream> for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn begin(&self, queue: &Stream, values: Slice<'_>, reduction: Reduction) -> Result<()> {
        let what = "a sum over all ranks";
        if values.bytes() == 0 {
            return Ok(());
        }
        self.beside.join(queue.stream()).map_err(failed(what))?;
        let operation = match reduction {
            Reduction::Sum => sys::ncclRedOp_t::ncclSum,
            Reduction::Mean => sys::ncclRedOp_t::ncclAvg,
        };
        let address = values.address();
        // SAFETY: memory of the device, of this length, which lives until the work is done: it is given back in the order of the stream that
        // computes, and `join` makes that stream wait.
        let begun = unsafe {
            result::all_reduce(
                address as *const _,
                address as *mut _,
                values.bytes() / size_of::<f32>(),
                sys::ncclDataType_t::ncclFloat32,
                operation,
                self.communicator,
                self.beside.cu_stream().cast(),
            )
        };
        begun.map(|_| ()).map_err(failed(what))
    }

    fn join(&self, queue: &Stream) -> Result<()> {
        queue.stream().join(&self.beside).map_err(failed("waiting for a sum over all ranks"))
    }

    fn is_done(&self, queue: &Stream) -> Result<bool> {
        self.check()?;
        queue.is_done()
    }
}

impl Drop for Nccl {
    /// Gives up what is under way: after an error the others may never take part in it.
    fn drop(&mut self) {
        // SAFETY: the communicator is one, and nobody uses it after this.
        let _ = unsafe { result::comm_abort(self.communicator) };
    }
}

fn failed<E: Reason>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Device { what, reason: error.reason() }
}

/// What a library says of an error.
trait Reason {
    fn reason(&self) -> String;
}

impl Reason for NcclError {
    fn reason(&self) -> String {
        format!("{:?} (NCCL_DEBUG=WARN tells more)", self.0)
    }
}

impl Reason for cudarc::driver::DriverError {
    fn reason(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_had_where_the_library_is() {
        if is_there() {
            assert_eq!(new_id().map(|id| id.len()).ok(), Some(ID_BYTES));
        }
    }
}
