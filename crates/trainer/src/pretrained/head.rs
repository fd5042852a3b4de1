//! From the head of a file to the head of a model.

use super::{Pretrained, Values};
use crate::error::Result;
use crate::weights::set_variables;
use sparse_formats::{Tensor, Tensors};
use sparse_model::Model;
use std::fmt;

/// How the head of a model came out of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// As it is in the file.
    Same,
    /// Without the background class.
    WithoutBackground,
    /// The rows of some classes.
    Rows {
        /// How many.
        kept: usize,
        /// Classes of the file.
        of: usize,
    },
    /// Initialised anew, because it tells another number of classes apart.
    New {
        /// Classes of the model.
        classes: usize,
        /// Classes of the file.
        of: usize,
    },
}

impl fmt::Display for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(formatter, "the head as it is"),
            Self::WithoutBackground => write!(formatter, "the head without its background class"),
            Self::Rows { kept, of } => {
                write!(formatter, "the rows of {kept} of the {of} classes of its head")
            }
            Self::New { classes, of } => write!(
                formatter,
                "a new head: the file tells {of} classes apart and model.num_classes is {classes}"
            ),
        }
    }
}

impl Pretrained {
    /// Sets the variables of `model`. Of a head with more classes it takes the rows of `kept`, the labels of
    /// `data.classes`; a head that does not fit leaves the model's own as it was initialised.
    ///
    /// # Errors
    /// [`crate::Error::TensorShape`] naming the tensor if another tensor than the head does not fit, or candle's;
    /// nothing is set then.
    pub fn load(mut self, model: &Model, kept: Option<&[u32]>) -> Result<Head> {
        let head = self.fit_head(model.classes(), kept);
        let mut variables = model.variables().clone();
        if let Head::New { .. } = head {
            for name in self.network.kind.head() {
                variables.remove(name);
                self.tensors.remove(name);
            }
        }
        let tensor =
            |(name, values): (String, Values)| (name, Tensor::from_f32(values.shape, &values.values));
        let tensors: Tensors = self.tensors.into_iter().map(tensor).collect();
        set_variables(&variables, &tensors, &self.path)?;
        Ok(head)
    }

    /// Makes the head one of `classes` outputs, if it can be.
    fn fit_head(&mut self, classes: usize, kept: Option<&[u32]>) -> Head {
        let of = self.classes();
        if classes == self.network.classes {
            return Head::Same;
        }
        if classes == of {
            self.drop_background();
            return Head::WithoutBackground;
        }
        match kept {
            Some(kept) if kept.len() == classes && kept.iter().all(|&label| (label as usize) < of) => {
                self.drop_background();
                self.keep_outputs(&kept.iter().map(|&label| label as usize).collect::<Vec<_>>());
                Head::Rows { kept: classes, of }
            }
            _ => Head::New { classes, of },
        }
    }

    /// Takes the background class, the first output, out of the head.
    pub(super) fn drop_background(&mut self) {
        if self.background {
            self.keep_outputs(&(1..self.network.classes).collect::<Vec<_>>());
            self.background = false;
        }
    }

    /// Keeps these outputs, in this order.
    fn keep_outputs(&mut self, outputs: &[usize]) {
        let classes = self.network.classes;
        for name in self.network.kind.head() {
            let Some(Values { shape, values }) = self.tensors.get_mut(name) else { continue };
            let rows = values.chunks(classes.max(1));
            *values =
                rows.flat_map(|row| outputs.iter().filter_map(|&output| row.get(output))).copied().collect();
            if let Some(last) = shape.last_mut() {
                *last = outputs.len();
            }
        }
        self.network.classes = outputs.len();
    }
}
