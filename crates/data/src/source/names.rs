//! Many short texts in little memory.

/// A list of texts, kept in one allocation: 8 bytes and its letters for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// The text at `index`; empty when there is none.
    pub(super) fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0));
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_by_index() {
        let mut names = Names::default();
        for name in ["a", "", "ccc", "ä"] {
            names.push(name);
        }
        assert_eq!([0, 1, 2, 3, 4].map(|index| names.get(index)), ["a", "", "ccc", "ä", ""]);
    }
}
