//! What a criterion is told of the steps, and what it remembers of them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use sparse_sparsity::Mask;

use crate::variables::{self, Reader, Variable};
use crate::{Criterion, Error, Facts, Growth, Memory, Pruner, Result, Strategy};

/// What was observed so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    /// Steps in the sums.
    pub(crate) steps: u64,
    /// One number per weight, by variable; of the criterion alone.
    pub(crate) sums: BTreeMap<String, Vec<f64>>,
    /// The gradients of a step that grows weights by them; taken in the same step.
    pub(crate) gradients: BTreeMap<String, Vec<f64>>,
}

impl Watch {
    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        self.steps = 0;
        self.sums.values_mut().for_each(|sums| sums.fill(0.0));
    }

    pub(crate) fn sums_of(&self, name: &str) -> &[f64] {
        self.sums.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Pruner {
    /// Whether it looks at the gradients of steps, so that [`Pruner::observe`] is to be called: by its criterion, or to grow weights.
    pub fn watches(&self) -> bool {
        let grows = matches!(&self.config().strategy, Strategy::DropGrow(config) if config.growth == Growth::Gradient);
        grows || self.adds_up()
    }

    /// Whether its criterion adds up what it sees of steps.
    fn adds_up(&self) -> bool {
        self.criterion().is_some_and(|criterion| criterion.memory() != Memory::Nothing)
    }

    /// Tells the criterion of a step: the gradient of the loss to each prunable variable, at the weights as they are now. Call it
    /// between the backward pass and the update of the optimizer. Without a criterion that looks at steps it does nothing.
    ///
    /// # Errors
    /// [`Error::Gradient`] if a variable has none or one of another shape, [`Error::Dtype`] and [`Error::Placement`] if it cannot be
    /// read.
    pub fn observe(&mut self, gradients: &BTreeMap<String, Tensor>) -> Result<()> {
        if self.needs_dense_gradient() {
            let gradients = self.copies(gradients)?;
            self.watch_mut().gradients = gradients;
        }
        let mut watch = std::mem::take(self.watch_mut());
        let observed = self.add(gradients, &mut watch);
        *self.watch_mut() = watch;
        observed
    }

    fn add(&self, gradients: &BTreeMap<String, Tensor>, watch: &mut Watch) -> Result<()> {
        let Some(criterion) = self.criterion().filter(|_| self.adds_up()) else { return Ok(()) };
        let mut gradients_of = Vec::new();
        for variable in self.prunable() {
            let gradient = gradient_of(variable, gradients)?;
            let sums = watch.sums.entry(variable.name.clone()).or_default();
            sums.resize(variable.len(), 0.0);
            gradients_of.push(gradient);
        }
        let readers: Vec<Reader<'_>> = self.prunable().map(Variable::read).collect();
        let guards: Vec<_> = gradients_of.iter().map(Tensor::storage_and_layout).collect();
        let mut work = Vec::new();
        for ((reader, (storage, layout)), sums) in readers.iter().zip(&guards).zip(watch.sums.values_mut()) {
            let gradient = variables::slice(&reader.variable.name, storage, layout)?;
            let facts =
                Facts { gradient: Some(gradient), ..facts(reader, self.masks().get(&reader.variable.name))? };
            work.push((facts, sums));
        }
        work.into_par_iter().for_each(|(facts, sums)| criterion.observe(&facts, sums));
        watch.steps += 1;
        Ok(())
    }

    /// The gradient of each prunable variable as numbers.
    fn copies(&self, gradients: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Vec<f64>>> {
        let copy = |variable: &Variable| {
            let gradient = gradient_of(variable, gradients)?.flatten_all()?.to_dtype(DType::F64)?;
            Ok((variable.name.clone(), gradient.to_vec1()?))
        };
        self.prunable().map(copy).collect()
    }

    /// What the criterion has added up over the steps, by variable and one number per weight: to be saved beside the state. Empty
    /// without a criterion that looks at steps, and before the first.
    pub fn sums(&self) -> &BTreeMap<String, Vec<f64>> {
        &self.watch().sums
    }

    /// Goes on from saved sums, after [`Pruner::restore`]. Sums of a criterion that this pruner has not are left alone.
    ///
    /// # Errors
    /// [`Error::RestoreNames`] and [`Error::RestoreLength`] if they belong to other variables.
    pub fn restore_sums(&mut self, sums: BTreeMap<String, Vec<f64>>) -> Result<()> {
        if !self.adds_up() || sums.is_empty() {
            // They were saved by another criterion: this one begins with the next step.
            self.watch_mut().forget();
            return Ok(());
        }
        self.check_lengths(&sums, Vec::len)?;
        self.watch_mut().sums = sums;
        Ok(())
    }

    /// Lets a criterion that solves for weights do so under new masks.
    pub(crate) fn solve(&self, criterion: &dyn Criterion, masks: &BTreeMap<String, Mask>) -> Result<()> {
        for variable in self.prunable() {
            let reader = variable.read();
            let watch = self.watch();
            let facts = Facts {
                sums: watch.sums_of(&variable.name),
                steps: watch.steps,
                ..facts(&reader, self.masks().get(&variable.name))?
            };
            let solved = masks.get(&variable.name).and_then(|mask| criterion.solve(&facts, mask));
            drop(reader);
            if let Some(weights) = solved {
                let tensor = Tensor::from_vec(weights, variable.var.shape(), &Device::Cpu)?;
                variable.var.set(&tensor.to_dtype(variable.var.dtype())?)?;
            }
        }
        Ok(())
    }
}

/// The gradient to a variable, in one piece.
fn gradient_of(variable: &Variable, gradients: &BTreeMap<String, Tensor>) -> Result<Tensor> {
    let found = gradients.get(&variable.name);
    let Some(gradient) = found.filter(|gradient| gradient.dims() == variable.var.dims()) else {
        return Err(Error::Gradient {
            name: variable.name.clone(),
            expected: variable.var.dims().to_vec(),
            got: found.map(|gradient| gradient.dims().to_vec()),
        });
    };
    Ok(gradient.contiguous()?)
}

/// What is known of a variable without its steps.
pub(crate) fn facts<'a>(reader: &'a Reader<'a>, mask: Option<&'a Mask>) -> Result<Facts<'a>> {
    Ok(Facts {
        name: &reader.variable.name,
        shape: reader.variable.var.dims(),
        weights: reader.weights()?,
        gradient: None,
        sums: &[],
        steps: 0,
        mask,
    })
}
