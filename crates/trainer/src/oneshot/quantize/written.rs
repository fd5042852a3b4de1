//! The file that a rounded network goes to.

use super::super::layers::Layer;
use super::super::{Job, PrunedLayer, timings};
use super::QuantizeReport;
use super::loss::{Compared, f32_bytes};
use super::walk::Passed;
use crate::bench::peak_rss_bytes;
use crate::error::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// A rounded network, and how far it is off.
pub(in super::super) struct Found {
    pub(super) passed: Passed,
    pub(super) compared: Compared,
}

impl Found {
    /// Measures it, writes it, and says what became of it.
    ///
    /// # Errors
    /// What the engine reports, and if the file cannot be written.
    pub(in super::super) fn finish(
        self,
        job: &Job<'_>,
        to: &Path,
        start: Instant,
    ) -> Result<(QuantizeReport, Vec<PrunedLayer>)> {
        let Self { passed, compared } = self;
        let graph = &job.file.graph;
        let places: &[Layer] = &passed.places;
        let (ms, network_ms) =
            timings::before_and_after([graph, &passed.graph], places, job.oneshot.threads)?;
        let (mut layers, mut pruned) = (passed.layers, passed.pruned);
        for (layer, ms) in layers.iter_mut().zip(ms) {
            layer.ms = ms;
            pruned.iter_mut().filter(|pruned| pruned.name == layer.name).for_each(|pruned| pruned.ms = ms);
        }
        job.file.write_quantized(&passed.graph, to)?;
        let size = std::fs::metadata(to).map_err(|source| Error::io("read", to, source))?.len();
        let report = QuantizeReport {
            from: job.file.path().display().to_string(),
            to: to.display().to_string(),
            images: passed.images,
            layers,
            compared: compared.images,
            output_error: compared.output_error,
            agreement: compared.agreement,
            top1: compared.top1,
            bytes: [f32_bytes(graph), size],
            network_ms,
            seconds: start.elapsed().as_secs_f64(),
            peak_bytes: peak_rss_bytes(),
        };
        Ok((report, pruned))
    }
}
