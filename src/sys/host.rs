//! The machine: limits, page size, boot id.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files and maps this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_NOFILE`, the soft limit.
    pub open_files: u64,
    /// `vm.max_map_count`.
    pub maps: u64,
}

/// Raises the soft limit of open files to the hard one and returns the limits that hold then.
pub fn raise_limits() -> Limits {
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the soft limit as it was, and that is what we report.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    limits()
}

/// The limits that hold now.
#[must_use]
pub fn limits() -> Limits {
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65_530);
    Limits { open_files, maps }
}

/// The id of this boot of the machine. The page cache lives exactly as long (rule B2).
///
/// # Errors
/// If the system has none; then nothing can be proved about the page cache.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The name of this machine, as `uname -n` gives it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Has the kernel give this process ordinary pages only. The allocator's first gigabyte would else be backed by huge pages, and an
/// idle broker hold three times the memory that it uses. Call before threads are started. Nothing is lost if the system refuses.
pub fn use_ordinary_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_files_is_raised_to_the_hard_one() {
        let raised = raise_limits();
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raised.open_files, hard);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
