//! The storage threads: plain threads that may wait for disks, so that the data runtimes never do.
//!
//! Two lanes: short work (opening, preallocating, cold reads, recovery) and syncing, so that an fsync of a second does not hold
//! up a read. A queue holds at most one job per log and lane plus one per cold read in flight; requests are bounded by the
//! server's memory budget, and so are these queues.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::step::{Step, promise};

type Job = Box<dyn FnOnce() + Send + 'static>;

/// Threads of the syncing lane: two disks can sync at once, and one slow sync does not hold up all others.
const SYNC_THREADS: usize = 2;

/// A handle to the storage threads. Cheap to clone; the threads end when the last handle is gone and the queues are empty.
#[derive(Clone)]
pub struct Storage {
    pool: Arc<Pool>,
}

struct Pool {
    work: Arc<Lane>,
    sync: Arc<Lane>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Storage {
    /// Starts `threads` threads for short work (at least one) and two for syncing.
    ///
    /// # Panics
    /// If the system refuses to start a thread.
    #[must_use]
    pub fn start(threads: usize) -> Self {
        let work = Arc::new(Lane::default());
        let sync = Arc::new(Lane::default());
        let mut handles = Vec::new();
        for (lane, name, count) in [(&work, "storage", threads.max(1)), (&sync, "sync", SYNC_THREADS)] {
            for number in 0..count {
                let lane = Arc::clone(lane);
                let thread = std::thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(move || lane.serve())
                    .expect("a thread can be started at start-up");
                handles.push(thread);
            }
        }
        Self { pool: Arc::new(Pool { work, sync, threads: Mutex::new(handles) }) }
    }

    /// Runs `job` on a storage thread, some time.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.pool.work.push(Box::new(job));
    }

    /// Runs `job` on a syncing thread, some time.
    pub fn run_sync(&self, job: impl FnOnce() + Send + 'static) {
        self.pool.sync.push(Box::new(job));
    }

    /// Waits until all that was asked for is done, and what that asked for.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let work_threads = lock(&self.pool.threads).len() - SYNC_THREADS;
        for (lane, threads) in [(&self.pool.work, work_threads), (&self.pool.sync, SYNC_THREADS)].repeat(2) {
            // When every thread of a lane is here, none does anything else.
            let all = Arc::new(std::sync::Barrier::new(threads + 1));
            for _ in 0..threads {
                let all = Arc::clone(&all);
                lane.push(Box::new(move || {
                    all.wait();
                }));
            }
            all.wait();
        }
    }

    /// Runs `job` on a storage thread and gives its result; `None` if the threads ended or the job panicked.
    pub fn call<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Step<Option<T>> {
        let (sender, step) = promise(|| None);
        self.run(move || {
            // The caller may have gone.
            let _ = sender.send(Some(job()));
        });
        step
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.work.close();
        self.sync.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let here = std::thread::current().id();
        for thread in threads {
            // The last handle may go with a job, on a thread of the pool itself.
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }
}

impl Lane {
    fn push(&self, job: Job) {
        lock(&self.queue).jobs.push_back(job);
        self.wake.notify_one();
    }

    fn close(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_all();
    }

    fn serve(&self) {
        while let Some(job) = self.next() {
            // A job that panics has told its waiter by dropping the promise; the thread lives on for the others.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a storage job panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Storage")
    }
}

/// Locks a mutex whose data stays whole even if a holder panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], together with other readers.
pub(super) fn read_lock<T>(of: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], without readers.
pub(super) fn write_lock<T>(of: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    of.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_one_thread_run_in_order_and_a_panic_ends_only_its_job() {
        let storage = Storage::start(1);
        let first = storage.call(|| 1);
        let second: Step<Option<i32>> = storage.call(|| panic!("expected in this test"));
        let third = storage.call(|| 3);
        assert_eq!(first.wait_blocking(), Some(1));
        assert_eq!(second.wait_blocking(), None);
        assert_eq!(third.wait_blocking(), Some(3));
    }

    #[test]
    fn jobs_queued_before_the_end_still_run() {
        let storage = Storage::start(2);
        let steps: Vec<_> = (0..100).map(|i| storage.call(move || i)).collect();
        drop(storage);
        let sum: i32 = steps.into_iter().map(|step| step.wait_blocking().unwrap()).sum();
        assert_eq!(sum, 4950);
    }
}
