//! Which crate may depend on which: arrows point to a strictly lower layer, and candle stays out of the lower crates.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, NodeDep, PackageId};

use super::Offence;

/// Folder under `crates/` and its layer.
const LAYERS: [(&str, u8); 18] = [
    ("cli", 5),
    ("trainer", 4),
    ("model", 3),
    ("emulator", 2),
    ("engine", 2),
    ("ops", 2),
    ("prune", 2),
    ("cuda", 1),
    ("inference", 1),
    ("kernels", 1),
    ("oneshot", 1),
    ("formats", 1),
    ("data", 1),
    ("network", 0),
    ("vectors", 0),
    ("sparsity", 0),
    ("collectives", 0),
    ("testing", 0),
];

/// Folders whose crates must build without candle.
const CANDLE_FREE: [&str; 13] = [
    "collectives",
    "cuda",
    "inference",
    "vectors",
    "oneshot",
    "engine",
    "network",
    "emulator",
    "kernels",
    "formats",
    "data",
    "sparsity",
    "testing",
];

/// A crate under `crates/` and what it depends on, by package name.
#[derive(Debug)]
pub(super) struct Crate {
    folder: String,
    package: String,
    /// Members of the workspace that it names itself, for any purpose.
    members: BTreeSet<String>,
    /// Everything that building or testing it needs, down to the last.
    closure: BTreeSet<String>,
}

/// The crates of the workspace that lie under `crates/`.
pub(super) fn crates(metadata: &Metadata) -> anyhow::Result<Vec<Crate>> {
    let resolve = metadata.resolve.as_ref().context("`cargo metadata` resolved nothing")?;
    let graph: BTreeMap<&PackageId, &[NodeDep]> =
        resolve.nodes.iter().map(|node| (&node.id, node.deps.as_slice())).collect();
    let name = |id: &PackageId| metadata[id].name.to_string();
    let mut crates = Vec::new();
    for package in metadata.workspace_packages() {
        let Ok(manifest) = package.manifest_path.strip_prefix(metadata.workspace_root.join("crates")) else {
            continue;
        };
        let direct = graph[&package.id];
        crates.push(Crate {
            folder: manifest.parent().context("a manifest without a folder")?.to_string(),
            package: package.name.to_string(),
            members: direct
                .iter()
                .map(|dependency| &dependency.pkg)
                // A crate may name itself, so that its tests have features of its own.
                .filter(|id| metadata.workspace_members.contains(id) && **id != package.id)
                .map(name)
                .collect(),
            closure: closure(&graph, direct).into_iter().map(name).collect(),
        });
    }
    Ok(crates)
}

/// Everything reachable from `direct`; the test dependencies of others do not count.
fn closure<'a>(
    graph: &BTreeMap<&'a PackageId, &'a [NodeDep]>,
    direct: &'a [NodeDep],
) -> BTreeSet<&'a PackageId> {
    let needed_to_build = |dependency: &&NodeDep| {
        dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
    };
    let mut reached = BTreeSet::new();
    let mut open: Vec<&PackageId> = direct.iter().map(|dependency| &dependency.pkg).collect();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(graph[id].iter().filter(needed_to_build).map(|dependency| &dependency.pkg));
        }
    }
    reached
}

