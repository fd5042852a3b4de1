//! What lies among the images of a source and is none that can be used: counted, and the first of it named.

use std::collections::BTreeMap;

/// So many strays are kept by name.
const MOST_NAMED: usize = 1000;
/// So many kinds of other files are counted by their extension.
const MOST_KINDS: usize = 100;

/// An image or a label that belongs to nothing, or an image of a format that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where it lies: a file, or an archive and the name in it.
    pub place: String,
    /// Why it is no image with a label.
    pub reason: String,
}

/// All strays of a source. They are no images of it, but count as bad ones against the share that may be bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    count: usize,
    first: Vec<Stray>,
}

impl Strays {
    /// No strays.
    pub const NONE: Self = Self { count: 0, first: Vec::new() };

    /// Their number.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first 1000 of them.
    pub fn first(&self) -> &[Stray] {
        &self.first
    }

    pub(super) fn add(&mut self, place: impl FnOnce() -> String, reason: impl Into<String>) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push(Stray { place: place(), reason: reason.into() });
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.truncate(MOST_NAMED);
    }

    /// The first few in a sentence: `a: why; b: why; and 7 more`.
    pub(crate) fn told(&self) -> String {
        const TOLD: usize = 3;
        let mut told: Vec<String> =
            self.first.iter().take(TOLD).map(|stray| format!("{}: {}", stray.place, stray.reason)).collect();
        if self.count > TOLD {
            told.push(format!("and {} more", self.count - TOLD));
        }
        told.join("; ")
    }
}

/// Files that are neither images nor labels, counted by their extension.
#[derive(Clone, Debug, Default)]
pub(super) struct Others(BTreeMap<String, usize>);

impl Others {
    pub(super) fn add(&mut self, extension: &[u8]) {
        let extension = match extension {
            b"" => "without an extension".to_owned(),
            other => format!(".{}", super::names::shown(other).to_lowercase()),
        };
        self.add_many(extension, 1);
    }

    pub(super) fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|(extension, count)| self.add_many(extension, count));
    }

    fn add_many(&mut self, extension: String, count: usize) {
        let room = self.0.len() < MOST_KINDS || self.0.contains_key(&extension);
        *self.0.entry(if room { extension } else { "of other kinds".to_owned() }).or_default() += count;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that do not usually stand beside images, if there are any.
    pub(super) fn unexpected(&self) -> Option<String> {
        const USUAL: [&str; 14] = [
            ".txt", ".xml", ".json", ".csv", ".tsv", ".md", ".html", ".yaml", ".yml", ".ini", ".log", ".py",
            ".url", ".db",
        ];
        let rest = self.0.iter().filter(|(extension, _)| !USUAL.contains(&extension.as_str()));
        let rest = Self(rest.map(|(extension, &count)| (extension.clone(), count)).collect());
        (!rest.is_empty()).then(|| rest.told())
    }

    /// `40 .webp, 3 .txt`, the most frequent first.
    pub(super) fn told(&self) -> String {
        const TOLD: usize = 6;
        let mut counts: Vec<(&String, &usize)> = self.0.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let told: Vec<String> =
            counts.iter().take(TOLD).map(|(extension, count)| format!("{count} {extension}")).collect();
        let more = if counts.len() > TOLD { ", and others" } else { "" };
        format!("{}{more}", told.join(", "))
    }
}

/// What an error says of a place without images that holds other files.
pub(super) fn instead(others: &Others, strays: &Strays) -> String {
    let files = match others.is_empty() {
        true => String::new(),
        false => {
            format!(
                "; it holds other files ({}), and only JPEG and PNG (.jpg, .jpeg, .png) are read",
                others.told()
            )
        }
    };
    let strays = if strays.count == 0 { String::new() } else { format!("; {}", strays.told()) };
    match files.is_empty() && strays.is_empty() {
        true => "; point `data.path` at a folder with data".to_owned(),
        false => files + &strays,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_named() {
        let mut strays = Strays::default();
        for number in 0..2000 {
            strays.add(|| format!("{number}.jpg"), "it has no label");
        }
        strays.append(strays.clone());
        assert_eq!((strays.count(), strays.first().len()), (4000, MOST_NAMED));
        assert_eq!(
            strays.told(),
            "0.jpg: it has no label; 1.jpg: it has no label; 2.jpg: it has no label; and 3997 more"
        );
    }

    #[test]
    fn others_are_told_by_number() {
        let mut others = Others::default();
        for extension in ["webp", "txt", "WebP", ""] {
            others.add(extension.as_bytes());
        }
        assert_eq!(others.told(), "2 .webp, 1 .txt, 1 without an extension");
        (0..1000).for_each(|number| others.add(format!("x{number}").as_bytes()));
        others.append(others.clone());
        assert!(others.told().starts_with("1806 of other kinds, 4 .webp"), "{}", others.told());
        assert!(instead(&others, &Strays::NONE).contains("only JPEG and PNG"));
    }
}
