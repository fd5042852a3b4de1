//! How the GPUs of the ranks of one run find each other.

use crate::error::Result;
use crate::ranks::Ranks;
use crate::shared_error::SharedError;
use crate::through_host::ThroughHost;
use sparse_collectives::Slice;
use sparse_cuda::nccl::{self, Nccl};
use sparse_cuda::{AllReduce, Stream};

/// Sums over the devices of all ranks: by NCCL where every rank has it, else through the hosts. Every rank must call it.
///
/// # Errors
/// [`SharedError::SameGpu`], or what NCCL reports.
pub(crate) fn connect(stream: &Stream, ranks: &Ranks) -> Result<Box<dyn AllReduce<Stream>>> {
    let place = ranks.place();
    let devices = ranks.gather(stream.device_uuid()?.as_bytes())?;
    if let Some((first, second)) = first_pair(&devices) {
        return Err(SharedError::SameGpu { first, second }.into());
    }
    let mut without = vec![0u64; place.ranks];
    without[place.rank] = u64::from(!nccl::is_there());
    ranks.sum(Slice::U64(&mut without))?;
    if let Some(rank) = without.iter().position(|&missing| missing > 0) {
        tracing::warn!(
            "rank {rank} finds no NCCL under the name libnccl.so: gradients go through the hosts, which is slow; install it on every machine \
             (Debian and Ubuntu: libnccl-dev; beside a libnccl.so.2 alone make a link libnccl.so) or put its folder into LD_LIBRARY_PATH"
        );
        return Ok(Box::new(ThroughHost(ranks.clone())));
    }
    let id = ranks.bytes_of_first(|| Ok(nccl::new_id()?))?;
    tracing::info!("{} GPUs share this run by NCCL", place.ranks);
    Ok(Box::new(Nccl::join_ranks(stream, place.rank, place.ranks, &id)?))
}

/// The first two places with the same device.
fn first_pair(devices: &[Vec<u8>]) -> Option<(usize, usize)> {
    let before = |place: usize| devices[..place].iter().position(|device| *device == devices[place]);
    (0..devices.len()).find_map(|place| before(place).map(|first| (first, place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ranks_with_one_device_are_found() {
        let devices = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(first_pair(&devices(&["a", "b", "c"])), None);
        assert_eq!(first_pair(&devices(&["a", "b", "c", "b"])), Some((1, 3)));
    }
}
