//! The log against a plain model: random operations, among them clean stops, crashes and torn tails; the laws are checked after each.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use proptest::prelude::*;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{AppendOptions, Log};
use crate::protocol::compression::Codec;
use crate::protocol::records::BatchBuilder;
use crate::types::LeaderEpoch;

#[derive(Debug, Clone)]
enum Op {
    Append { records: usize, size: usize, codec: usize },
    AppendIdempotent { producer: i64, records: usize },
    RepeatIdempotent { producer: i64, back: usize },
    Commit { part: u8 },
    Read { from: u8, max_bytes: usize },
    DeleteRecords { part: u8 },
    Retain { bytes: u64 },
    Truncate { part: u8 },
    Follow { gap: i64, records: usize },
    Restart { at: u8 },
    NewEpoch,
    Flush,
    Housekeep,
    Reopen,
    Crash,
    TornCrash { cut: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1usize..4, 1usize..600, 0usize..5).prop_map(|(records, size, codec)| Op::Append { records, size, codec }),
        4 => (0i64..3, 1usize..4).prop_map(|(producer, records)| Op::AppendIdempotent { producer, records }),
        3 => (0i64..3, 0usize..5).prop_map(|(producer, back)| Op::RepeatIdempotent { producer, back }),
        4 => any::<u8>().prop_map(|part| Op::Commit { part }),
        4 => (any::<u8>(), 1usize..3000).prop_map(|(from, max_bytes)| Op::Read { from, max_bytes }),
        1 => any::<u8>().prop_map(|part| Op::DeleteRecords { part }),
        1 => (0u64..4000).prop_map(|bytes| Op::Retain { bytes }),
        2 => any::<u8>().prop_map(|part| Op::Truncate { part }),
        3 => (0i64..9, 1usize..4).prop_map(|(gap, records)| Op::Follow { gap, records }),
        1 => any::<u8>().prop_map(|at| Op::Restart { at }),
        1 => Just(Op::NewEpoch),
        1 => Just(Op::Flush),
        1 => Just(Op::Housekeep),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
        1 => any::<u16>().prop_map(|cut| Op::TornCrash { cut }),
    ]
}

/// A batch of an idempotent producer: sequence, first offset, records.
type Sent = (i32, i64, usize);

/// What the log should be.
#[derive(Default)]
struct Model {
    /// All batches that are in the log, with the records of each.
    batches: Vec<Vec<Consumed>>,
    start: i64,
    end: i64,
    committed: i64,
    epoch: i32,
    /// Per producer: the next sequence and the batches.
    producers: HashMap<i64, (i32, Vec<Sent>)>,
    stamp: u64,
}

impl Model {
    fn records(&self) -> Vec<Consumed> {
        self.batches.iter().flatten().filter(|record| record.offset >= self.start).cloned().collect()
    }

    fn push(&mut self, values: &[Vec<u8>]) -> i64 {
        let first = self.end;
        let records = values.iter().zip(first..).map(|(value, offset)| Consumed {
            offset,
            timestamp: NOW,
            value: value.clone(),
            leader_epoch: self.epoch,
        });
        self.batches.push(records.collect());
        self.end += values.len() as i64;
        first
    }

    /// Cuts everything from the batch that has `end` on.
    fn truncate(&mut self, end: i64) {
        let kept = self.batches.partition_point(|batch| batch.last().is_some_and(|last| last.offset < end));
        let first = self.batches.get(kept).and_then(|batch| batch.first()).map_or(end, |first| first.offset);
        self.end = self.end.min(end).min(first);
        self.batches.truncate(kept);
        self.committed = self.committed.min(self.end);
        let end = self.end;
        for (next, batches) in self.producers.values_mut() {
            batches.retain(|(_, first, records)| first + (*records as i64) <= end);
            *next = batches.last().map_or(0, |(sequence, _, records)| sequence + *records as i32);
        }
        self.producers.retain(|_, (_, batches)| !batches.is_empty());
        if self.end < self.start {
            // All that was left lay before the log start offset: the log is begun anew there.
            let (start, epoch, stamp) = (self.start, self.epoch, self.stamp);
            *self = Self { start, end: start, committed: start, epoch, stamp, ..Self::default() };
        }
    }
}

