//! How much memory the process may still take.

use std::path::Path;

/// Memory that is left, and what limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    /// Bytes.
    pub(crate) bytes: u64,
    /// What has so many left, in words.
    pub(crate) limit: &'static str,
}

/// What is left by the tightest limit; `None` where the system does not tell.
///
/// Memory that the system can swap out is counted as free, so that nothing is refused that would run, if slowly.
pub(crate) fn available() -> Option<Available> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let proc = |name: &str| read(&Path::new("/proc").join(name));
    let machine = proc("meminfo").and_then(|text| machine(&text));
    let swap = proc("meminfo").and_then(|text| kibibytes(&text, "SwapFree:")).unwrap_or(0);
    let groups = proc("self/cgroup").and_then(|text| group(&text, Path::new("/sys/fs/cgroup"), swap, &read));
    let address =
        address_space(&proc("self/limits").unwrap_or_default(), &proc("self/status").unwrap_or_default());
    let all = [(machine, "the machine"), (groups, "the control group (container)"), (address, "ulimit -v")];
    let known = all.into_iter().filter_map(|(bytes, limit)| Some(Available { bytes: bytes?, limit }));
    known.min_by_key(|available| available.bytes)
}

/// Free memory and swap of the machine, from `/proc/meminfo`.
fn machine(text: &str) -> Option<u64> {
    Some(kibibytes(text, "MemAvailable:")?.saturating_add(kibibytes(text, "SwapFree:").unwrap_or(0)))
}

/// The bytes of a line such as `VmSize:   1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the limit on address space leaves, from `/proc/self/limits` and `/proc/self/status`.
fn address_space(limits: &str, status: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(kibibytes(status, "VmSize:").unwrap_or(0)))
}

/// What the control groups of the process leave, its own and those above it; `text` is `/proc/self/cgroup`.
fn group(text: &str, root: &Path, swap: u64, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let second = controllers.is_empty();
        if !second && !controllers.split(',').any(|name| name == "memory") {
            return None;
        }
        let root = if second { root.to_path_buf() } else { root.join("memory") };
        let levels = Path::new(path.trim_start_matches('/')).ancestors();
        levels.filter_map(|level| level_left(&root.join(level), second, swap, read)).min()
    };
    text.lines().filter_map(of_line).min()
}

/// What one control group leaves. Pages of files that can be dropped do not count as used.
fn level_left(folder: &Path, second: bool, swap: u64, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let names = match second {
        true => ["memory.max", "memory.current", "inactive_file "],
        false => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "],
    };
    let number = |name: &str| read(&folder.join(name)).and_then(|text| text.trim().parse::<u64>().ok());
    let (limit, used) = (number(names[0])?, number(names[1])?);
    let stat = read(&folder.join("memory.stat")).unwrap_or_default();
    let droppable = stat.lines().find_map(|line| line.strip_prefix(names[2])?.trim().parse::<u64>().ok());
    let swap = match second {
        true => swap.min(number("memory.swap.max").unwrap_or(u64::MAX)),
        false => swap,
    };
    Some(limit.saturating_sub(used.saturating_sub(droppable.unwrap_or(0))).saturating_add(swap))
}
