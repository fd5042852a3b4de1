//! Where the links in a tar file lead.

use super::tar_walk::{Kind, Member, walk};
use crate::Result;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// So many links after each other are followed, as Linux does.
const MOST_LINKS: usize = 40;

/// What a name in the archive stands for.
#[derive(Clone)]
enum Target {
    File(Range<u64>),
    Name(Vec<u8>),
}

/// The bytes of the file that each link leads to, in the order of the links; none where it leads out of the archive.
///
/// A hard link means the last member of its name before it, a symbolic one the last of all, as when the archive is unpacked
/// from its beginning to its end. Walks once more over the archive and keeps all names meanwhile.
///
/// # Errors
///
/// As [`walk`].
pub(super) fn resolve(file: &File, path: &Path, range: Range<u64>) -> Result<Vec<Option<Range<u64>>>> {
    let (mut by_name, mut links) = (HashMap::new(), Vec::new());
    walk(file, path, range, |Member { name, kind }| {
        let target = match kind {
            Kind::File(ref data) => Some(Target::File(data.clone())),
            Kind::Other(_) => None,
            Kind::HardLink(ref link) => by_name.get(&normal(link)).cloned(),
            Kind::SymbolicLink(ref link) => Some(Target::Name(from(&name, link))),
        };
        let is_link = matches!(kind, Kind::HardLink(_) | Kind::SymbolicLink(_));
        if is_link {
            links.push(target.clone());
        }
        match target {
            Some(target) => by_name.insert(normal(&name), target),
            None => by_name.remove(&normal(&name)),
        };
        Ok(())
    })?;
    Ok(links.into_iter().map(|link| follow(link?, &by_name)).collect())
}

fn follow(mut target: Target, by_name: &HashMap<Vec<u8>, Target>) -> Option<Range<u64>> {
    for _ in 0..MOST_LINKS {
        match target {
            Target::File(data) => return Some(data),
            Target::Name(name) => target = by_name.get(&name)?.clone(),
        }
    }
    None
}

/// The path that a symbolic link means, from the folder of the member.
fn from(member: &[u8], link: &[u8]) -> Vec<u8> {
    let folder = member.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    if link.starts_with(b"/") { normal(link) } else { normal(&[&member[..folder], link].concat()) }
}

/// A path without `.`, `..` and doubled strokes.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root: &[u8] = if path.starts_with(b"/") { b"/" } else { b"" };
    [root, &parts.join(&b'/')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_to_one_form() {
        for (path, expected) in [
            ("./a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/a/", "/a"),
            ("", ""),
        ] {
            assert_eq!(normal(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        for (member, link, expected) in [
            ("d/a", "b", "d/b"),
            ("d/a", "../b", "b"),
            ("a", "./b", "b"),
            ("d/a", "/b", "/b"),
            ("./d/a", "e/b", "d/e/b"),
        ] {
            assert_eq!(from(member.as_bytes(), link.as_bytes()), expected.as_bytes(), "{member} {link}");
        }
    }
}
