//! How a scenario runs: one at a time, since each has a machine's worth of processes, on threads in a namespace of its own if it asks
//! for one.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use rustix::thread::UnshareFlags;

use crate::network::Network;
use crate::skip;

/// Two clusters at once on a small machine would be two slow ones.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a scenario in its turn.
pub fn alone<F: Future<Output = ()>>(scenario: impl FnOnce() -> F + Send + 'static) {
    in_thread(move || block_on(scenario()));
}

/// Runs a scenario in its turn, in a network namespace of its own. Where the machine allows none it is skipped.
pub fn apart<F: Future<Output = ()>>(scenario: impl FnOnce(Network) -> F + Send + 'static) {
    in_thread(move || match network() {
        Ok(network) => block_on(scenario(network)),
        Err(why) => skip::skip(&format!("no network namespaces here: {why}")),
    });
}

/// Whether the machine allows network namespaces.
pub fn has_networks() -> bool {
    std::thread::spawn(|| network().is_ok()).join().unwrap_or(false)
}

/// A router in a new namespace for this thread, and for what it starts.
fn network() -> Result<Network, String> {
    // SAFETY: only the network changes; files and memory stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| error.to_string())?;
    Network::new()
}

fn in_thread(work: impl FnOnce() + Send + 'static) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(work).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn block_on(scenario: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(scenario);
}
