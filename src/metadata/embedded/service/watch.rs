//! Watch: one task per stream, with any number of watches on it.
//!
//! The task follows the visible revision and asks each watch what it is owed. What it sends is bounded by the stream's own flow
//! control: a client that does not read lags in the log, and is told so by a compaction if it lags too long.

use std::collections::BTreeMap;

use etcd_client::proto::{
    PbEvent, PbResponseHeader, PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService,
};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::key_range::KeyRange;
use super::super::shared::Shared;
use super::super::watcher::{Due, Watcher};
use super::{Answer, Answers, Service};

/// Messages that may wait in one stream.
const QUEUE: usize = 16;
/// A message above this is split for a watch that allows it (etcd's request limit).
const FRAGMENT_BYTES: usize = 3 << 19;
/// The id of a watch that could not be made, and of progress that concerns the whole stream.
const NO_WATCH: i64 = -1;

const DUPLICATE_ID: &str = "etcdserver: mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

#[tonic::async_trait]
impl PbWatchService for Service {
    type WatchStream = Answers<PbWatchResponse>;

    async fn watch(&self, request: Request<Streaming<PbWatchRequest>>) -> Answer<Self::WatchStream> {
        let (answers, queue) = mpsc::channel(QUEUE);
        let stream = WatchStream { shared: self.0.clone(), watchers: BTreeMap::new(), next_id: 0, answers };
        self.0.tasks.spawn(stream.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}

/// The client has gone away.
struct Gone;

struct WatchStream {
    shared: Shared,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    answers: mpsc::Sender<Result<PbWatchResponse, Status>>,
}

impl WatchStream {
    async fn run(mut self, mut requests: Streaming<PbWatchRequest>) {
        let closing = self.shared.closing.clone();
        let answers = self.answers.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = answers.closed() => {}
            _ = self.serve(&mut requests) => {}
        }
    }

    async fn serve(&mut self, requests: &mut Streaming<PbWatchRequest>) -> Result<(), Gone> {
        let mut moves = self.shared.state.moves();
        let interval = self.shared.progress_interval;
        let mut notes = interval_at(tokio::time::Instant::now() + interval, interval);
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A client that has said all it wanted to say still listens.
        let mut client_talks = true;
        loop {
            tokio::select! {
                biased;
                request = requests.message(), if client_talks => match request {
                    Ok(Some(PbWatchRequest { request_union: Some(request) })) => self.handle(request).await?,
                    Ok(Some(PbWatchRequest { request_union: None })) => {}
                    Ok(None) => client_talks = false,
                    Err(_) => return Err(Gone),
                },
                moved = moves.changed() => {
                    if moved.is_err() {
                        return Err(Gone);
                    }
                    self.tell_all().await?;
                }
                _ = notes.tick() => self.tell_progress().await?,
            }
        }
    }

    async fn handle(&mut self, request: PbWatchRequestUnion) -> Result<(), Gone> {
        match request {
            PbWatchRequestUnion::CreateRequest(create) => {
                let visible = self.visible();
                let watcher = Watcher {
                    // No key means the smallest one.
                    key: if create.key.is_empty() { vec![0] } else { create.key },
                    range_end: create.range_end,
                    next_revision: if create.start_revision > 0 {
                        create.start_revision
                    } else {
                        visible + 1
                    },
                    puts: !create.filters.contains(&0),
                    deletes: !create.filters.contains(&1),
                    prev_kv: create.prev_kv,
                    fragment: create.fragment,
                    progress_notify: create.progress_notify,
                    recently_told: false,
                };
                self.create(create.watch_id, watcher, visible).await
            }
            PbWatchRequestUnion::CancelRequest(cancel) => match self.watchers.remove(&cancel.watch_id) {
                Some(_) => {
                    let response = PbWatchResponse {
                        header: self.header(self.visible()),
                        watch_id: cancel.watch_id,
                        canceled: true,
                        ..Default::default()
                    };
                    self.send(response).await
                }
                None => Ok(()),
            },
            PbWatchRequestUnion::ProgressRequest(_) => {
                // First everything that happened, then how far that is.
                let visible = self.tell_all().await?;
                let response = PbWatchResponse {
                    header: self.header(visible),
                    watch_id: NO_WATCH,
                    ..Default::default()
                };
                self.send(response).await
            }
        }
    }

    async fn create(&mut self, wanted_id: i64, watcher: Watcher, visible: i64) -> Result<(), Gone> {
        let refusal = if KeyRange::new(&watcher.key, &watcher.range_end).is_empty() {
            Some(EMPTY_RANGE)
        } else if wanted_id != 0 && self.watchers.contains_key(&wanted_id) {
            Some(DUPLICATE_ID)
        } else {
            None
        };
        if let Some(reason) = refusal {
            let response = PbWatchResponse {
                header: self.header(visible),
                watch_id: NO_WATCH,
                created: true,
                canceled: true,
                cancel_reason: reason.to_owned(),
                ..Default::default()
            };
            return self.send(response).await;
        }
        let watch_id = if wanted_id == 0 { self.free_id() } else { wanted_id };
        let response =
            PbWatchResponse { header: self.header(visible), watch_id, created: true, ..Default::default() };
        self.send(response).await?;
        // A new watch may not start below the compaction, even where the log still reaches further back.
        let compacted = self.shared.state.read().0.map().compacted();
        if watcher.next_revision < compacted {
            return self.send(self.compacted(watch_id, visible, compacted)).await;
        }
        self.watchers.insert(watch_id, watcher);
        self.tell(watch_id).await.map(|_| ())
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Tells every watch all that it is owed. Returns up to which revision.
    async fn tell_all(&mut self) -> Result<i64, Gone> {
        let mut told = self.visible();
        for watch_id in self.watchers.keys().copied().collect::<Vec<_>>() {
            told = told.min(self.tell(watch_id).await?);
        }
        Ok(told)
    }

    /// Tells one watch all that it is owed. Returns up to which revision.
    async fn tell(&mut self, watch_id: i64) -> Result<i64, Gone> {
        loop {
            let (due, visible, fragment) = {
                let (store, visible) = self.shared.state.read();
                let Some(watcher) = self.watchers.get_mut(&watch_id) else { return Ok(visible) };
                let due = watcher.advance(store.map(), visible);
                watcher.recently_told |= due != Due::Nothing;
                (due, visible, watcher.fragment)
            };
            match due {
                Due::Nothing => return Ok(visible),
                Due::Compacted(compacted) => {
                    self.watchers.remove(&watch_id);
                    self.send(self.compacted(watch_id, visible, compacted)).await?;
                }
                Due::Events(events) => {
                    let mut parts =
                        split(events, if fragment { FRAGMENT_BYTES } else { usize::MAX }).peekable();
                    while let Some(events) = parts.next() {
                        let response = PbWatchResponse {
                            header: self.header(visible),
                            watch_id,
                            events,
                            fragment: parts.peek().is_some(),
                            ..Default::default()
                        };
                        self.send(response).await?;
                    }
                }
            }
        }
    }

    /// Notes for the watches that asked for them and have heard nothing since the last time.
    async fn tell_progress(&mut self) -> Result<(), Gone> {
        for watch_id in self.watchers.keys().copied().collect::<Vec<_>>() {
            let visible = self.tell(watch_id).await?;
            let Some(watcher) = self.watchers.get_mut(&watch_id) else { continue };
            let is_due = watcher.progress_notify && !watcher.recently_told;
            watcher.recently_told = false;
            if is_due {
                let response =
                    PbWatchResponse { header: self.header(visible), watch_id, ..Default::default() };
                self.send(response).await?;
            }
        }
        Ok(())
    }

    fn compacted(&self, watch_id: i64, visible: i64, compact_revision: i64) -> PbWatchResponse {
        PbWatchResponse {
            header: self.header(visible),
            watch_id,
            canceled: true,
            compact_revision,
            ..Default::default()
        }
    }

    fn visible(&self) -> i64 {
        self.shared.state.read().1
    }

    fn header(&self, revision: i64) -> Option<PbResponseHeader> {
        Some(self.shared.header(revision))
    }

    async fn send(&self, response: PbWatchResponse) -> Result<(), Gone> {
        self.answers.send(Ok(response)).await.map_err(|_| Gone)
    }
}

/// Splits events into messages of about `limit` bytes, at least one event each.
fn split(events: Vec<PbEvent>, limit: usize) -> impl Iterator<Item = Vec<PbEvent>> {
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut part = vec![events.next()?];
        let mut bytes: usize = part.iter().map(size_bytes).sum();
        while let Some(event) = events.next_if(|event| bytes + size_bytes(event) <= limit) {
            bytes += size_bytes(&event);
            part.push(event);
        }
        Some(part)
    })
}

fn size_bytes(event: &PbEvent) -> usize {
    [&event.kv, &event.prev_kv].into_iter().flatten().map(|kv| kv.key.len() + kv.value.len() + 64).sum()
}