/// The arrows that point sideways or up, crates without a layer or with another name, and candle where it must not be.
pub(super) fn check(crates: &[Crate]) -> Vec<Offence> {
    let folder_of = |package: &str| {
        crates.iter().find(|candidate| candidate.package == package).map(|found| found.folder.as_str())
    };
    let mut offences = Vec::new();
    for each in crates {
        let manifest = format!("crates/{}/Cargo.toml", each.folder);
        let mut offend = |message: String| offences.push(Offence::in_file(&manifest, message));
        let Some(layer) = layer(&each.folder) else {
            offend(format!("`{}` has no layer; add it to LAYERS in xtask/src/tidy/arrows.rs", each.folder));
            continue;
        };
        let package = package_name(&each.folder);
        if each.package != package {
            offend(format!("the package is called `{}`, expected `{package}`", each.package));
        }
        for member in &each.members {
            match folder_of(member).and_then(|folder| Some((folder, self::layer(folder)?))) {
                Some((_, lower)) if lower < layer => {}
                Some((folder, other)) => offend(format!(
                    "`{}` (layer {layer}) depends on `{folder}` (layer {other}); arrows point to a lower layer only",
                    each.folder
                )),
                None => offend(format!("depends on `{member}`, which has no layer")),
            }
        }
        if CANDLE_FREE.contains(&each.folder.as_str()) {
            for candle in each.closure.iter().filter(|name| name.starts_with("candle-")) {
                offend(format!(
                    "`{candle}` is among its dependencies; find the way with `cargo tree -p {package} -i {candle}`"
                ));
            }
        }
    }
    offences
}

fn layer(folder: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == folder).map(|(_, layer)| *layer)
}

fn package_name(folder: &str) -> String {
    if folder == "cli" { "sparse-train".to_owned() } else { format!("sparse-{folder}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn krate(folder: &str, members: &[&str], closure: &[&str]) -> Crate {
        Crate {
            folder: folder.to_owned(),
            package: package_name(folder),
            members: names(members),
            closure: names(closure),
        }
    }

    fn only_message(crates: &[Crate]) -> String {
        let offences = check(crates);
        assert_eq!(offences.len(), 1, "{offences:?}");
        offences[0].to_string()
    }

    #[test]
    fn arrows_down_pass() {
        let crates = [
            krate("cli", &["sparse-ops", "sparse-sparsity"], &["candle-core"]),
            krate("ops", &[], &["candle-core"]),
            krate("sparsity", &[], &["serde"]),
        ];
        assert_eq!(check(&crates), []);
    }

    #[test]
    fn an_arrow_up_or_sideways_is_found() {
        let up = [krate("data", &["sparse-trainer"], &[]), krate("trainer", &[], &[])];
        assert_eq!(
            only_message(&up),
            "crates/data/Cargo.toml: `data` (layer 1) depends on `trainer` (layer 4); arrows point to a lower layer only"
        );
        let sideways = [krate("prune", &["sparse-ops"], &[]), krate("ops", &[], &[])];
        assert!(only_message(&sideways).contains("`prune` (layer 2) depends on `ops` (layer 2)"));
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert!(only_message(&[krate("extra", &[], &[])]).contains("`extra` has no layer; add it to LAYERS"));
        assert!(
            only_message(&[krate("trainer", &["sparse-tests"], &[])])
                .contains("depends on `sparse-tests`, which has no layer")
        );
    }

    #[test]
    fn another_package_name_is_found() {
        let renamed = Crate { package: "my-data".to_owned(), ..krate("data", &[], &[]) };
        assert!(only_message(&[renamed]).contains("called `my-data`, expected `sparse-data`"));
    }

    #[test]
    fn candle_below_the_lower_crates_is_found() {
        for folder in CANDLE_FREE {
            let message = only_message(&[krate(folder, &[], &["candle-nn", "serde"])]);
            assert!(message.contains("`candle-nn` is among its dependencies"), "{message}");
        }
    }

    #[test]
    fn the_graph_of_this_workspace_is_read() {
        let crates = crates(&crate::workspace_metadata().unwrap()).unwrap();
        let of = |folder: &str| crates.iter().find(|each| each.folder == folder).unwrap();
        assert!(of("trainer").members.contains("sparse-prune"));
        assert!(of("trainer").closure.contains("candle-core"));
        assert!(
            of("formats").closure.contains("safetensors") && of("formats").closure.contains("serde_core")
        );
        assert_eq!(of("cli").package, "sparse-train");
        assert!(!crates.iter().any(|each| each.package == "xtask"));
    }
}
