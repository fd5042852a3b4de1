//! From a file of any program to the tensors of a MobileNetV1 under our names.

use super::architecture::Metadata;
use super::{InputHint, Pretrained, Values, WeightsAt};
use crate::advice::some;
use crate::error::{Error, Result};
use crate::weights::weights_path;
use sparse_formats::import::{Choice, Contents, as_f32, import_with};
use sparse_formats::{Dtype, Format, Imported, Tensor, Tensors};
use sparse_model::names::{Facts, Found, Recognised, Source, Table, arranged, search};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

impl Pretrained {
    /// Reads a file, a run folder, a folder with one file of weights, or a folder of Paddle variables.
    ///
    /// # Errors
    /// [`Error::NoWeights`] if nothing is there, what [`import_with`] reports of the format, and [`Error::ForeignWeights`] if
    /// there is no MobileNetV1, or more than one and no key; it names all tensors that are missing, left over or of another
    /// shape. [`Error::WholeNumbers`] and [`Error::BadMask`] naming a tensor.
    pub fn read<'a>(weights: impl Into<WeightsAt<'a>>) -> Result<Self> {
        let WeightsAt { path, key } = weights.into();
        let path = weights_path(path)?;
        let mut found = None;
        let choose = |contents: &Contents<'_>| {
            let (chosen, choice) = chosen(contents, key)?;
            found = Some(chosen);
            Ok(choice)
        };
        let imported = import_with(&path, choose).map_err(|error| match error {
            Error::Formats(sparse_formats::Error::NoWeights { path }) => {
                Error::NoWeights { path: path.join(crate::WEIGHTS_FILE) }
            }
            other => other,
        })?;
        let Some(found) = found else { return Err(Error::NoWeights { path: imported.path }) };
        Self::of(imported, found)
    }

    fn of(imported: Imported, found: Found) -> Result<Self> {
        let Imported { path, format, tensors, metadata } = imported;
        let Found { key, recognised, beside, partly, stray_masks, .. } = found;
        let metadata = Metadata::parse(metadata.as_deref(), &path);
        let network = metadata.refine(&recognised.network);
        let Recognised { family, background, ignored, sources, .. } = recognised;
        let mut reading =
            Reading { path: &path, tensors: &tensors, paddle: family.is_paddle(), masks: Masks::default() };
        let mut parameters = BTreeMap::new();
        for source in &sources {
            parameters.insert(source.canonical.clone(), reading.values(source)?);
        }
        let masks = reading.masks;
        let mut notes = masks.notes(&path);
        if !beside.is_empty() {
            notes.push(format!(
                "{} holds tensors beside those of the network, under {key}; they are not read: {}",
                path.display(),
                some(&beside)
            ));
        }
        if !stray_masks.is_empty() {
            notes.push(format!(
                "{} holds masks that belong to no weights of the network under {key}; they are not read: {}",
                path.display(),
                some(&stray_masks)
            ));
        }
        if !partly.is_empty() {
            notes.push(format!(
                "{} also holds a part of a network, under {}; it is not read (--key names another)",
                path.display(),
                some(&partly)
            ));
        }
        notes.extend(odd_numbers(&path, &parameters));
        let input =
            metadata.input().or_else(|| family.input.filter(|_| !family.is_canonical()).map(InputHint::from));
        let masked = masks.applied.len();
        Ok(Self {
            path,
            key,
            format,
            family,
            network,
            background,
            ignored,
            masked,
            input,
            notes,
            metadata,
            tensors: parameters,
        })
    }

    /// Warns of what whoever uses these weights should know: see [`Self::notes`].
    pub fn warn(&self) {
        for note in &self.notes {
            tracing::warn!("{note}");
        }
    }
}

/// The network in a file, and the tensors that it is made of.
fn chosen(contents: &Contents<'_>, key: Option<&str>) -> Result<(Found, Choice)> {
    if contents.format == Format::Int8 {
        return Err(Error::QuantizedWeights { path: contents.path.to_owned() });
    }
    let tables: Vec<Table<'_>> = contents
        .dictionaries
        .iter()
        .map(|dictionary| {
            let facts = dictionary.tensors.iter().map(|(name, entry)| {
                let refused = entry.refused.as_deref();
                (name.as_ref(), Facts { shape: entry.shape, identity: entry.identity, refused })
            });
            Table { key: &dictionary.key, tensors: facts.collect() }
        })
        .collect();
    let foreign = |source| Error::ForeignWeights { path: contents.path.to_owned(), source };
    let found = search(&tables, key).map_err(foreign)?;
    let sources = found.recognised.sources.iter();
    let names: BTreeSet<String> =
        sources.flat_map(|source| [&source.name, &source.mask]).flatten().cloned().collect();
    let names = names.into_iter().filter(|name| !found.masks.contains_key(name)).collect();
    let (dictionary, beside) = (found.table, found.masks.clone());
    Ok((found, Choice { dictionary, names, beside }))
}

