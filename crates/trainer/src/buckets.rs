//! Gradients on their way to other ranks: a few large messages, begun while the backward pass is still at work.

use crate::error::Result;
use crate::ranks::Ranks;
use candle_core::{DType, Device, Shape, Tensor};
use sparse_collectives::Numbers;
use std::collections::BTreeMap;
use std::ops::Range;

/// Numbers after which a bucket is sent: 4 MB, so that MobileNetV1 goes out in five.
const FULL: usize = 1 << 20;

/// Where a tensor lies in its bucket.
struct Span {
    name: String,
    shape: Shape,
    range: Range<usize>,
}

/// Tensors that are summed over ranks, in one run of memory after the other.
pub(crate) struct Buckets<'a> {
    ranks: &'a Ranks,
    /// Of the buckets that were sent.
    sent: Vec<Vec<Span>>,
    /// The one that is filled.
    spans: Vec<Span>,
    values: Vec<f32>,
}

impl<'a> Buckets<'a> {
    pub(crate) fn new(ranks: &'a Ranks) -> Self {
        Self { ranks, sent: Vec::new(), spans: Vec::new(), values: Vec::new() }
    }

    /// Takes this rank's part of a sum.
    ///
    /// # Errors
    /// If it is not f32, or another rank is gone.
    pub(crate) fn add(&mut self, name: String, tensor: &Tensor) -> Result<()> {
        let start = self.values.len();
        self.values.extend(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        self.spans.push(Span { name, shape: tensor.shape().clone(), range: start..self.values.len() });
        if self.values.len() >= FULL { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        self.ranks.begin_sum(Numbers::F32(std::mem::take(&mut self.values)))?;
        self.sent.push(std::mem::take(&mut self.spans));
        Ok(())
    }

    /// The sums of all that was added, by name.
    ///
    /// # Errors
    /// If another rank is gone.
    pub(crate) fn sums(mut self) -> Result<BTreeMap<String, Tensor>> {
        if !self.values.is_empty() {
            self.send()?;
        }
        let mut sums = BTreeMap::new();
        for spans in self.sent {
            let Numbers::F32(values) = self.ranks.end_sum()? else {
                return Err(sparse_collectives::Error::NotBegun.into());
            };
            for Span { name, shape, range } in spans {
                sums.insert(name, Tensor::from_slice(&values[range], shape, &Device::Cpu)?);
            }
        }
        Ok(sums)
    }
}
