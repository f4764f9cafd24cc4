//! What an operation of the log answers: at once, or from a storage thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// A future that a storage thread completes.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The answer of an operation that seldom has to wait for a disk.
#[must_use = "a pending step does nothing visible until it is awaited"]
pub enum Step<T> {
    /// Done on the calling thread.
    Ready(T),
    /// Handed to a storage thread, because it would have waited for a disk. Runs whether or not it is awaited.
    Pending(BoxFuture<T>),
}

impl<T: Send + 'static> Step<T> {
    /// The answer, awaited if it is not there yet.
    pub async fn wait(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Pending(future) => future.await,
        }
    }

    /// The answer, with the thread parked until it is there. For threads that may wait: tools, tests, housekeeping.
    pub fn wait_blocking(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Pending(future) => block_on(future),
        }
    }

    /// The same step with its answer changed.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Step<U> {
        match self {
            Self::Ready(value) => Step::Ready(change(value)),
            Self::Pending(future) => Step::Pending(Box::pin(async move { change(future.await) })),
        }
    }

    /// The answer if it is there at once.
    pub fn ready(self) -> Option<T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Pending(_) => None,
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// The two ends of an answer to come: a storage thread sends, the caller awaits. `lost` is the answer if the sender is dropped
/// unsent, as at shutdown.
pub(super) fn promise<T: Send + 'static>(
    lost: impl FnOnce() -> T + Send + 'static,
) -> (oneshot::Sender<T>, Step<T>) {
    let (sender, receiver) = oneshot::channel();
    (sender, Step::Pending(Box::pin(async move { receiver.await.unwrap_or_else(|_| lost()) })))
}

/// Runs a future to its end on this thread.
fn block_on<T>(mut future: BoxFuture<T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
