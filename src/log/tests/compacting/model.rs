//! Compaction against a plain model: random batches of all codecs, cleanings, crashes within them, reopenings; the laws are checked
//! after each.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DELETE_RETENTION_MS: i64 = 10_000;

#[derive(Debug, Clone)]
enum Op {
    Append { pairs: Vec<(u8, Option<u16>)>, codec: usize, producer: Option<i64> },
    Commit,
    Roll,
    Clean,
    CrashWhileCleaning { steps: u64 },
    Wait { ms: u64 },
    Reopen,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![1 => Just(None), 3 => (0u16..150).prop_map(Some)];
    let pairs = prop::collection::vec((0u8..8, value), 1..6);
    prop_oneof![
        10 => (pairs, 0usize..5, prop::option::of(0i64..3)).prop_map(|(pairs, codec, producer)| Op::Append { pairs, codec, producer }),
        4 => Just(Op::Commit),
        1 => Just(Op::Roll),
        4 => Just(Op::Clean),
        1 => (0u64..80).prop_map(|steps| Op::CrashWhileCleaning { steps }),
        2 => (1u64..9000).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ]
}

struct Run {
    fixture: Fixture,
    log: Arc<Log>,
    /// All that was ever appended, in order, and when.
    history: Vec<(Kept, i64)>,
    sequences: BTreeMap<i64, i32>,
    /// Where the active segment began when the log was last cleaned.
    untouched_from: usize,
}

impl Run {
    fn new() -> Self {
        let fixture = Fixture::new();
        let log = fixture.log(Self::config());
        Self { fixture, log, history: Vec::new(), sequences: BTreeMap::new(), untouched_from: 0 }
    }

    fn config() -> TopicConfig {
        TopicConfig { delete_retention_ms: DELETE_RETENTION_MS, ..compacted() }
    }

    fn reopen(&mut self) {
        self.fixture.open();
        self.log = self.fixture.log(Self::config());
        self.log.ready().wait_blocking().unwrap();
        self.log.update_high_watermark(self.log.log_end_offset());
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { pairs, codec, producer } => self.append(pairs, *codec, *producer),
            Op::Commit => drop(self.log.update_high_watermark(self.log.log_end_offset())),
            Op::Roll => roll(&self.log),
            Op::Clean => {
                self.note_active();
                self.fixture.dirs().clean_dirtiest().unwrap();
            }
            Op::CrashWhileCleaning { steps } => {
                self.note_active();
                self.log.flush().wait_blocking().unwrap();
                self.fixture.dirs().faults(0).unwrap().set_steps_left(Some(*steps));
                let _ = self.fixture.dirs().clean_dirtiest();
                self.fixture.crash();
                self.reopen();
            }
            Op::Wait { ms } => self.fixture.clock.advance(Duration::from_millis(*ms)),
            Op::Reopen => {
                self.fixture.close();
                self.reopen();
            }
            Op::Crash => {
                self.fixture.crash();
                self.reopen();
            }
        }
    }

    fn note_active(&mut self) {
        self.untouched_from = self.log.active_base().map_or(self.untouched_from, |base| base as usize);
    }

    fn append(&mut self, pairs: &[(u8, Option<u16>)], codec: usize, producer: Option<i64>) {
        let now = self.fixture.clock.now_ms();
        let mut builder = BatchBuilder::new().codec(ALL_CODECS[codec], None);
        if let Some(producer) = producer {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence);
            *sequence += pairs.len() as i32;
        }
        let first = self.log.log_end_offset().get();
        for ((key, value), offset) in pairs.iter().zip(first..) {
            let timestamp = now + i64::from(*key) % 3;
            let key = vec![*key];
            let value = value.map(|length| vec![(offset % 251) as u8; usize::from(length)]);
            builder
                .push(NewRecord { timestamp, key: Some(&key), value: value.as_deref(), headers: &[] })
                .unwrap();
            self.history.push((Kept { offset, timestamp, key: Some(key), value }, now));
        }
        let info = append_ok(&self.log, builder.build());
        assert_eq!((info.first_offset.get(), info.duplicate), (first, false), "sequences survive");
    }

    fn check_laws(&self) {
        let found = survivors(&self.log);
        let mut newest: BTreeMap<&Vec<u8>, &(Kept, i64)> = BTreeMap::new();
        for entry in &self.history {
            newest.insert(entry.0.key.as_ref().unwrap(), entry);
        }
        // Nothing is invented, moved or changed.
        for kept in &found {
            assert_eq!(*kept, self.history[kept.offset as usize].0);
        }
        let has = |kept: &Kept| found.binary_search_by_key(&kept.offset, |found| found.offset).is_ok();
        let now = self.fixture.clock.now_ms();
        for (kept, appended) in newest.values() {
            let must_stay = kept.value.is_some() || now < appended + DELETE_RETENTION_MS;
            assert!(has(kept) || !must_stay, "{kept:?} is gone");
            // A key that is gone has no older value either.
            if !has(kept) {
                assert!(
                    !found.iter().any(|other| other.key == kept.key),
                    "an older value of {kept:?} came back"
                );
            }
        }
        // What was in the active segment at the last cleaning is all there.
        assert!(self.history.iter().skip(self.untouched_from).all(|(kept, _)| has(kept)));
        assert_eq!(self.log.log_end_offset(), at(self.history.len() as i64));
    }

    /// After everything is cleaned, every key has one record, but for what the active segment adds.
    fn finish(&self) {
        roll(&self.log);
        while self.fixture.dirs().clean_dirtiest().unwrap().is_some() {}
        let found = survivors(&self.log);
        let mut keys: Vec<_> = found.iter().map(|kept| kept.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), found.len(), "{found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::property_cases(48), max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_has_the_newest_value_of_every_key(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
            run.check_laws();
        }
        run.finish();
    }
}
