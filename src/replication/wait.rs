//! Waiting for data: a fetch that lacks bytes parks once and is woken once (Kafka's purgatory, the one Kafka word we replace).
//!
//! A [`FetchWait`] counts the bytes that its request still lacks. Each append to a partition where it is registered takes away what
//! became readable; at zero it wakes its task. Register first, then look again: data that comes between the look and the
//! registration would otherwise be missed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// One parked request. Wakes when enough bytes became readable, or when something it watches changed its role.
#[derive(Debug)]
pub struct FetchWait {
    lacking_bytes: AtomicI64,
    ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl FetchWait {
    /// A wait for `lacking_bytes` more bytes; at least one.
    #[must_use]
    pub fn new(lacking_bytes: i64) -> Arc<Self> {
        Arc::new(Self {
            lacking_bytes: AtomicI64::new(lacking_bytes.max(1)),
            ended: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    /// `bytes` more are readable.
    pub fn add(&self, bytes: i64) {
        if self.lacking_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.wake();
        }
    }

    /// Ends the wait whatever is lacking: the role of a partition changed, or the broker stops.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the wait was ended for another reason than enough bytes: the request is answered with what there is.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.lacking_bytes.load(Ordering::Acquire) <= 0 || self.was_ended()
    }
}

/// Future that is ready when the wait is over.
pub struct Waiting(pub Arc<FetchWait>);

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_over() {
            return Poll::Ready(());
        }
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.0.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The requests parked on one partition.
#[derive(Debug, Default)]
pub struct Waiters(Mutex<Vec<Arc<FetchWait>>>);

impl Waiters {
    /// Parks `wait` here until [`Waiters::remove`].
    pub fn register(&self, wait: &Arc<FetchWait>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(wait));
    }

    /// Takes `wait` out again. Cost: linear in the number of waiters of this partition.
    pub fn remove(&self, wait: &Arc<FetchWait>) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = waiters.iter().position(|other| Arc::ptr_eq(other, wait)) {
            waiters.swap_remove(place);
        }
        if waiters.is_empty() {
            waiters.shrink_to(4);
        }
    }

    /// Tells every waiter that `bytes` more are readable.
    pub fn add(&self, bytes: i64) {
        for wait in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            wait.add(bytes);
        }
    }

    /// Ends every wait.
    pub fn end_all(&self) {
        for wait in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            wait.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_when_the_lacking_bytes_arrived_and_not_before() {
        let waiters = Waiters::default();
        let wait = FetchWait::new(100);
        waiters.register(&wait);
        waiters.add(99);
        assert!(!wait.is_over());
        let waiting = tokio::spawn(Waiting(Arc::clone(&wait)));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        waiters.add(1);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_role_ends_every_wait() {
        let waiters = Waiters::default();
        let wait = FetchWait::new(i64::MAX);
        waiters.register(&wait);
        waiters.end_all();
        Waiting(wait).await;
    }

    #[test]
    fn a_removed_wait_is_told_nothing() {
        let waiters = Waiters::default();
        let wait = FetchWait::new(1);
        waiters.register(&wait);
        waiters.remove(&wait);
        waiters.add(5);
        assert!(!wait.is_over());
    }
}
