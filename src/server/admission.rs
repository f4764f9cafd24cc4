//! How many connections there are, in all and from each address (`max.connections`, `max.connections.per.ip`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::telemetry::closing::ClosedBecause;
use crate::telemetry::metrics;

/// A bound that a new connection would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMany {
    #[error("there are {max} connections, the most that max.connections allows")]
    InAll { max: usize },
    #[error("there are {max} connections from this address, the most that max.connections.per.ip allows")]
    FromAddress { max: usize },
}

/// Counts connections and keeps their bounds.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    per_address_max: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    none_left: Notify,
}

impl Admission {
    pub(super) fn new(max: usize, per_address_max: usize) -> Self {
        Self {
            max,
            per_address_max,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            none_left: Notify::new(),
        }
    }

    /// Counts one more connection, on the data runtime whose `load` is given.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        load: Arc<AtomicUsize>,
    ) -> Result<OpenConnection, TooMany> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open() >= self.max {
            return Err(TooMany::InAll { max: self.max });
        }
        let from_address = by_address.entry(address).or_insert(0);
        if *from_address >= self.per_address_max {
            return Err(TooMany::FromAddress { max: self.per_address_max });
        }
        *from_address += 1;
        self.open.fetch_add(1, Ordering::SeqCst);
        load.fetch_add(1, Ordering::Relaxed);
        metrics::connection_accepted();
        Ok(OpenConnection { admission: self.clone(), address, load, because: ClosedBecause::Shutdown })
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open.
    pub(super) async fn none_open(&self) {
        loop {
            let left = self.none_left.notified();
            if self.open() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One open connection; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    admission: Arc<Admission>,
    address: IpAddr,
    load: Arc<AtomicUsize>,
    /// Why it ended: set before the drop. A connection whose runtime is taken away ends by shutdown.
    pub(super) because: ClosedBecause,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        {
            let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(from_address) = by_address.get_mut(&self.address) {
                *from_address = from_address.saturating_sub(1);
                if *from_address == 0 {
                    by_address.remove(&self.address);
                }
            }
        }
        self.load.fetch_sub(1, Ordering::Relaxed);
        metrics::connection_closed(self.because);
        if self.admission.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.admission.none_left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_a_closed_connection_makes_room() {
        let admission = Arc::new(Admission::new(3, 2));
        let load = Arc::new(AtomicUsize::new(0));
        let a = IpAddr::from([127, 0, 0, 1]);
        let b = IpAddr::from([127, 0, 0, 2]);
        let first = admission.admit(a, load.clone()).unwrap();
        let _second = admission.admit(a, load.clone()).unwrap();
        assert_eq!(admission.admit(a, load.clone()).unwrap_err(), TooMany::FromAddress { max: 2 });
        let _third = admission.admit(b, load.clone()).unwrap();
        assert_eq!(admission.admit(b, load.clone()).unwrap_err(), TooMany::InAll { max: 3 });
        drop(first);
        let _fourth = admission.admit(a, load.clone()).unwrap();
        assert_eq!(load.load(Ordering::Relaxed), 3);
    }
}
