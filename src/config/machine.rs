//! What the machine says: its name and its memory limit, read from files of the kernel.

use std::collections::BTreeMap;
use std::path::Path;

use super::load::ReadText;

/// The host's name: `HOSTNAME`, else the kernel's, else `localhost`.
pub fn host_name(env: &BTreeMap<String, String>, read: &ReadText) -> String {
    env.get("HOSTNAME")
        .cloned()
        .or_else(|| read(Path::new("/proc/sys/kernel/hostname")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Memory that this process may use, in bytes: the smaller of the control group's limit and the machine's memory.
pub fn memory_limit_bytes(read: &ReadText) -> Option<u64> {
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.iter().find_map(|path| read(Path::new(path)).ok()?.trim().parse::<u64>().ok());
    let machine = read(Path::new("/proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
    });
    match (group, machine) {
        (Some(group), Some(machine)) => Some(group.min(machine)),
        (limit, other) => limit.or(other),
    }
}
