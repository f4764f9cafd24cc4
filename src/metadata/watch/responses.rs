//! From watch responses to batches of whole revisions: fragments are put together, waiting responses are taken along.

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{WatchResponse, WatchResponseStream};
use futures_util::FutureExt as _;

use crate::metadata::apply::{Change, KeyEvent};

/// Waiting responses are taken along up to this many events: one image for all of them.
const BATCH_EVENTS_MAX: usize = 4_096;
/// `Event.type` of a deletion.
const DELETE: i32 = 1;

/// What the watch brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::metadata) enum Batch {
    /// Events of whole revisions, in revision order; `progress` is a revision that the server says is complete, or 0.
    Events {
        /// The events.
        events: Vec<KeyEvent>,
        /// The revision.
        progress: i64,
    },
    /// The watch fell behind the server's compaction.
    Compacted,
    /// The server is before the revision that was asked for: it went back in time, or this member is stale.
    Behind,
}

/// A stream of watch responses.
pub(in crate::metadata) struct Responses {
    stream: WatchResponseStream,
    collector: Collector,
}

impl Responses {
    /// The responses to a watch that was asked to start at revision `start`.
    pub fn new(stream: WatchResponseStream, start: i64) -> Self {
        Self { stream, collector: Collector { start, ..Collector::default() } }
    }

    /// The next batch; an error is the stream's end. Cancel safe: nothing taken from the stream is lost.
    pub async fn next(&mut self) -> Result<Batch, String> {
        loop {
            let response = match self.stream.message().await {
                Ok(Some(WatchResponse(response))) => response,
                Ok(None) => return Err("the stream ended".into()),
                Err(error) => return Err(error.to_string()),
            };
            self.collector.take(response)?;
            while self.collector.events.len() < BATCH_EVENTS_MAX {
                match self.stream.message().now_or_never() {
                    Some(Ok(Some(WatchResponse(response)))) => self.collector.take(response)?,
                    // An end is met again, and reported, by the next call.
                    _ => break,
                }
            }
            if let Some(batch) = self.collector.batch() {
                return Ok(batch);
            }
        }
    }
}

/// Puts responses together.
#[derive(Default)]
struct Collector {
    events: Vec<KeyEvent>,
    /// How many of `events` belong to complete responses.
    whole: usize,
    progress: i64,
    compacted: bool,
    behind: bool,
    /// The revision that the watch was asked to start at.
    start: i64,
}

impl Collector {
    fn take(&mut self, response: PbWatchResponse) -> Result<(), String> {
        if response.compact_revision > 0 {
            self.compacted = true;
            return Ok(());
        }
        if response.canceled {
            return Err(format!("canceled by the server: {}", response.cancel_reason));
        }
        let revision = response.header.map_or(0, |header| header.revision);
        if response.events.is_empty() {
            // The answer to the request for the watch carries a revision, but promises nothing about it.
            if response.created {
                self.behind = revision > 0 && revision + 1 < self.start;
            } else {
                self.progress = self.progress.max(revision);
            }
            return Ok(());
        }
        self.events.extend(response.events.into_iter().filter_map(event));
        if !response.fragment {
            self.whole = self.events.len();
        }
        Ok(())
    }

    fn batch(&mut self) -> Option<Batch> {
        if self.compacted {
            return Some(Batch::Compacted);
        }
        if self.behind {
            return Some(Batch::Behind);
        }
        let progress = std::mem::take(&mut self.progress);
        let events: Vec<KeyEvent> = self.events.drain(..std::mem::take(&mut self.whole)).collect();
        (progress > 0 || !events.is_empty()).then_some(Batch::Events { events, progress })
    }
}

fn event(event: PbEvent) -> Option<KeyEvent> {
    let kv = event.kv?;
    let change = if event.r#type == DELETE {
        Change::Delete
    } else {
        Change::Put { value: kv.value, create_revision: kv.create_revision }
    };
    Some(KeyEvent { key: kv.key, mod_revision: kv.mod_revision, change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_client::proto::{PbKeyValue, PbResponseHeader};

    fn response(revision: i64, mod_revisions: &[i64], fragment: bool) -> PbWatchResponse {
        let events = mod_revisions
            .iter()
            .map(|mod_revision| PbEvent {
                kv: Some(PbKeyValue {
                    key: b"k".to_vec(),
                    mod_revision: *mod_revision,
                    ..Default::default()
                }),
                ..Default::default()
            })
            .collect();
        let header = Some(PbResponseHeader { revision, ..Default::default() });
        PbWatchResponse { header, events, fragment, ..Default::default() }
    }

    fn revisions(batch: Option<Batch>) -> (Vec<i64>, i64) {
        match batch {
            Some(Batch::Events { events, progress }) => {
                (events.iter().map(|event| event.mod_revision).collect(), progress)
            }
            Some(other) => panic!("{other:?}"),
            None => (vec![], 0),
        }
    }

    #[test]
    fn fragments_of_one_revision_come_together() {
        let mut collector = Collector::default();
        collector.take(response(5, &[4, 5], true)).unwrap();
        assert_eq!(revisions(collector.batch()), (vec![], 0));
        collector.take(response(5, &[5], false)).unwrap();
        collector.take(response(6, &[6], true)).unwrap();
        assert_eq!(revisions(collector.batch()), (vec![4, 5, 5], 0));
        collector.take(response(6, &[6], false)).unwrap();
        assert_eq!(revisions(collector.batch()), (vec![6, 6], 0));
    }

    #[test]
    fn progress_counts_but_the_answer_to_the_request_does_not() {
        let mut collector = Collector::default();
        collector.take(PbWatchResponse { created: true, ..response(9, &[], false) }).unwrap();
        assert_eq!(revisions(collector.batch()), (vec![], 0));
        collector.take(response(9, &[], false)).unwrap();
        assert_eq!(revisions(collector.batch()), (vec![], 9));
    }

    #[test]
    fn compaction_and_cancellation_end_the_watch() {
        let mut collector = Collector::default();
        let cancelled =
            PbWatchResponse { canceled: true, cancel_reason: "no leader".into(), ..Default::default() };
        assert!(collector.take(cancelled).unwrap_err().contains("no leader"));
        let compacted = PbWatchResponse { canceled: true, compact_revision: 7, ..Default::default() };
        collector.take(compacted).unwrap();
        assert_eq!(collector.batch(), Some(Batch::Compacted));
    }

    #[test]
    fn a_server_before_our_time_is_noticed() {
        let created = PbWatchResponse { created: true, ..response(9, &[], false) };
        let mut collector = Collector { start: 10, ..Collector::default() };
        collector.take(created.clone()).unwrap();
        assert_eq!(collector.batch(), None);
        let mut collector = Collector { start: 11, ..Collector::default() };
        collector.take(created).unwrap();
        assert_eq!(collector.batch(), Some(Batch::Behind));
    }
}
