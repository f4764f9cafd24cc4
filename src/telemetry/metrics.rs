//! Metrics: one function per event, named after the event. See [`super::exposition`] for how they look from outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::apis::API_KEY_END;
use super::closing::ClosedBecause;
use super::counters::hot;
pub use super::exposition::{Scrape, render};

/// Kafka's error codes run from -1 to below this number.
const ERROR_CODE_END: usize = 160;

/// Counters of events that are rare enough to be shared by all threads.
#[derive(Debug)]
pub(super) struct Rare {
    pub(super) connections_accepted: AtomicU64,
    pub(super) connections_open: AtomicI64,
    pub(super) connections_closed: [AtomicU64; ClosedBecause::ALL.len()],
    pub(super) accept_errors: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) trailing_bytes_requests: AtomicU64,
    /// By API key and error code: `key * ERROR_CODE_END + code + 1`.
    pub(super) request_errors: [AtomicU64; (API_KEY_END + 1) * ERROR_CODE_END],
}

pub(super) static RARE: Rare = Rare {
    connections_accepted: AtomicU64::new(0),
    connections_open: AtomicI64::new(0),
    connections_closed: [const { AtomicU64::new(0) }; ClosedBecause::ALL.len()],
    accept_errors: AtomicU64::new(0),
    panics: AtomicU64::new(0),
    trailing_bytes_requests: AtomicU64::new(0),
    request_errors: [const { AtomicU64::new(0) }; (API_KEY_END + 1) * ERROR_CODE_END],
};

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Where the API `key` is counted: keys that Kafka does not know share the last place.
fn api_index(key: i16) -> usize {
    usize::try_from(key).map_or(API_KEY_END, |key| key.min(API_KEY_END))
}

/// A connection was accepted and is now open.
pub fn connection_accepted() {
    add(&RARE.connections_accepted, 1);
    RARE.connections_open.fetch_add(1, Ordering::Relaxed);
}

/// A connection that was open is no more.
pub fn connection_closed(because: ClosedBecause) {
    RARE.connections_open.fetch_sub(1, Ordering::Relaxed);
    count_closed(because);
}

/// A connection was refused before it was open.
pub fn connection_refused(because: ClosedBecause) {
    count_closed(because);
}

fn count_closed(because: ClosedBecause) {
    if let Some(counter) = RARE.connections_closed.get(because.index()) {
        add(counter, 1);
    }
}

/// Accepting failed (out of file descriptors, mostly).
pub fn accept_failed() {
    add(&RARE.accept_errors, 1);
}

/// A handler panicked; its connection was closed.
pub fn handler_panicked() {
    add(&RARE.panics, 1);
}

/// The answer to a request of the API `key` is ready and its turn has come, `elapsed` after the request was read.
pub fn request_done(key: i16, elapsed: Duration) {
    if let Some(durations) = hot().requests.get(api_index(key)) {
        durations.observe(elapsed);
    }
}

/// A request of the API `key` was answered with the Kafka error `code`, wholly or for one of its parts.
pub fn request_error(key: i16, code: i16) {
    let code = usize::try_from(i32::from(code) + 1).map_or(0, |code| code.min(ERROR_CODE_END - 1));
    if let Some(counter) = RARE.request_errors.get(api_index(key) * ERROR_CODE_END + code) {
        add(counter, 1);
    }
}

/// Every (API key, error code, count) that was seen.
pub(super) fn errors_seen() -> impl Iterator<Item = (i16, i16, u64)> {
    RARE.request_errors.iter().enumerate().filter_map(|(index, counter)| {
        let count = counter.load(Ordering::Relaxed);
        let key = i16::try_from(index / ERROR_CODE_END).ok()?;
        let code = i16::try_from(index % ERROR_CODE_END).ok()?.checked_sub(1)?;
        (count > 0).then_some((key, code, count))
    })
}

/// A request had bytes after its last field (Kafka ignores them, so do we).
pub fn trailing_bytes() {
    add(&RARE.trailing_bytes_requests, 1);
}

/// Bytes came in from clients.
pub fn bytes_received(bytes: usize) {
    add(&hot().received_bytes, bytes as u64);
}

/// Bytes went out to clients.
pub fn bytes_sent(bytes: usize) {
    add(&hot().sent_bytes, bytes as u64);
}

/// Records were accepted from a producer.
pub fn produced(records: u64, bytes: usize) {
    add(&hot().produced_records, records);
    add(&hot().produced_bytes, bytes as u64);
}

/// Records were handed to a consumer.
pub fn fetched(bytes: usize) {
    add(&hot().fetched_records_bytes, bytes as u64);
}

type ScrapeFn = Arc<dyn Fn(&mut Scrape<'_>) + Send + Sync>;

static ON_SCRAPE: Mutex<BTreeMap<u64, ScrapeFn>> = Mutex::new(BTreeMap::new());
static NEXT_SCRAPE_ID: AtomicU64 = AtomicU64::new(0);

/// Keeps a function of [`on_scrape`] registered until it is dropped.
#[derive(Debug)]
#[must_use = "the function is forgotten when this is dropped"]
pub struct ScrapeRegistration(u64);

impl Drop for ScrapeRegistration {
    fn drop(&mut self) {
        ON_SCRAPE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Calls `tell` at every scrape, to tell numbers that are held elsewhere: partition counts, log sizes, budgets in use.
/// `tell` runs on the control runtime and must not block.
pub fn on_scrape(tell: impl Fn(&mut Scrape<'_>) + Send + Sync + 'static) -> ScrapeRegistration {
    let id = NEXT_SCRAPE_ID.fetch_add(1, Ordering::Relaxed);
    ON_SCRAPE.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(tell));
    ScrapeRegistration(id)
}

/// The functions to call, taken out of the lock so that one may register another.
pub(super) fn scrape_functions() -> Vec<ScrapeFn> {
    ON_SCRAPE.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
}

/// Connections that are open now, on every listener.
#[must_use]
pub fn connections_open() -> i64 {
    RARE.connections_open.load(Ordering::Relaxed)
}

/// How many connections ended `because`, since the process started.
#[must_use]
pub fn connections_closed_total(because: ClosedBecause) -> u64 {
    RARE.connections_closed.get(because.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
}
