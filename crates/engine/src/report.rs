//! What the layers of an engine do, for tables and benchmarks.

use crate::head::{VectorUnit, VectorWork};
use crate::int8::{Int8, Integers};
use crate::lower::{Lowered, Unit, Work};
use sparse_inference::{Combination, Precision};

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
pub(crate) fn reports(lowered: &Lowered, sparse: &[bool], precision: Precision) -> Vec<LayerReport> {
    let units = lowered.units.iter().zip(sparse).map(|(unit, &sparse)| of_unit(unit, sparse, precision));
    units.chain(lowered.layers.iter().map(|unit| of_vector_unit(unit, precision))).collect()
}

fn of_unit(unit: &Unit, sparse: bool, precision: Precision) -> LayerReport {
    let pixels = unit.planes.pixels() as f64;
    let (kind, extra) = match &unit.work {
        Work::Product { depthwise: Some(depthwise), .. } => {
            let kind = match precision {
                Precision::F32 => "depthwise + product",
                Precision::Bf16 => "depthwise + bf16 product",
            };
            (kind, depthwise.convolution.weight.len() as f64 * pixels)
        }
        Work::Product { .. } => match precision {
            Precision::F32 => ("product", 0.0),
            Precision::Bf16 => ("bf16 product", 0.0),
        },
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
        Work::Int8(work) => match &**work {
            Int8::Convolution { depthwise: Some(depthwise), product: Some(_) } => {
                ("int8 depthwise + product", depthwise.weight.len() as f64 * pixels)
            }
            Int8::Convolution { depthwise: None, .. } => ("int8 product", 0.0),
            Int8::Convolution { depthwise: Some(depthwise), .. } => {
                ("int8 depthwise", depthwise.weight.len() as f64 * pixels)
            }
            Int8::Quantize(_) => ("quantize", 0.0),
            Int8::Dequantize(_) => ("dequantize", 0.0),
            Int8::Add { .. } => ("int8 add", 0.0),
            Int8::MaxPool(_) => ("int8 max pool", 0.0),
            Int8::Mean(_) => ("int8 mean", 0.0),
            Int8::Channels { .. } => ("int8 channels", 0.0),
        },
    };
    let (weights, zeros) = (unit.weights(), unit.zeros());
    LayerReport {
        name: unit.name.clone(),
        kind,
        is_product: unit.is_product(),
        weights,
        zeros,
        sparse,
        macs: weights as f64 * pixels + extra,
        zero_macs: unit.left_out(precision) as f64 * pixels,
    }
}

fn of_vector_unit(unit: &VectorUnit, precision: Precision) -> LayerReport {
    let (kind, weights, zeros) = match &unit.work {
        VectorWork::Linear { weight, .. } => {
            let kind = match precision {
                Precision::F32 => "linear",
                Precision::Bf16 => "bf16 linear",
            };
            (kind, weight.len(), zeros(weight))
        }
        VectorWork::Int8 { weight, .. } => ("int8 linear", weight.len(), zeros(weight)),
        VectorWork::Softmax => ("softmax", 0, 0),
        VectorWork::LogSoftmax => ("log softmax", 0, 0),
    };
    let macs = weights as f64;
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

fn zeros<T: Default + PartialEq>(weight: &[T]) -> usize {
    weight.iter().filter(|&value| *value == T::default()).count()
}

impl Unit {
    /// The product of it in integers.
    fn integers(&self) -> Option<&Integers> {
        match &self.work {
            Work::Int8(work) => match &**work {
                Int8::Convolution { product, .. } => product.as_ref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is a product whose zeros can be left out.
    fn is_product(&self) -> bool {
        matches!(self.work, Work::Product { .. }) || self.integers().is_some()
    }

    /// How many weights its product has.
    pub(crate) fn weights(&self) -> usize {
        match &self.work {
            Work::Product { convolution, .. } => convolution.weight.len(),
            _ => self.integers().map_or(0, |integers| integers.weight.len()),
        }
    }

    /// Those of them that are zero.
    fn zeros(&self) -> usize {
        match &self.work {
            Work::Product { convolution, .. } => zeros(&convolution.weight),
            _ => self.integers().map_or(0, |integers| zeros(&integers.weight)),
        }
    }

    /// Those that can be left out: in integers blocks of four over input channels, in bf16 those of two where two are multiplied at once.
    pub(crate) fn left_out(&self, precision: Precision) -> usize {
        match &self.work {
            Work::Product { convolution, .. } if precision == Precision::Bf16 => {
                let row = convolution.weight.len() / convolution.shape[0].max(1);
                let blocks =
                    convolution.weight.chunks(row.max(1)).flat_map(|row| row.chunks(precision.block()));
                blocks.filter(|block| block.iter().all(|&weight| weight == 0.0)).map(<[f32]>::len).sum()
            }
            _ => self.integers().map_or_else(|| self.zeros(), Integers::zeros_in_blocks),
        }
    }
}
