//! What no committed text may contain: paths of somebody's machine, and marks of unfinished work.

use super::Offence;

/// Roots of paths that exist on one machine only. Written in two parts, as this file is checked too.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "tmp/"), concat!("/", "home/"), concat!("/", "root/")];

const UNFINISHED: [&str; 4] =
    [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("dbg", "!"), concat!("#[", "ignore")];

/// The forbidden words of one text file.
pub(super) fn check(path: &str, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for root in MACHINE_PATHS.into_iter().filter(|root| has_absolute_path(line, root)) {
            offences.push(Offence::at(
                path,
                index + 1,
                format!("absolute path under `{root}`; use a relative one"),
            ));
        }
        for word in UNFINISHED.into_iter().filter(|word| line.contains(word)) {
            offences.push(Offence::at(path, index + 1, format!("`{word}` must not be committed")));
        }
    }
    offences
}

/// Whether a path in `line` starts with `root`; in the middle of a path or of a URL it is no root.
fn has_absolute_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~}/*".contains(c))
            || line[..position].ends_with("://")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_at_fault(text: &str) -> Vec<usize> {
        check("a.txt", text).iter().filter_map(|offence| offence.line).collect()
    }

    #[test]
    fn a_path_of_one_machine_is_found_wherever_it_starts() {
        for root in MACHINE_PATHS {
            for text in ["{}a", "cd {}a", "\"{}a\"", "`{}a`", "(see {}a)", "x={}a", "file://{}a"] {
                let text = format!("fine\n{}", text.replace("{}", root));
                assert_eq!(lines_at_fault(&text), [2], "{text}");
            }
            let message = check("a.txt", root)[0].to_string();
            assert_eq!(message, format!("a.txt:1: absolute path under `{root}`; use a relative one"));
        }
    }

    #[test]
    fn the_same_name_inside_another_path_passes() {
        for root in MACHINE_PATHS {
            for text in ["a{}b", "..{}b", "~{}b", "${HOME}{}b", "host.org{}b", "**{}b"] {
                let text = text.replace("{}", root);
                assert_eq!(lines_at_fault(&text), [0; 0], "{text}");
            }
        }
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            let offences = check("a.rs", &format!("fn a() {{\n    {word}(x)\n}}"));
            assert_eq!(offences, [Offence::at("a.rs", 2, format!("`{word}` must not be committed"))]);
        }
    }
}
