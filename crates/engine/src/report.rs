//! What the layers of an engine do, for tables and benchmarks.

use crate::head::{VectorUnit, VectorWork};
use crate::lower::{Lowered, Unit, Work};
use sparse_kernels::host::inference::Combination;

/// One step of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// The name of its node.
    pub name: String,
    /// What it does.
    pub kind: &'static str,
    /// Whether it is a product whose zeros can be left out.
    pub is_product: bool,
    /// Weights of its product.
    pub weights: usize,
    /// Those of them that are zero.
    pub zeros: usize,
    /// Whether they are left out.
    pub sparse: bool,
    /// Multiply-adds for one image, zeros among them.
    pub macs: f64,
    /// Multiply-adds that are left out if zeros are.
    pub zero_macs: f64,
}

/// A report for every unit and layer, in order.
pub(crate) fn reports(lowered: &Lowered, sparse: &[bool]) -> Vec<LayerReport> {
    let units = lowered.units.iter().zip(sparse).map(|(unit, &sparse)| of_unit(unit, sparse));
    units.chain(lowered.layers.iter().map(of_vector_unit)).collect()
}

fn of_unit(unit: &Unit, sparse: bool) -> LayerReport {
    let pixels = unit.planes.pixels() as f64;
    let (kind, extra) = match &unit.work {
        Work::Product { depthwise: Some(depthwise), .. } => {
            ("depthwise + product", depthwise.convolution.weight.len() as f64 * pixels)
        }
        Work::Product { .. } => ("product", 0.0),
        Work::Depthwise(depthwise) => ("depthwise", depthwise.convolution.weight.len() as f64 * pixels),
        Work::MaxPool(_) => ("max pool", 0.0),
        Work::AveragePool { .. } => ("average pool", 0.0),
        Work::Mean => ("mean", 0.0),
        Work::Greatest => ("greatest", 0.0),
        Work::Combine(Combination::Add, _) => ("add", 0.0),
        Work::Combine(Combination::Sub | Combination::SubFrom, _) => ("subtract", 0.0),
        Work::Combine(Combination::Mul, _) => ("multiply", 0.0),
        Work::Combine(Combination::Div | Combination::DivInto, _) => ("divide", 0.0),
        Work::Affine { .. } => ("affine", 0.0),
        Work::Slope(_) => ("slope", 0.0),
        Work::Finish(_) => ("function", 0.0),
        Work::Pad { .. } => ("pad", 0.0),
        Work::Channels(_) => ("channels", 0.0),
        Work::Reshape => ("reshape", 0.0),
    };
    let (weights, zeros) = (unit.weights().len(), unit.zeros());
    LayerReport {
        name: unit.name.clone(),
        kind,
        is_product: matches!(unit.work, Work::Product { .. }),
        weights,
        zeros,
        sparse,
        macs: weights as f64 * pixels + extra,
        zero_macs: zeros as f64 * pixels,
    }
}

fn of_vector_unit(unit: &VectorUnit) -> LayerReport {
    let (kind, weight): (_, &[f32]) = match &unit.work {
        VectorWork::Linear { weight, .. } => ("linear", weight),
        VectorWork::Softmax => ("softmax", &[]),
        VectorWork::LogSoftmax => ("log softmax", &[]),
    };
    let zeros = zeros(weight);
    let (weights, macs) = (weight.len(), weight.len() as f64);
    LayerReport {
        name: unit.name.clone(),
        kind,
        is_product: false,
        weights,
        zeros,
        sparse: false,
        macs,
        zero_macs: zeros as f64,
    }
}

fn zeros(weight: &[f32]) -> usize {
    weight.iter().filter(|&&value| value == 0.0).count()
}

impl Unit {
    /// The weights of its product.
    pub(crate) fn weights(&self) -> &[f32] {
        match &self.work {
            Work::Product { convolution, .. } => &convolution.weight,
            _ => &[],
        }
    }

    /// Those of them that are zero.
    pub(crate) fn zeros(&self) -> usize {
        zeros(self.weights())
    }
}
