//! Which dictionary of a file holds a MobileNetV1, and what stands before its names.
//!
//! Programs put dictionaries into dictionaries (`state_dict`, `model_ema`), and wrappers of modules put a part before every
//! name (`module.`, `_orig_mod.`, `backbone.`), one or several, in any order. So names are compared by their ends: what stands
//! before the end that a program is known for is the same for all tensors of a network.

use std::collections::{BTreeMap, HashMap};

use super::own::own;
use super::recognise::{FEATURES, Facts, MASK, Recognised, Shapes, UNMASKED, recognise, shortened};
use super::{FAMILIES, Family};
use crate::{Error, NetworkConfig, Result, layers};

/// Tensors of a network, of its 137, from which on it competes with others: nearly all.
const COMPETING: usize = 124;
/// Tensors from which on a program is named, where nothing competes.
const LIKELY: usize = 10;
/// Tensors from which on a part of a network is worth a word: most of what is trained.
const PARTLY: usize = 60;
/// Parts at the end of a name that are looked at; the longest name in the table has six.
const PARTS: usize = 8;
/// Tensors in an optimizer state of PaddlePaddle.
const OPTIMIZER: [&str; 3] = ["_velocity_0", "_moment1_0", "LR_Scheduler"];
/// A word in the keys of a dictionary of masks.
const MASKS: [&str; 2] = ["mask", "masks"];
/// Tensors beside a network that say how it came about, and are no part of it.
const COUNTERS: [&str; 6] = ["n_averaged", "num_updates", "decay", "num_batches_tracked", "step", "epoch"];

/// A dictionary of a file.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// The keys that lead to it, with dots between them; empty for the top.
    pub key: &'a str,
    /// Its tensors.
    pub tensors: Shapes<'a>,
}

impl Table<'_> {
    /// Whether it is called a dictionary of masks.
    fn holds_masks(&self) -> bool {
        let mut words = self.key.split(['.', '_']);
        words.any(|word| MASKS.iter().any(|mask| word.eq_ignore_ascii_case(mask)))
    }
}

/// The network that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Place of its dictionary among the tables.
    pub table: usize,
    /// The keys that lead to its tensors, and what stands before their names; empty for the top.
    pub key: String,
    /// The network; tensors are named as they are in the dictionary.
    pub recognised: Recognised,
    /// Tensors of the same dictionary that are no part of it.
    pub beside: Vec<String>,
    /// Where tensors under such names are that are a part of a network and not a whole one, such as averages of what is
    /// trained; nothing if a key was given.
    pub partly: Vec<String>,
    /// Masks that lie in a dictionary of their own: the name that [`Source::mask`](super::Source::mask) has, the place of
    /// their dictionary among the tables and the name in there.
    pub masks: BTreeMap<String, (usize, String)>,
    /// Tensors of such dictionaries that belong to no weights of the network.
    pub stray_masks: Vec<String>,
}

