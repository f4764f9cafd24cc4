//! What the kernel tells about processes: the only reader of `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// What this process uses. `None` where the kernel does not tell.
#[derive(Debug, Default, Clone)]
pub struct Usage {
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Address space, maps included.
    pub virtual_bytes: Option<u64>,
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// The soft limit of open descriptors.
    pub open_files_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Memory maps.
    pub maps: Option<u64>,
    /// `vm.max_map_count`.
    pub maps_max: Option<u64>,
    /// CPU time, user and system.
    pub cpu: Option<Duration>,
}

/// Reads what this process uses. Costs some system calls, and time in proportion to the number of maps: for scrapes only.
#[must_use]
pub fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |field: &str| status_number(&status, field).map(|kib| kib * 1024);
    Usage {
        resident_bytes: kib("VmRSS:"),
        virtual_bytes: kib("VmSize:"),
        open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
        open_files_max: getrlimit(Resource::Nofile).current,
        threads: status_number(&status, "Threads:"),
        maps: fs::read("/proc/self/maps")
            .ok()
            .map(|maps| maps.iter().filter(|b| **b == b'\n').count() as u64),
        maps_max: fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|n| n.trim().parse().ok()),
        cpu: cpu_time(),
    }
}

fn status_number(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.split_ascii_whitespace().next()?.parse().ok()
}

/// `utime` and `stime` of `/proc/self/stat`, in clock ticks.
fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks.checked_mul(1000)?.checked_div(per_second)?))
}

/// A process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its program's name, as `ps` shows it.
    pub program: String,
}

/// The process that listens on the TCP `port` of this machine, if the kernel lets us see it: processes of other users and of
/// other containers are hidden.
#[must_use]
pub fn listener_of(port: u16) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if holds_socket(&entry.path(), &inodes) {
            let program = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(Holder { pid, program: program.trim().to_owned() });
        }
    }
    None
}

/// Inodes of the sockets in state LISTEN on `port`, from a table as `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?.parse().ok()?;
            (u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTEN).then_some(inode)
        })
        .collect()
}

fn holds_socket(process: &Path, inodes: &[String]) -> bool {
    let Ok(entries) = fs::read_dir(process.join("fd")) else { return false };
    entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0\n   \
            1: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 30 10 -1\n";
        assert_eq!(listening_inodes(table, 9092), [4711]);
        assert!(listening_inodes(table, 9093).is_empty());
    }

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = listener_of(listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.program.is_empty());
    }

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let usage = usage();
        assert!(usage.resident_bytes.unwrap() > 1 << 20);
        assert!(usage.open_files.unwrap() >= 3);
        assert!(usage.threads.unwrap() >= 1);
        assert!(usage.maps.unwrap() > 5);
        assert!(usage.cpu.is_some());
    }
}