/// What reads the numbers of parameters.
struct Reading<'a> {
    path: &'a Path,
    tensors: &'a Tensors,
    /// Whether whole numbers of 16 bits are bf16.
    paddle: bool,
    masks: Masks,
}

/// What masks did.
#[derive(Default)]
struct Masks {
    /// The tensors that have one.
    applied: Vec<String>,
    /// Weights that were not zero and are behind a mask.
    zeroed: usize,
}

impl Masks {
    fn notes(&self, path: &Path) -> Vec<String> {
        let zeroed = (self.zeroed > 0).then(|| {
            format!(
                "{} holds masks of {} tensors beside weights that are not zero where the masks are: {} weights were made \
                 zero, as the masks say",
                path.display(),
                self.applied.len(),
                self.zeroed
            )
        });
        zeroed.into_iter().collect()
    }
}

impl Reading<'_> {
    /// The values of one parameter.
    fn values(&mut self, source: &Source) -> Result<Values> {
        let shape = source.shape.clone();
        let Some((name, tensor)) = source.name.as_ref().and_then(|name| self.tensors.get_key_value(name))
        else {
            let values = vec![0.0; shape.iter().product()];
            return Ok(Values { shape, values });
        };
        let mut values = self.floats(name, tensor)?;
        if let Some((mask_name, mask)) =
            source.mask.as_ref().and_then(|name| self.tensors.get_key_value(name))
        {
            for (value, keep) in values.iter_mut().zip(self.mask(mask_name, mask)?) {
                if !keep {
                    self.masks.zeroed += usize::from(*value != 0.0);
                    *value = 0.0;
                }
            }
            self.masks.applied.push(name.clone());
        }
        Ok(Values { shape, values: arranged(values, &tensor.shape, &source.axes) })
    }

    fn floats(&self, name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
        match tensor.dtype {
            Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => Ok(as_f32(tensor)?),
            // numpy has no bf16: Paddle writes it as what it has of the same size.
            Dtype::U16 if self.paddle => Ok(as_f32(&Tensor { dtype: Dtype::BF16, ..tensor.clone() })?),
            other => Err(self.whole_numbers(name, other)),
        }
    }

    /// Which weights a mask keeps.
    fn mask(&self, name: &str, tensor: &Tensor) -> Result<Vec<bool>> {
        let numbers = match tensor.dtype {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => tensor.data.iter().map(|&byte| f32::from(byte)).collect(),
            _ => self.floats(name, tensor)?,
        };
        let keep = |number: &f32| match *number {
            0.0 => Ok(false),
            1.0 => Ok(true),
            value => Err(Error::BadMask { path: self.path.to_owned(), name: name.to_owned(), value }),
        };
        numbers.iter().map(keep).collect()
    }

    fn whole_numbers(&self, name: &str, dtype: Dtype) -> Error {
        Error::WholeNumbers { path: self.path.to_owned(), name: name.to_owned(), dtype: dtype.to_string() }
    }
}

/// A word about numbers with which no network computes.
fn odd_numbers(path: &Path, parameters: &BTreeMap<String, Values>) -> Vec<String> {
    let named = |odd: &dyn Fn(&str, f32) -> bool| -> Vec<String> {
        let has = |(name, values): &(&String, &Values)| values.values.iter().any(|&value| odd(name, value));
        parameters.iter().filter(has).map(|(name, _)| name.clone()).collect()
    };
    let path = path.display();
    let not_finite = named(&|_, value| !value.is_finite());
    let negative = named(&|name, value| name.ends_with("_variance") && value < 0.0);
    let mut notes = Vec::new();
    if !not_finite.is_empty() {
        notes.push(format!(
            "{path} holds numbers that are NaN or infinite, in {}: its run diverged",
            some(&not_finite)
        ));
    }
    if !negative.is_empty() {
        notes.push(format!(
            "{path} holds variances below zero, in {}: the scores will be NaN",
            some(&negative)
        ));
    }
    notes
}
