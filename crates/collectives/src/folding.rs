//! Sums, gathers and broadcasts out of exchanges.

use crate::{Communicator, Error, Exchange, Numbers, Result, Slice};
use bytemuck::Pod;
use std::collections::VecDeque;
use std::ops::{AddAssign, Range};
use std::time::{Duration, Instant};

/// The operations over any [`Exchange`]. Sums are folded in the order of ranks: each rank adds up its own part of the numbers
/// and sends the sums to all others.
pub struct Folding<E> {
    ways: E,
    /// Sums that were begun; they are done by then.
    done: VecDeque<Numbers>,
    waited: Duration,
}

impl<E: Exchange> Folding<E> {
    /// Over these ways.
    pub fn new(ways: E) -> Self {
        Self { ways, done: VecDeque::new(), waited: Duration::ZERO }
    }

    fn exchange(&mut self, send: &[&[u8]], receive: &mut [&mut [u8]]) -> Result<()> {
        let start = Instant::now();
        let result = self.ways.exchange(send, receive);
        self.waited += start.elapsed();
        result
    }

    fn fold<T: Pod + AddAssign>(&mut self, values: &mut [T]) -> Result<()> {
        let (rank, size, len) = (self.ways.rank(), self.ways.size(), values.len());
        if size == 1 || len == 0 {
            return Ok(());
        }
        let mine = part(len, rank, size);
        let mut parts = vec![T::zeroed(); size * mine.len()];
        let send: Vec<&[u8]> =
            (0..size).map(|to| bytemuck::cast_slice(&values[part(len, to, size)])).collect();
        if !mine.is_empty() {
            let mut receive: Vec<&mut [u8]> =
                parts.chunks_exact_mut(mine.len()).map(bytemuck::cast_slice_mut).collect();
            self.exchange(&send, &mut receive)?;
            parts[rank * mine.len()..][..mine.len()].copy_from_slice(&values[mine.clone()]);
        } else {
            self.exchange(&send, &mut nothing(size))?;
        }
        let mut sum = vec![T::zeroed(); mine.len()];
        if let Some((first, rest)) = parts.split_at_checked(mine.len()) {
            sum.copy_from_slice(first);
            for other in rest.chunks_exact(mine.len().max(1)) {
                sum.iter_mut().zip(other).for_each(|(sum, &value)| *sum += value);
            }
        }
        values[mine].copy_from_slice(&sum);
        let send: Vec<&[u8]> = (0..size).map(|_| bytemuck::cast_slice(&sum)).collect();
        let mut receive: Vec<&mut [u8]> = Vec::with_capacity(size);
        let mut rest = values;
        for from in 0..size {
            let (part, after) = rest.split_at_mut(part(len, from, size).len());
            receive.push(bytemuck::cast_slice_mut(part));
            rest = after;
        }
        self.exchange(&send, &mut receive)
    }
}

/// The part of `len` numbers that a rank adds up.
fn part(len: usize, rank: usize, size: usize) -> Range<usize> {
    len * rank / size..len * (rank + 1) / size
}

fn nothing<'a>(size: usize) -> Vec<&'a mut [u8]> {
    (0..size).map(|_| <&mut [u8]>::default()).collect()
}

impl<E: Exchange> Communicator for Folding<E> {
    fn rank(&self) -> usize {
        self.ways.rank()
    }

    fn size(&self) -> usize {
        self.ways.size()
    }

    fn sum(&mut self, values: Slice<'_>) -> Result<()> {
        match values {
            Slice::F32(values) => self.fold(values),
            Slice::F64(values) => self.fold(values),
            Slice::U64(values) => self.fold(values),
        }
    }

    fn begin_sum(&mut self, mut values: Numbers) -> Result<()> {
        self.sum(values.as_slice())?;
        self.done.push_back(values);
        Ok(())
    }

    fn end_sum(&mut self) -> Result<Numbers> {
        self.done.pop_front().ok_or(Error::NotBegun)
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (rank, size) = (self.rank(), self.size());
        let len = (bytes.len() as u64).to_le_bytes();
        let mut lens = vec![[0u8; 8]; size];
        self.exchange(
            &vec![&len[..]; size],
            &mut lens.iter_mut().map(|len| &mut len[..]).collect::<Vec<_>>(),
        )?;
        let mut gathered: Vec<Vec<u8>> =
            lens.iter().map(|&len| vec![0; u64::from_le_bytes(len) as usize]).collect();
        gathered[rank] = Vec::new();
        self.exchange(
            &vec![bytes; size],
            &mut gathered.iter_mut().map(|to| &mut to[..]).collect::<Vec<_>>(),
        )?;
        gathered[rank] = bytes.to_vec();
        Ok(gathered)
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mine = if self.rank() == 0 { bytes } else { Vec::new() };
        Ok(self.gather(&mine)?.swap_remove(0))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.barrier()
    }

    fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    fn idle(&mut self) -> Result<()> {
        self.ways.idle()
    }
}
