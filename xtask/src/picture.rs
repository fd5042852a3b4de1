//! `cargo xtask picture`: the crates and what they use, drawn into [`FILE`].
//!
//! An arrow that others imply is left out: who uses the trainer uses what it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::anyhow;
use cargo_metadata::{DependencyKind, Metadata};
use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};

/// Where the picture lies.
pub(crate) const FILE: &str = "docs/crates.svg";

/// What each crate uses, by folder.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Draws it anew.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn run(metadata: &Metadata) -> anyhow::Result<()> {
    Ok(std::fs::write(metadata.workspace_root.join(FILE), draw(metadata)?)?)
}

/// The picture as SVG.
///
/// # Errors
/// If the layout is refused.
pub(crate) fn draw(metadata: &Metadata) -> anyhow::Result<String> {
    let mut parser = DotParser::new(&dot(&without_implied(&arrows(metadata))));
    let graph = parser.process().map_err(|error| anyhow!("layout of the crates: {error}"))?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&graph);
    let mut picture = SVGWriter::new();
    builder.get().do_it(false, false, false, &mut picture);
    Ok(picture.finalize())
}

/// The crates under `crates/` and what they need to be built, tests aside.
fn arrows(metadata: &Metadata) -> Arrows {
    let folder = |package: &cargo_metadata::Package| {
        let manifest = package.manifest_path.strip_prefix(metadata.workspace_root.join("crates")).ok()?;
        Some(manifest.parent()?.to_string())
    };
    let packages = metadata.workspace_packages();
    let names: BTreeMap<&str, String> =
        packages.iter().filter_map(|package| Some((package.name.as_str(), folder(package)?))).collect();
    let uses = |package: &cargo_metadata::Package| {
        let built = package.dependencies.iter().filter(|used| used.kind == DependencyKind::Normal);
        built.filter_map(|used| names.get(used.name.as_str()).cloned()).collect()
    };
    packages.iter().filter_map(|package| Some((folder(package)?, uses(package)))).collect()
}

/// The arrows that no detour replaces.
fn without_implied(arrows: &Arrows) -> Arrows {
    let reaches = |from: &str, to: &str| {
        let mut open = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(arrows[next].iter().map(String::as_str));
            }
        }
        seen.contains(to)
    };
    let needed = |uses: &BTreeSet<String>| {
        let by_detour = |to: &str| uses.iter().any(|other| other != to && reaches(other, to));
        uses.iter().filter(|to| !by_detour(to)).cloned().collect()
    };
    arrows.iter().map(|(name, uses)| (name.clone(), needed(uses))).collect()
}

/// The graph in the language of Graphviz.
fn dot(arrows: &Arrows) -> String {
    let mut text = "digraph crates {\n".to_owned();
    for name in arrows.keys() {
        let _ = writeln!(text, "  {name} [shape=box, label=\"{name}\"];");
    }
    for (from, uses) in arrows {
        for to in uses {
            let _ = writeln!(text, "  {from} -> {to};");
        }
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_others_imply_is_left_out() {
        let uses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let arrows = Arrows::from([
            ("cli".to_owned(), uses(&["trainer", "model", "kernels"])),
            ("trainer".to_owned(), uses(&["model"])),
            ("model".to_owned(), uses(&["kernels"])),
            ("kernels".to_owned(), uses(&[])),
        ]);
        let drawn = dot(&without_implied(&arrows));
        assert_eq!(drawn.matches("->").count(), 3, "{drawn}");
        assert!(drawn.contains("cli -> trainer") && drawn.contains("model -> kernels"), "{drawn}");
    }

    #[test]
    fn the_picture_is_of_these_crates() {
        let metadata = crate::workspace_metadata().unwrap();
        let drawn = draw(&metadata).unwrap();
        assert!(["trainer", "vectors", "network"].iter().all(|name| drawn.contains(name)));
        let there = std::fs::read_to_string(metadata.workspace_root.join(FILE)).unwrap();
        assert_eq!(there, drawn, "run `cargo xtask picture`");
    }
}
