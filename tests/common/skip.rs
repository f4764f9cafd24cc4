//! Tests that cannot run here say so by name: a skip is printed, counted, and a failure where it must not happen.
#![allow(dead_code, reason = "each test target uses a part of this")]

use std::io::Write;

/// Skips the running test because of `why`. With `KETCD_NO_SKIPS` (set by `.ci/run`) this fails it instead.
/// `make test` counts the lines of the file that `KETCD_SKIP_LOG` names.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {why}\n", thread.name().unwrap_or("a test"));
    assert!(std::env::var_os("KETCD_NO_SKIPS").is_none(), "{line}KETCD_NO_SKIPS is set");
    // The test harness hides what a passing test prints with `println!`, but not this.
    std::io::stderr().write_all(line.as_bytes()).ok();
    if let Some(path) = std::env::var_os("KETCD_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).ok();
    }
}