/// Finds the one network in some dictionaries, or that under `key`: keys and parts of names with dots between them, all or
/// the first of them; `.` is the top.
///
/// # Errors
/// [`Error::SeveralNetworks`] if there is more than one, [`Error::NoSuchKey`] if there is none under `key`,
/// [`Error::ForeignNames`] if no program has such names, [`Error::NoTensors`] if there are none, [`Error::OptimizerState`] for
/// a `.pdopt`, and [`Error::ForeignTensors`] naming everything that is missing, left over or of another shape.
pub fn search(tables: &[Table<'_>], key: Option<&str>) -> Result<Found> {
    if let Some(found) = own(tables, key)? {
        return Ok(found);
    }
    let candidates = candidates(tables)?;
    let networks: Vec<&Candidate<'_>> =
        candidates.iter().filter(|candidate| candidate.hits >= COMPETING).collect();
    let named = |candidate: &&Candidate<'_>| candidate.is_at(tables, key);
    let masks = |candidate: &Candidate<'_>| tables.get(candidate.table).is_some_and(Table::holds_masks);
    let mut competing: Vec<&Candidate<'_>> = networks.iter().copied().filter(named).collect();
    if key.is_none() && !competing.iter().all(|candidate| masks(candidate)) {
        competing.retain(|candidate| !masks(candidate));
    }
    if competing.is_empty() {
        let likely = candidates.iter().filter(|candidate| candidate.hits >= LIKELY).filter(named);
        competing.extend(best(likely));
    }
    let Some(&first) = competing.first() else { return Err(nothing(tables, &networks, key)) };
    let mut found = first.evaluate(tables, &networks);
    if let (Ok(found), None) = (&mut found, key) {
        let partly =
            candidates.iter().filter(|other| (PARTLY..COMPETING).contains(&other.hits) && !masks(other));
        found.partly =
            partly.map(|other| other.shown(tables)).filter(|other| *other != first.shown(tables)).collect();
    }
    if competing.len() == 1 {
        return found;
    }
    let mut same = found.as_ref().ok().and_then(|found| identities(tables, found));
    for other in competing.iter().skip(1) {
        let other = other.evaluate(tables, &networks).ok();
        same = same.filter(|same| other.and_then(|other| identities(tables, &other)).as_ref() == Some(same));
    }
    if same.is_some() {
        return found;
    }
    let keys: Vec<String> = competing.iter().map(|candidate| candidate.shown(tables)).collect();
    Err(Error::SeveralNetworks { keys: shortened(&keys) })
}

/// Tensors of a dictionary whose names end as a program calls them, and begin alike.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    table: usize,
    /// What stands before the names, its separator included.
    prefix: &'a str,
    family: &'static Family,
    /// How many names of the program are there.
    hits: usize,
}

