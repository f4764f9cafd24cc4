//! SIGBUS: the disk failed under a memory map. The process says so in one line and ends (rule S2).
#![allow(unsafe_code)]

use std::io;

/// Exit code after a SIGBUS: 128 + 7, as a shell would report the signal.
pub const SIGBUS_EXIT_CODE: i32 = 135;

const REASON: &[u8] = b"ketcd: fatal: a memory-mapped log file could not be read (SIGBUS): disk error or file cut by someone else; stopping\n";

/// Installs the handler for the whole process. Call once at start, before any map is touched.
///
/// # Errors
/// What the system says.
pub fn install() -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int) = stop;
    // SAFETY: the structure is plain data for which zero is valid; the handler only calls write and _exit, which are
    // async-signal-safe.
    let answer = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut())
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn stop(_signal: libc::c_int) {
    // SAFETY: both calls are async-signal-safe and the message is static.
    unsafe {
        libc::write(libc::STDERR_FILENO, REASON.as_ptr().cast(), REASON.len());
        libc::_exit(SIGBUS_EXIT_CODE);
    }
}
