//! The memory that request frames may hold, shared by all connections (KIP-72; rule X3).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The whole budget, in bytes. Waiters are served in their order, so a large frame is not starved by small ones.
#[derive(Debug)]
pub(super) struct Budget {
    left: Arc<Semaphore>,
    total_bytes: usize,
}

impl Budget {
    pub(super) fn new(total_bytes: usize) -> Self {
        let total_bytes = total_bytes.min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(total_bytes)), total_bytes }
    }

    pub(super) const fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    pub(super) fn used_bytes(&self) -> usize {
        self.total_bytes.saturating_sub(self.left.available_permits())
    }
}

type Acquire = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// What one connection holds of the budget. Whatever is still held when it is dropped goes back.
pub(super) struct BudgetShare {
    budget: Arc<Budget>,
    held_bytes: usize,
    /// Given back, but not yet put back: done once a turn.
    due_bytes: usize,
    waiting: Option<(u32, Acquire)>,
}

impl BudgetShare {
    pub(super) const fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held_bytes: 0, due_bytes: 0, waiting: None }
    }

    /// Takes `bytes`, or registers to be woken when they can be taken. The caller asks again for the same number then.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.waiting.is_none()
            && let Ok(permit) = self.budget.left.try_acquire_many(permits)
        {
            permit.forget();
            self.held_bytes += bytes;
            return Poll::Ready(());
        }
        match self.poll_wait(cx, permits) {
            Poll::Ready(()) => {
                self.held_bytes += bytes;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready while anything is left: sockets are not read before that.
    pub(super) fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.budget.left.available_permits() > 0 {
            self.waiting = None;
            return Poll::Ready(());
        }
        match self.poll_wait(cx, 1) {
            Poll::Ready(()) => {
                self.due_bytes += 1;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>, permits: u32) -> Poll<()> {
        if self.waiting.as_ref().is_none_or(|(wanted, _)| *wanted != permits) {
            let acquire = Box::pin(self.budget.left.clone().acquire_many_owned(permits));
            self.waiting = Some((permits, acquire));
        }
        let Some((_, acquire)) = &mut self.waiting else { return Poll::Pending };
        match acquire.as_mut().poll(cx) {
            Poll::Ready(permit) => {
                self.waiting = None;
                if let Ok(permit) = permit {
                    permit.forget();
                }
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// The memory of `bytes` is free again. Others see it after [`BudgetShare::settle`].
    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held_bytes);
        self.held_bytes -= bytes;
        self.due_bytes += bytes;
    }

    /// Puts back what was given back.
    pub(super) fn settle(&mut self) {
        if self.due_bytes > 0 {
            self.budget.left.add_permits(std::mem::take(&mut self.due_bytes));
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.left.add_permits(self.held_bytes + self.due_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_one_connection_gives_back_another_gets_in_order() {
        let budget = Arc::new(Budget::new(100));
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = BudgetShare::new(budget.clone());
        let mut second = BudgetShare::new(budget.clone());
        assert!(first.poll_take(&mut cx, 80).is_ready());
        assert!(second.poll_take(&mut cx, 50).is_pending());
        assert!(second.poll_take(&mut cx, 50).is_pending());
        first.give_back(80);
        assert!(second.poll_take(&mut cx, 50).is_pending());
        first.settle();
        assert!(second.poll_take(&mut cx, 50).is_ready());
        assert_eq!(budget.used_bytes(), 50);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_waiter_that_goes_away_leaves_nothing_behind() {
        let budget = Arc::new(Budget::new(10));
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = BudgetShare::new(budget.clone());
        let mut second = BudgetShare::new(budget.clone());
        assert!(first.poll_take(&mut cx, 10).is_ready());
        assert!(second.poll_any(&mut cx).is_pending());
        drop(second);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        let mut third = BudgetShare::new(budget.clone());
        assert!(third.poll_any(&mut cx).is_ready());
        assert!(third.poll_take(&mut cx, 10).is_ready());
    }
}