impl Candidate<'_> {
    /// The keys and the parts of names that lead to it.
    fn key(&self, tables: &[Table<'_>]) -> String {
        let parts =
            [tables.get(self.table).map_or("", |table| table.key), self.prefix.trim_end_matches(['.', '/'])];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// The same for a message.
    fn shown(&self, tables: &[Table<'_>]) -> String {
        let key = self.key(tables);
        if key.is_empty() { ".".to_owned() } else { key }
    }

    fn is_at(&self, tables: &[Table<'_>], key: Option<&str>) -> bool {
        let Some(key) = key else { return true };
        let own = self.key(tables);
        let below = || own.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        if key == "." { own.is_empty() } else { own == key || below() }
    }

    /// The network of these tensors. Those of another network that are below them in the same dictionary are none of it.
    fn evaluate(&self, tables: &[Table<'_>], networks: &[&Candidate<'_>]) -> Result<Found> {
        let empty = Shapes::new();
        let tensors = tables.get(self.table).map_or(&empty, |table| &table.tensors);
        let inner = |name: &str| {
            networks.iter().any(|other| {
                other.table == self.table
                    && other.prefix.len() > self.prefix.len()
                    && other.prefix.starts_with(self.prefix)
                    && name.starts_with(other.prefix)
            })
        };
        let own = |name: &&str| name.starts_with(self.prefix) && !inner(name);
        let stripped: Shapes<'_> = tensors
            .iter()
            .filter(|(name, _)| own(name))
            .filter_map(|(name, facts)| Some((name.get(self.prefix.len()..)?, *facts)))
            .collect();
        let mut recognised = recognise(self.family, &stripped).map_err(|error| self.placed(error, tables))?;
        let whole = |name: &mut String| name.insert_str(0, self.prefix);
        for source in &mut recognised.sources {
            source.name.iter_mut().chain(source.mask.iter_mut()).for_each(whole);
        }
        recognised.ignored.iter_mut().for_each(whole);
        let taken = |name: &str| {
            networks.iter().any(|other| other.table == self.table && name.starts_with(other.prefix))
        };
        let beside = tensors.keys().filter(|name| !own(name) && !taken(name));
        let beside =
            beside.filter(|name| !COUNTERS.contains(&last_part(name))).map(|&name| name.to_owned()).collect();
        let mut found = Found {
            table: self.table,
            key: self.key(tables),
            recognised,
            beside,
            partly: Vec::new(),
            masks: BTreeMap::new(),
            stray_masks: Vec::new(),
        };
        self.add_masks(tables, &mut found)?;
        Ok(found)
    }

    /// Finds the masks that lie in a dictionary beside that of the network.
    fn add_masks(&self, tables: &[Table<'_>], found: &mut Found) -> Result<()> {
        let Some(own) = tables.get(self.table) else { return Ok(()) };
        let mut misshaped = Vec::new();
        for (place, table) in tables.iter().enumerate() {
            if place == self.table || !table.holds_masks() {
                continue;
            }
            let mut strays: BTreeMap<&str, &Facts<'_>> =
                table.tensors.iter().map(|(name, facts)| (*name, facts)).collect();
            for source in &mut found.recognised.sources {
                let Some(weight) = source.name.clone().filter(|_| source.mask.is_none()) else { continue };
                let full = weight.strip_suffix(UNMASKED).unwrap_or(&weight);
                let short = full.get(self.prefix.len()..).unwrap_or(full);
                let names =
                    [full.to_owned(), format!("{full}{MASK}"), short.to_owned(), format!("{short}{MASK}")];
                let Some(name) = names.iter().find(|name| strays.contains_key(name.as_str())) else {
                    continue;
                };
                let shape = own.tensors.get(weight.as_str()).map(|facts| facts.shape);
                let given = format!("{}.{name}", table.key);
                match strays.remove(name.as_str()) {
                    Some(facts) if facts.refused.is_none() && Some(facts.shape) == shape => {
                        source.mask = Some(given.clone());
                        found.masks.insert(given, (place, name.clone()));
                    }
                    facts => misshaped.push(format!(
                        "{given} {:?}, the mask of {weight} {:?}",
                        facts.map_or(&[][..], |facts| facts.shape),
                        shape.unwrap_or_default()
                    )),
                }
            }
            found.stray_masks.extend(strays.keys().map(|name| format!("{}.{name}", table.key)));
        }
        if misshaped.is_empty() {
            return Ok(());
        }
        Err(Error::ForeignTensors {
            family: self.family.name,
            scale: found.recognised.network.scale,
            faults: format!("of another shape: {}", shortened(&misshaped)),
        })
    }

    /// An error about these tensors with the place where they are.
    fn placed(&self, error: Error, tables: &[Table<'_>]) -> Error {
        match error {
            Error::ForeignTensors { family, scale, faults } if !self.key(tables).is_empty() => {
                Error::ForeignTensors {
                    family,
                    scale,
                    faults: format!("{faults} (under {})", self.key(tables)),
                }
            }
            other => other,
        }
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

/// Everything that looks like a network of some program, in the order of the tables; for each place the likeliest.
fn candidates<'a>(tables: &[Table<'a>]) -> Result<Vec<Candidate<'a>>> {
    let layers = layers(&NetworkConfig::mobilenet(1.0, 3, FEATURES))?;
    let mut known: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, family) in FAMILIES.iter().enumerate() {
        for named in family.names(&layers) {
            known.entry(named.foreign).or_default().push(index);
        }
    }
    let mut hits: BTreeMap<(usize, &'a str), [usize; FAMILIES.len()]> = BTreeMap::new();
    for (table, Table { tensors, .. }) in tables.iter().enumerate() {
        for &name in tensors.keys() {
            for start in starts(name) {
                let (prefix, end) = name.split_at(start);
                let end = end.strip_suffix(UNMASKED).unwrap_or(end);
                for &family in known.get(end).into_iter().flatten() {
                    hits.entry((table, prefix)).or_default()[family] += 1;
                }
            }
        }
    }
    let mut candidates = Vec::with_capacity(hits.len());
    for ((table, prefix), hits) in hits {
        let mut likeliest: Option<Candidate<'a>> = None;
        for (family, hits) in FAMILIES.iter().zip(hits) {
            if hits > likeliest.map_or(0, |likeliest| likeliest.hits) {
                likeliest = Some(Candidate { table, prefix, family, hits });
            }
        }
        candidates.extend(likeliest);
    }
    Ok(candidates)
}

/// Where the last parts of a name start, the last first.
fn starts(name: &str) -> impl Iterator<Item = usize> {
    let separators = name.rmatch_indices(['.', '/']).map(|(at, _)| at + 1);
    separators.chain([0]).take(PARTS)
}

/// The candidate with the most tensors, the first of them.
fn best<'c, 'a>(candidates: impl Iterator<Item = &'c Candidate<'a>>) -> Option<&'c Candidate<'a>>
where
    'a: 'c,
{
    let mut best: Option<&Candidate<'_>> = None;
    for candidate in candidates {
        if best.is_none_or(|best| candidate.hits > best.hits) {
            best = Some(candidate);
        }
    }
    best
}

/// Which numbers of the file a network has.
fn identities(tables: &[Table<'_>], found: &Found) -> Option<Vec<(String, Option<u64>)>> {
    let tensors = &tables.get(found.table)?.tensors;
    let identity = |name: &Option<String>| {
        let facts: Option<&Facts<'_>> = name.as_ref().and_then(|name| tensors.get(name.as_str()));
        facts.map(|facts| facts.identity)
    };
    let mut identities = Vec::new();
    for source in &found.recognised.sources {
        identities.push((source.canonical.clone(), identity(&source.name)));
        identities.push((source.canonical.clone(), identity(&source.mask)));
    }
    // Tensors of two tables may have the same number by chance only if they were numbered apart.
    Some(identities)
}

/// Why there is no network.
fn nothing(tables: &[Table<'_>], networks: &[&Candidate<'_>], key: Option<&str>) -> Error {
    if let Some(key) = key {
        let mut keys: Vec<String> = networks.iter().map(|network| network.shown(tables)).collect();
        if keys.is_empty() {
            let shown =
                |table: &Table<'_>| if table.key.is_empty() { ".".to_owned() } else { table.key.to_owned() };
            keys = tables.iter().map(shown).collect();
        }
        return Error::NoSuchKey { key: key.to_owned(), keys: shortened(&keys) };
    }
    let most =
        tables.iter().max_by_key(|table| table.tensors.len()).filter(|table| !table.tensors.is_empty());
    let Some(most) = most else { return Error::NoTensors };
    let names: Vec<String> = most.tensors.keys().map(|&name| name.to_owned()).collect();
    if names.iter().any(|name| OPTIMIZER.iter().any(|mark| name.ends_with(mark))) {
        return Error::OptimizerState { names: shortened(&names) };
    }
    let families = FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", ");
    Error::ForeignNames { names: shortened(&names), families }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shapes, tensors};
    use super::*;

    type Names = BTreeMap<String, Vec<usize>>;

    /// The tensors of a family with `prefix` before each name.
    fn prefixed(family: &Family, prefix: &str) -> Names {
        let tensors = tensors(family, &NetworkConfig::mobilenet(0.0625, 3, 10));
        tensors.into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
    }

    /// Searches in dictionaries whose tensors are numbered from here on.
    fn found(tables: &[(&str, &Names, u64)], key: Option<&str>) -> Result<Found> {
        let table = |&(key, names, from): &(&'static str, &'static Names, u64)| {
            let mut tensors = shapes(names);
            tensors.values_mut().for_each(|facts| facts.identity += from);
            Table { key, tensors }
        };
        // The tables live as long as the test.
        let leaked: Vec<(&'static str, &'static Names, u64)> = tables
            .iter()
            .map(|&(key, names, from)| {
                (&*Box::leak(key.to_owned().into_boxed_str()), &*Box::leak(Box::new(names.clone())), from)
            })
            .collect();
        search(&leaked.iter().map(table).collect::<Vec<_>>(), key)
    }

    #[test]
    fn whatever_stands_before_the_names_of_any_program_is_taken_off() {
        for family in &FAMILIES {
            for prefix in [
                "module.",
                "_orig_mod.module.",
                "module.module.",
                "model.",
                "a.b.c.d.e.f.g.",
                "net/",
                "model.",
            ] {
                let names = prefixed(family, prefix);
                let found = found(&[("state_dict", &names, 0)], None).unwrap();
                assert_eq!(found.recognised.family.name, family.name);
                assert_eq!(found.key, format!("state_dict.{}", &prefix[..prefix.len() - 1]));
                let sources = &found.recognised.sources;
                assert!(sources.iter().all(|one| names.contains_key(one.name.as_ref().unwrap())), "{prefix}");
                assert!(found.beside.is_empty());
            }
        }
    }

    #[test]
    fn other_tensors_and_counters_beside_do_not_matter_and_strangers_are_told() {
        let mut names = prefixed(&FAMILIES[4], "module.");
        names.insert("n_averaged".into(), vec![]);
        let alone = BTreeMap::from([("best_acc1".to_owned(), vec![])]);
        let result = found(&[("", &alone, 500), ("ema", &names, 0)], None).unwrap();
        assert_eq!((result.table, result.key.as_str(), result.beside.len()), (1, "ema.module", 0));
        names.insert("criterion.weight".into(), vec![3]);
        assert_eq!(found(&[("", &names, 0)], None).unwrap().beside, ["criterion.weight"]);
        names.insert("module.criterion.weight".into(), vec![3]);
        let error = found(&[("", &names, 0)], None).unwrap_err().to_string();
        assert!(error.contains("left over: criterion.weight (under module)"), "{error}");
    }

    #[test]
    fn of_two_networks_the_key_decides_and_the_choices_are_named() {
        let (plain, module) = (prefixed(&FAMILIES[4], ""), prefixed(&FAMILIES[4], "module."));
        let tables = [("model", &plain, 0), ("model_ema", &module, 500)];
        let error = found(&tables, None).unwrap_err().to_string();
        assert!(error.contains("model, model_ema.module") && error.contains("--key"), "{error}");
        for (key, place) in [("model", 0), ("model_ema", 1), ("model_ema.module", 1)] {
            assert_eq!(found(&tables, Some(key)).unwrap().table, place);
        }
        for key in ["mode", "ema", "model.module", "."] {
            let error = found(&tables, Some(key)).unwrap_err().to_string();
            assert!(error.contains("model, model_ema.module"), "{key}: {error}");
        }
        // One that has a fault competes as well: the other is not taken in its place.
        let mut broken = plain.clone();
        broken.remove("conv_stem.weight");
        let tables = [("model", &broken, 0), ("teacher", &module, 500)];
        assert!(matches!(found(&tables, None), Err(Error::SeveralNetworks { .. })));
        let error = found(&tables, Some("model")).unwrap_err().to_string();
        assert!(error.contains("missing: conv_stem.weight") && error.contains("(under model)"), "{error}");
        // The momentum of every weight under its name does not compete.
        let momentum: Names =
            plain.clone().into_iter().filter(|(name, _)| !name.contains("running")).collect();
        let tables = [("momentum", &momentum, 0), ("net", &plain, 500)];
        let result = found(&tables, None).unwrap();
        assert_eq!((result.key.as_str(), result.partly), ("net", vec!["momentum".to_owned()]));
        assert!(found(&tables, Some("net")).unwrap().partly.is_empty());
    }

    #[test]
    fn two_networks_in_one_dictionary_are_told_apart() {
        let mut both = prefixed(&FAMILIES[4], "");
        both.extend(prefixed(&FAMILIES[4], "ema."));
        let error = found(&[("", &both, 0)], None).unwrap_err().to_string();
        assert!(error.contains("(., ema)"), "{error}");
        assert_eq!(found(&[("", &both, 0)], Some(".")).unwrap().recognised.sources.len(), 137);
        assert_eq!(found(&[("", &both, 0)], Some("ema")).unwrap().key, "ema");
    }

    #[test]
    fn the_same_numbers_in_two_places_are_no_choice() {
        let plain = prefixed(&FAMILIES[4], "");
        let result = found(&[("model", &plain, 0), ("state_dict", &plain, 0)], None).unwrap();
        assert_eq!(result.key, "model");
        assert!(found(&[("model", &plain, 0), ("state_dict", &plain, 1)], None).is_err());
    }

    #[test]
    fn weights_with_masks_are_found_and_masks_belong_to_them() {
        let mut names = prefixed(&FAMILIES[4], "");
        let shape = names.remove("blocks.0.0.conv_pw.weight").unwrap();
        names.insert("blocks.0.0.conv_pw.weight_orig".into(), shape.clone());
        let error = found(&[("", &names, 0)], None).unwrap_err().to_string();
        assert!(error.contains("missing: blocks.0.0.conv_pw.weight"), "{error}");
        names.insert("blocks.0.0.conv_pw.weight_mask".into(), shape.clone());
        names.insert("conv_stem.weight_mask".into(), names["conv_stem.weight"].clone());
        let recognised = found(&[("", &names, 0)], None).unwrap().recognised;
        let source =
            |canonical: &str| recognised.sources.iter().find(|one| one.canonical == canonical).unwrap();
        assert_eq!(source("conv2_1_sep_weights").name.as_deref(), Some("blocks.0.0.conv_pw.weight_orig"));
        assert_eq!(source("conv2_1_sep_weights").mask.as_deref(), Some("blocks.0.0.conv_pw.weight_mask"));
        assert_eq!(source("conv1_weights").mask.as_deref(), Some("conv_stem.weight_mask"));
        names.insert("conv_stem.weight_mask".into(), vec![2]);
        let error = found(&[("", &names, 0)], None).unwrap_err().to_string();
        assert!(
            error.contains("of another shape: conv_stem.weight_mask [2], the mask of conv_stem"),
            "{error}"
        );
    }

    #[test]
    fn masks_in_a_dictionary_of_their_own_belong_to_the_weights() {
        let names = prefixed(&FAMILIES[4], "module.");
        let shape = |name: &str| names[&format!("module.{name}")].clone();
        for (key, prefix, end) in [("masks", "", ""), ("mask", "module.", ""), ("pruner.Masks", "", "_mask")]
        {
            let of = |name: &str| format!("{prefix}{name}{end}");
            let mut masks = Names::from([
                (of("conv_stem.weight"), shape("conv_stem.weight")),
                (of("blocks.0.0.conv_pw.weight"), shape("blocks.0.0.conv_pw.weight")),
                ("other.weight".to_owned(), vec![3]),
            ]);
            let result = found(&[("state_dict", &names, 0), (key, &masks, 500)], None).unwrap();
            let sources = &result.recognised.sources;
            let given: Vec<&String> = sources.iter().filter_map(|one| one.mask.as_ref()).collect();
            assert_eq!(given.len(), 2, "{key}");
            let stem = sources.iter().find(|one| one.canonical == "conv1_weights").unwrap();
            let stem = &result.masks[stem.mask.as_ref().unwrap()];
            assert_eq!(*stem, (1, of("conv_stem.weight")));
            assert_eq!(result.stray_masks, [format!("{key}.other.weight")]);
            masks.insert(of("conv_stem.weight"), vec![2]);
            let error =
                found(&[("state_dict", &names, 0), (key, &masks, 500)], None).unwrap_err().to_string();
            assert!(error.contains("[2], the mask of module.conv_stem.weight"), "{error}");
        }
        // One for every tensor is no second network; under its own key it is looked at as one.
        let tables = [("model", &names, 0), ("masks", &names, 500)];
        let result = found(&tables, None).unwrap();
        assert_eq!((result.table, result.masks.len(), result.stray_masks.len()), (0, 137, 0));
        assert_eq!(found(&tables, Some("masks")).unwrap().masks.len(), 0);
        let error = found(&[("model", &names, 0), ("masked_model", &names, 500)], None).unwrap_err();
        assert!(matches!(error, Error::SeveralNetworks { .. }), "{error}");
    }

    #[test]
    fn weights_that_are_made_anew_in_each_pass_are_told_with_what_to_do() {
        let mut names = prefixed(&FAMILIES[4], "");
        let shape = names.remove("conv_stem.weight").unwrap();
        names.insert("conv_stem.parametrizations.weight.original".into(), shape);
        let error = found(&[("", &names, 0)], None).unwrap_err().to_string();
        assert!(error.contains("remove_parametrizations"), "{error}");
    }

    #[test]
    fn an_empty_file_and_a_tensor_that_cannot_be_read_are_told() {
        assert!(matches!(found(&[], None), Err(Error::NoTensors)));
        assert!(matches!(found(&[("", &Names::new(), 0)], None), Err(Error::NoTensors)));
        let names = prefixed(&FAMILIES[4], "");
        let mut tensors = shapes(&names);
        tensors.insert("conv_stem.weight", Facts { refused: Some("it is quantised"), ..Facts::default() });
        let long = "it is stored in a way that takes many words to tell: make it dense with to_dense() and save it again";
        tensors.insert("bn1.weight", Facts { refused: Some(long), ..Facts::default() });
        tensors.insert("bn1.bias", Facts { refused: Some(long), ..Facts::default() });
        let error = search(&[Table { key: "", tensors }], None).unwrap_err().to_string();
        assert!(error.contains(&format!("not to be read: bn1.weight, bn1.bias: {long}")), "{error}");
        assert!(error.contains("not to be read: conv_stem.weight: it is quantised"), "{error}");
    }
}
