//! Waiting for data: a fetch that lacks bytes parks once and is woken once (Kafka's purgatory, the one Kafka word we replace).
//!
//! A [`FetchWait`] counts the bytes that its request still lacks. Each append to a partition where it is registered takes away what
//! became readable; at zero it wakes its task. Register first, then look again: data that comes between the look and the
//! registration would otherwise be missed.
//!
//! A follower's fetch session waits for thousands of partitions all the time. It registers its [`News`] once with each and is told which
//! ones to look at (as epoll tells of files): a fetch costs as many looks as there are partitions with something new.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::types::TopicId;

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

/// Partitions of one fetch session that are to be looked at, in the order in which they were told, each once.
#[derive(Debug, Default)]
pub struct News {
    told: Mutex<Told>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Told {
    order: Vec<(TopicId, i32)>,
    known: HashSet<(TopicId, i32)>,
}

impl News {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is to be looked at; with `wake` at once, else when somebody looks anyway.
    pub fn tell(&self, partition: (TopicId, i32), wake: bool) {
        let mut told = self.told();
        if told.known.insert(partition) {
            told.order.push(partition);
        }
        drop(told);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes what was told. What is told from here on is seen by the next call: take first, then look.
    #[must_use]
    pub fn take(&self) -> Vec<(TopicId, i32)> {
        std::mem::take(&mut *self.told()).order
    }

    /// Waits until something was told that is not to wait. May return without any: take, look, wait again. Wakes one of those who wait.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Has another one wake in the place of who was woken and does not look.
    pub fn pass_on(&self) {
        self.wake.notify_one();
    }
}

/// The fetch sessions that watch one partition.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<Vec<Weak<News>>>);

impl Watchers {
    /// `news` is told of this partition from here on, until it ends. Cost: linear in the sessions that watch, one for each follower.
    pub fn add(&self, news: &Arc<News>) {
        let mut watching = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !watching.iter().any(|other| Weak::as_ptr(other) == Arc::as_ptr(news)) {
            watching.retain(|other| other.strong_count() > 0);
            watching.push(Arc::downgrade(news));
        }
    }

    /// Tells every session that `partition` is to be looked at, with `wake` at once.
    pub fn tell(&self, partition: (TopicId, i32), wake: bool) {
        let watching = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for news in watching.iter().filter_map(Weak::upgrade) {
            news.tell(partition, wake);
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

    fn key(index: i32) -> (TopicId, i32) {
        (TopicId::new(uuid::Uuid::from_u128(7)).unwrap(), index)
    }

    #[tokio::test]
    async fn a_session_is_told_of_each_partition_once_and_woken_for_those_that_do_not_wait() {
        let (watchers, news) = (Watchers::default(), Arc::new(News::default()));
        watchers.add(&news);
        watchers.add(&news);
        watchers.tell(key(3), false);
        watchers.tell(key(1), false);
        watchers.tell(key(3), false);
        assert!(futures_util::poll!(std::pin::pin!(news.woken())).is_pending());
        assert_eq!(news.take(), [key(3), key(1)]);
        watchers.tell(key(3), true);
        news.woken().await;
        news.pass_on();
        news.woken().await;
        assert_eq!((news.take(), news.take()), (vec![key(3)], vec![]));
    }

    #[test]
    fn a_session_that_ended_is_told_nothing_and_gives_its_place_up() {
        let watchers = Watchers::default();
        for _ in 0..5 {
            watchers.add(&Arc::new(News::default()));
        }
        watchers.tell(key(0), true);
        assert_eq!(watchers.0.lock().unwrap().len(), 1);
    }
}
