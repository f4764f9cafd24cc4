//! The guard of the data runtimes: threads that serve connections must never wait for a disk.
//!
//! A data thread calls [`forbid_blocking`] once; from then on every file system call of this room that may wait (open, fsync,
//! fallocate, rename, a read of pages that are absent) is counted there, and fails an assertion in debug builds.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static FORBIDDEN: Cell<bool> = const { Cell::new(false) };
}

static BLOCKED_CALLS: AtomicU64 = AtomicU64::new(0);

/// While it lives, calls that may wait for a disk are forbidden on the thread that made it.
#[must_use = "blocking is forbidden only while the guard lives"]
#[derive(Debug)]
pub struct BlockingForbidden {
    before: bool,
    not_send: PhantomData<*const ()>,
}

/// Forbids calls that may wait for a disk on this thread, until the guard is dropped.
pub fn forbid_blocking() -> BlockingForbidden {
    BlockingForbidden { before: FORBIDDEN.replace(true), not_send: PhantomData }
}

impl Drop for BlockingForbidden {
    fn drop(&mut self) {
        FORBIDDEN.set(self.before);
    }
}

/// How many forbidden calls were made in this process. Anything but 0 is a defect.
#[must_use]
pub fn blocked_calls() -> u64 {
    BLOCKED_CALLS.load(Ordering::Relaxed)
}

/// Says that `call` comes next and may wait for a disk.
pub(super) fn may_block(call: &str) {
    if FORBIDDEN.get() {
        BLOCKED_CALLS.fetch_add(1, Ordering::Relaxed);
        debug_assert!(std::thread::panicking(), "{call} on a thread that must not wait for a disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_call_on_a_guarded_thread_is_caught() {
        let caught = std::thread::spawn(|| {
            let _guard = forbid_blocking();
            std::panic::catch_unwind(|| may_block("open")).is_err()
        });
        assert_eq!(caught.join().unwrap(), cfg!(debug_assertions), "in a release build it is only counted");
        assert!(blocked_calls() > 0);
        may_block("open");
    }
}