struct Run {
    fixture: Fixture,
    log: Arc<Log>,
    model: Model,
}

fn small() -> TopicConfig {
    TopicConfig { segment_bytes: 2500, index_interval_bytes: 300, retention_ms: None, ..config() }
}

impl Run {
    fn new() -> Self {
        let fixture = Fixture::new();
        let log = fixture.log(small());
        Self { fixture, log, model: Model::default() }
    }

    fn part(&self, part: u8) -> i64 {
        let (start, end) = (self.model.start, self.model.end);
        start + (end - start) * i64::from(part) / 255
    }

    fn reopen(&mut self) {
        self.fixture.open();
        self.log = self.fixture.log(small());
        self.log.ready().wait_blocking().unwrap();
        // The caller of a log with one replica says that everything is committed; here it repeats what it knew.
        self.log.update_high_watermark(at(self.model.committed));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { records, size, codec } => self.append(*records, *size, Codec::ALL[*codec]),
            Op::AppendIdempotent { producer, records } => {
                let values = vec![b"v".to_vec(); *records];
                let (next, _) = self.model.producers.entry(*producer).or_default();
                let sequence = *next;
                *next += *records as i32;
                let info = self.append_bytes(idempotent(*producer, 0, sequence, *records));
                let first = self.model.push(&values);
                assert_eq!((info.first_offset.get(), info.duplicate), (first, false));
                let (_, batches) = self.model.producers.get_mut(producer).unwrap();
                batches.push((sequence, first, *records));
            }
            Op::RepeatIdempotent { producer, back } => self.repeat(*producer, *back),
            Op::Commit { part } => {
                let to = self.part(*part).max(self.model.committed);
                self.model.committed = self.log.update_high_watermark(at(to)).get();
            }
            Op::Read { from, max_bytes } => {
                let from = self.part(*from);
                let expected: Vec<_> =
                    self.model.records().into_iter().filter(|record| record.offset >= from).collect();
                assert_eq!(consume(&self.log, from, self.model.end, *max_bytes), expected);
            }
            Op::DeleteRecords { part } => {
                let before = self.part(*part).min(self.model.committed).max(self.model.start);
                let start = self.log.delete_records_before(at(before)).wait_blocking().unwrap();
                assert!(start >= at(before));
                self.model.start = start.get();
            }
            Op::Retain { bytes } => {
                self.log.update_config(Arc::new(TopicConfig { retention_bytes: Some(*bytes), ..small() }));
                self.log.apply_retention(NOW).wait_blocking().unwrap();
                self.log.update_config(Arc::new(small()));
                let start = self.log.log_start_offset().get();
                assert!(start >= self.model.start && start <= self.model.committed.max(self.model.start));
                self.model.start = start;
            }
            Op::Truncate { part } => {
                let to = self.part(*part);
                self.log.truncate_to(at(to)).wait_blocking().unwrap();
                self.model.truncate(to);
                // Epochs that have no batch left are begun again.
                self.log.begin_epoch(LeaderEpoch(self.model.epoch));
            }
            Op::Follow { gap, records } => {
                self.model.end += gap;
                let values = vec![b"f".to_vec(); *records];
                let builder = BatchBuilder::new().base_offset(self.model.end).leader_epoch(self.model.epoch);
                let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                let bytes = build(builder, NOW, &slices);
                self.log.append_as_follower(bytes, LeaderEpoch(self.model.epoch)).wait_blocking().unwrap();
                self.model.push(&values);
            }
            Op::Restart { at: to } => {
                let to = self.model.start - 20 + i64::from(*to) % 100;
                let to = to.max(0);
                self.log.restart_at(at(to)).wait_blocking().unwrap();
                let (epoch, stamp) = (self.model.epoch, self.model.stamp);
                self.model = Model { start: to, end: to, committed: to, epoch, stamp, ..Model::default() };
                assert_eq!(self.log.latest_epoch(), None);
                self.log.begin_epoch(LeaderEpoch(epoch));
            }
            Op::NewEpoch => {
                self.model.epoch += 1;
                self.log.begin_epoch(LeaderEpoch(self.model.epoch));
            }
            Op::Flush => self.log.flush().wait_blocking().unwrap(),
            Op::Housekeep => self.fixture.dirs().housekeep(),
            Op::Reopen => {
                self.fixture.close();
                self.reopen();
            }
            Op::Crash => {
                self.fixture.crash();
                self.reopen();
            }
            Op::TornCrash { cut } => self.torn_crash(*cut),
        }
    }

    fn append(&mut self, records: usize, size: usize, codec: Codec) {
        self.model.stamp += 1;
        let values: Vec<Vec<u8>> = (0..records)
            .map(|i| [self.model.stamp.to_be_bytes().as_slice(), &vec![i as u8; size]].concat())
            .collect();
        let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let info = self.append_bytes(build(BatchBuilder::new().codec(codec, None), NOW, &slices));
        assert_eq!(info.first_offset.get(), self.model.push(&values));
    }

    fn append_bytes(&self, bytes: bytes::Bytes) -> crate::log::AppendInfo {
        let epoch = LeaderEpoch(self.model.epoch);
        self.log.append(bytes, epoch, AppendOptions::default()).wait_blocking().unwrap()
    }

    /// A retry of one of the last batches never makes a duplicate: it is known, or it is refused.
    fn repeat(&mut self, producer: i64, back: usize) {
        let Some((_, batches)) = self.model.producers.get(&producer) else { return };
        let Some((sequence, first, records)) = batches.iter().rev().nth(back).copied() else { return };
        let bytes = idempotent(producer, 0, sequence, records);
        let step = self.log.append(bytes, LeaderEpoch(self.model.epoch), AppendOptions::default());
        match step.wait_blocking() {
            Ok(info) => assert_eq!((info.duplicate, info.first_offset.get()), (true, first)),
            // Only the last batch is in a snapshot, as with Kafka.
            Err(error) => assert!(back > 0, "the last batch must be known: {error}"),
        }
    }

    /// A crash that garbles what was not synced: the log may lose a part of it, in order, and nothing else.
    fn torn_crash(&mut self, cut: u16) {
        let synced = self.log.recovery_point().get();
        let active = self.log.segments().map(|all| all.last().unwrap().clone());
        let place = active.map(|segment| (segment.base_offset(), segment.size_bytes()));
        self.fixture.crash();
        let mut from = self.model.end;
        if let Some((base, size)) = place
            && base >= synced
            && size > 0
        {
            let at = u64::from(size) * u64::from(cut) / 65_536;
            let path = self.fixture.file(&format!("{base:020}.log"));
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&vec![0xa5; (u64::from(size) - at) as usize], at).unwrap();
            from = base;
        }
        // Whoever led with lost records learns of it from the log.
        self.model.committed = self.model.committed.min(from);
        self.reopen();
        let end = self.log.log_end_offset().get();
        assert!(
            end >= synced.min(self.model.end) && end >= from.min(self.model.end),
            "{end} {synced} {from}"
        );
        self.model.truncate(end);
        assert_eq!(self.model.end, end, "cut at a batch boundary");
        if end == self.model.start {
            // Whether what was left before the log start offset reached it is for the log to know: if not, it began anew there.
            let known = self.log.producers().wait_blocking().unwrap();
            self.model.producers.retain(|id, _| known.iter().any(|entry| entry.producer_id.get() == *id));
        }
        self.log.begin_epoch(LeaderEpoch(self.model.epoch));
    }

    fn check_laws(&self) {
        let (log, model) = (&self.log, &self.model);
        assert_eq!(log.log_end_offset(), at(model.end));
        assert_eq!(log.log_start_offset(), at(model.start));
        assert!(
            log.log_start_offset() <= log.high_watermark() && log.high_watermark() <= log.log_end_offset()
        );
        assert!(log.recovery_point() <= log.log_end_offset());
        assert_eq!(consume(log, model.start, model.end, 1 << 20), model.records());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::property_cases(48), max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_a_plain_list_of_batches_would_be(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
            run.check_laws();
        }
    }
}
