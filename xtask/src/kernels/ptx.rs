//! PTX as text: its hash line, its version, and what the assembler says of it.

use anyhow::{Context, bail};

const HASH: &str = "// source ";

/// What a kernel takes on one architecture, or at most on several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) kernel: String,
    pub(super) registers: u32,
    /// Bytes of shared memory of a block.
    pub(super) shared: u32,
    /// Bytes of registers that are spilled.
    pub(super) spills: u32,
}

impl Usage {
    pub(super) fn take_most(&mut self, other: &Self) {
        self.registers = self.registers.max(other.registers);
        self.shared = self.shared.max(other.shared);
        self.spills = self.spills.max(other.spills);
    }
}

/// The text with its hash in front.
pub(super) fn with_hash(text: &str, hash: u32) -> String {
    format!("{HASH}{hash:08x}\n{text}")
}

/// The hash in front of a text.
pub(super) fn hash_of(text: &str) -> Option<u32> {
    u32::from_str_radix(text.lines().next()?.strip_prefix(HASH)?, 16).ok()
}

/// The version that a text asks for.
pub(super) fn version(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix(".version ")).map(str::trim)
}

/// The text with the lowest version that assembles. Versions below 6.0 do not know compute capability 7.0.
pub(super) fn lowest_version(
    text: &str,
    assembles: impl Fn(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<String> {
    const VERSIONS: [&str; 16] = [
        "6.0", "6.1", "6.3", "6.4", "6.5", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.8", "8.0", "8.3",
        "8.5", "8.8",
    ];
    let own = version(text).context("PTX without a version")?;
    let line = format!(".version {own}");
    let body: Vec<&str> = text.lines().filter(|line| !line.starts_with("//")).collect();
    let body = body.join("\n");
    for version in VERSIONS {
        let lowered = body.replacen(&line, &format!(".version {version}"), 1).trim_start().to_owned() + "\n";
        if assembles(&lowered)? {
            return Ok(lowered);
        }
    }
    bail!("the assembler refuses it with every PTX version")
}

/// What `ptxas -v` says of each kernel.
pub(super) fn usages(report: &str) -> Vec<Usage> {
    let number_before = |line: &str, words: &str| -> u32 {
        let before = line.split(words).next().unwrap_or_default();
        before.rsplit([' ', ',']).find_map(|word| word.parse().ok()).unwrap_or(0)
    };
    let mut usages: Vec<Usage> = Vec::new();
    for line in report.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            usages.push(Usage { kernel, ..Usage::default() });
        }
        let Some(usage) = usages.last_mut() else { continue };
        if line.contains("bytes spill stores") {
            usage.spills = number_before(line, " bytes spill stores");
        }
        if line.contains(" registers") {
            usage.registers = number_before(line, " registers");
            if line.contains(" bytes smem") {
                usage.shared = number_before(line, " bytes smem");
            }
        }
    }
    usages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let report = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'gate_f32' for 'sm_70'\n\
            ptxas info    : Function properties for gate_f32\n    \
            8 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n\
            ptxas info    : Used 34 registers, used 1 barriers, 64 bytes smem, 396 bytes cmem[0]\n\
            ptxas info    : Compiling entry function 'fold' for 'sm_70'\n    \
            0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 20 registers, 396 bytes cmem[0]\n";
        let usage = |kernel: &str, [registers, shared, spills]: [u32; 3]| Usage {
            kernel: kernel.to_owned(),
            registers,
            shared,
            spills,
        };
        assert_eq!(usages(report), [usage("gate_f32", [34, 64, 12]), usage("fold", [20, 0, 0])]);
    }

    #[test]
    fn the_lowest_version_that_assembles_is_taken() {
        let text = "// made by a compiler\n\n.version 8.8\n.target sm_70\n";
        let lowered = lowest_version(text, |text| Ok(version(text) >= Some("6.4"))).unwrap();
        assert_eq!(lowered, ".version 6.4\n.target sm_70\n");
        assert!(lowest_version(text, |_| Ok(false)).is_err());
        assert_eq!(hash_of(&with_hash(&lowered, 0xab12)), Some(0xab12));
        assert_eq!(hash_of(&lowered), None);
    }
}
