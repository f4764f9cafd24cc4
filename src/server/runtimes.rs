//! The data runtimes: threads that serve connections and must never block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::listener::ServerError;
use super::options::{OnThreadStart, ServerOptions, Threading};

/// One data runtime.
#[derive(Debug)]
pub(super) struct DataRuntime {
    handle: Handle,
    /// Its open connections.
    load: Arc<AtomicUsize>,
    /// Fires when its connections shall end. One for each runtime: connections of two threads share no lock.
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

/// All data runtimes.
#[derive(Debug)]
pub(super) struct DataRuntimes {
    runtimes: Vec<DataRuntime>,
    /// Where the search for the least loaded begins: equals take turns.
    next: AtomicUsize,
    /// Fires when the threads shall end, whatever is still open.
    end: CancellationToken,
}

impl DataRuntimes {
    pub(super) fn start(options: &ServerOptions) -> Result<Self, ServerError> {
        let end = CancellationToken::new();
        let threads = options.data_threads.max(1);
        let hook = options.on_thread_start.clone();
        let mut runtimes = Vec::new();
        match options.threading {
            Threading::PerThread => {
                for number in 0..threads {
                    let name = format!("ketcd-data-{number}");
                    runtimes.push(DataRuntime::per_thread(name, hook.clone(), end.clone())?);
                }
            }
            Threading::Shared => runtimes.push(DataRuntime::shared(threads, hook, end.clone())?),
        }
        Ok(Self { runtimes, next: AtomicUsize::new(0), end })
    }

    /// The runtime with the fewest connections.
    pub(super) fn least_loaded(&self) -> Option<&DataRuntime> {
        let start = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.runtimes.len())?;
        let (before, from) = self.runtimes.split_at(start);
        from.iter().chain(before).min_by_key(|runtime| runtime.load.load(Ordering::Relaxed))
    }

    /// Tells every connection to end.
    pub(super) fn stop_connections(&self) {
        for runtime in &self.runtimes {
            runtime.stop.cancel();
        }
    }

    /// Ends the threads; connections that are still open are cut off. Does not wait.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// Whether every thread has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.runtimes.iter().all(|runtime| runtime.thread.is_finished())
    }

    /// Whether every data runtime runs a new task within `timeout`.
    pub(super) async fn respond_within(&self, timeout: Duration) -> bool {
        let ticks: Vec<_> = self.runtimes.iter().map(|runtime| runtime.handle.spawn(async {})).collect();
        let all = async {
            for tick in ticks {
                if tick.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(timeout, all).await.unwrap_or(false)
    }
}

impl DataRuntime {
    fn per_thread(
        name: String,
        hook: Option<OnThreadStart>,
        end: CancellationToken,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Thread { name: name.clone(), source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                if let Some(hook) = hook {
                    hook();
                }
                runtime.block_on(end.cancelled());
                // Tasks that are left are dropped here, on their own thread.
                drop(runtime);
            })
            .map_err(failed)?;
        Ok(Self::new(handle, thread))
    }

    fn shared(
        threads: usize,
        hook: Option<OnThreadStart>,
        end: CancellationToken,
    ) -> Result<Self, ServerError> {
        let name = "ketcd-data".to_owned();
        let failed = |source| ServerError::Thread { name: name.clone(), source };
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name(&name).enable_all();
        if let Some(hook) = hook {
            builder.on_thread_start(move || hook());
        }
        let runtime = builder.build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                runtime.block_on(end.cancelled());
                drop(runtime);
            })
            .map_err(failed)?;
        Ok(Self::new(handle, thread))
    }

    fn new(handle: Handle, thread: JoinHandle<()>) -> Self {
        Self { handle, load: Arc::default(), stop: CancellationToken::new(), thread }
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn load(&self) -> Arc<AtomicUsize> {
        self.load.clone()
    }

    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }
}
