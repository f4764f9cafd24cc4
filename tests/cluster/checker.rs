//! What must hold of every history (invariants I1 to I6 and I11 of `correctness.md`), in the names of Jepsen's workload for Kafka.
//!
//! The reads of the client `final`, made when everything is healed, are what the cluster is left with. Not judged, because Kafka
//! allows it: records of several producers between each other (G0), reads of what is not acknowledged yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::history::{Entry, Op, Run, State};

/// Who reads everything at the end.
pub const FINAL: &str = "final";
/// Violations of one class that are told one by one.
const TOLD: usize = 5;

/// What may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// An acknowledged record is not there at the end.
    LostWrite,
    /// A record was read that nobody sent, or whose sending certainly failed.
    G1a,
    /// Two values at one offset, or an acknowledged value elsewhere than acknowledged.
    InconsistentOffsets,
    /// One value at two offsets.
    Duplicate,
    /// An idempotent producer's values not in the order of their sending.
    Reordered,
    /// A reader went back.
    NonmonotonicPoll,
    /// A reader that reads everything left something out.
    PollSkip,
    /// An acknowledged record that a reader of everything never saw.
    Unseen,
    /// "Latest" went back (rule C2).
    LatestWentBack,
    /// Two leaders in one epoch.
    TwoLeaders,
    /// A group's offset went back (rule G3).
    CommitWentBack,
    /// An error that a client with default settings shows to its user.
    ClientError,
}

/// What a history holds, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    /// Acknowledged sends and their records, all of which were looked up in the final reads.
    pub acked_ops: u64,
    pub acked_records: u64,
    /// Records of sends that failed for certain, and of sends whose end nobody knows.
    pub failed_records: u64,
    pub unknown_records: u64,
    /// Records that polls brought, without the final ones.
    pub polled_records: u64,
    pub final_records: u64,
    pub violations: BTreeMap<Class, Vec<String>>,
}

impl Report {
    pub fn lost(&self) -> usize {
        self.count(Class::LostWrite)
    }

    pub fn count(&self, class: Class) -> usize {
        self.violations.get(&class).map_or(0, Vec::len)
    }

    fn add(&mut self, class: Class, what: String) {
        self.violations.entry(class).or_default().push(what);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} acknowledged records in {} sends, {} failed, {} unknown; {} polled, {} at the end",
            self.acked_records,
            self.acked_ops,
            self.failed_records,
            self.unknown_records,
            self.polled_records,
            self.final_records
        )?;
        for (class, all) in &self.violations {
            writeln!(f, "{class:?}: {}", all.len())?;
            for what in all.iter().take(TOLD) {
                writeln!(f, "    {what}")?;
            }
        }
        Ok(())
    }
}

type Value = (i64, i64);

/// What is known of one partition.
#[derive(Default)]
struct Partition {
    /// Every value that anybody was told of, by offset.
    told: BTreeMap<i64, Value>,
    /// The values of the final reads.
    last: BTreeMap<i64, Value>,
    /// Sends that were acknowledged.
    acked: Vec<Run>,
    /// Values that were acknowledged without a word on where: librdkafka takes the ack of a later batch for that of the ones before.
    acked_somewhere: Vec<Value>,
}

/// What is known of one producer.
#[derive(Default)]
struct Producer {
    partition: Option<i32>,
    idempotent: bool,
    /// Numbers below this were sent.
    sent: i64,
    /// Sends that failed for certain: first and count.
    failed: Vec<(i64, i64)>,
}

/// Where a client stands in a partition.
#[derive(Default)]
struct Reader {
    next: Option<i64>,
    /// It began at the start of the partition: it must see everything.
    whole: bool,
}

/// Looks at everything that clients asked and were told.
pub fn check(entries: &[Entry]) -> Report {
    let mut report = Report::default();
    let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
    let mut producers: HashMap<i64, Producer> = HashMap::new();
    sends(entries, &mut report, &mut partitions, &mut producers);
    let seen = polls(entries, &mut report, &mut partitions);
    told(entries, &mut report);
    for (&number, partition) in &mut partitions {
        find_places(number, partition, &mut report);
        values(number, partition, &producers, &mut report);
        acks(number, partition, &mut report);
        for ((client, _), seen) in seen.iter().filter(|((_, of), _)| *of == number) {
            unseen(client, number, partition, seen, &mut report);
        }
    }
    report
}

fn sends(
    entries: &[Entry],
    report: &mut Report,
    partitions: &mut BTreeMap<i32, Partition>,
    producers: &mut HashMap<i64, Producer>,
) {
    for entry in entries {
        match &entry.op {
            Op::Producer { producer, idempotent } => {
                producers.entry(*producer).or_default().idempotent = *idempotent;
            }
            Op::Send { state, partition, producer, first, count, offset, .. } => {
                let known = producers.entry(*producer).or_default();
                known.partition = Some(*partition);
                match state {
                    State::Invoke => known.sent = known.sent.max(first + count),
                    State::Fail => {
                        known.failed.push((*first, *count));
                        report.failed_records += count.unsigned_abs();
                    }
                    State::Unknown => report.unknown_records += count.unsigned_abs(),
                    State::Ok => {
                        report.acked_ops += 1;
                        report.acked_records += count.unsigned_abs();
                        let partition = partitions.entry(*partition).or_default();
                        let (producer, first, count) = (*producer, *first, *count);
                        match *offset {
                            Some(offset) => partition.acked.push(Run { offset, producer, first, count }),
                            None => {
                                let values = (first..first + count).map(|number| (producer, number));
                                partition.acked_somewhere.extend(values);
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Follows every reader. Gives the offsets that each one of everything has seen: of groups together.
fn polls(
    entries: &[Entry],
    report: &mut Report,
    partitions: &mut BTreeMap<i32, Partition>,
) -> BTreeMap<(String, i32), BTreeSet<i64>> {
    let mut readers: HashMap<(&str, i32), Reader> = HashMap::new();
    let mut seen: BTreeMap<(String, i32), BTreeSet<i64>> = BTreeMap::new();
    for entry in entries {
        let client = entry.client.as_str();
        match &entry.op {
            Op::Assign { partition, offset } => {
                let reader = readers.entry((client, *partition)).or_default();
                reader.next = *offset;
                reader.whole = *offset == Some(0) || client.contains('/');
                if reader.whole && client != FINAL {
                    seen.entry((group(client), *partition)).or_default();
                }
            }
            Op::Poll { partition, runs } => {
                let reader = readers.entry((client, *partition)).or_default();
                let known = partitions.entry(*partition).or_default();
                for run in runs {
                    match reader.next {
                        Some(next) if run.offset < next => report.add(
                            Class::NonmonotonicPoll,
                            format!("{client} at {partition}: {} after {next} was due", run.offset),
                        ),
                        Some(next) if run.offset > next => report.add(
                            Class::PollSkip,
                            format!("{client} at {partition}: {} where {next} was due", run.offset),
                        ),
                        _ => {}
                    }
                    reader.next = Some(run.offset + run.count);
                    for index in 0..run.count {
                        let (offset, value) = (run.offset + index, (run.producer, run.first + index));
                        tell(known, *partition, offset, value, client, report);
                        if client == FINAL {
                            known.last.insert(offset, value);
                            report.final_records += 1;
                        } else {
                            report.polled_records += 1;
                        }
                    }
                    if reader.whole && client != FINAL {
                        let seen = seen.entry((group(client), *partition)).or_default();
                        seen.extend(run.offset..run.offset + run.count);
                    }
                }
            }
            _ => {}
        }
    }
    seen
}

fn group(client: &str) -> String {
    client.split('/').next().unwrap_or_default().to_owned()
}

fn tell(known: &mut Partition, partition: i32, offset: i64, value: Value, client: &str, report: &mut Report) {
    if let Some(before) = known.told.insert(offset, value)
        && before != value
    {
        report.add(
            Class::InconsistentOffsets,
            format!("{partition} at {offset}: {before:?}, then {value:?} to {client}"),
        );
    }
}

/// What clients were told besides records.
fn told(entries: &[Entry], report: &mut Report) {
    let mut latest: HashMap<(&str, i32), i64> = HashMap::new();
    let mut leaders: HashMap<(i32, i32), i32> = HashMap::new();
    let mut commits: HashMap<(String, i32), i64> = HashMap::new();
    for entry in entries {
        let client = entry.client.as_str();
        match &entry.op {
            Op::Latest { partition, offset } => {
                let before = latest.insert((client, *partition), *offset);
                if before.is_some_and(|before| before > *offset) {
                    report.add(Class::LatestWentBack, format!("{partition}: {offset} after {before:?}"));
                }
            }
            Op::Leader { partition, leader, epoch } if *leader >= 0 => {
                let before = *leaders.entry((*partition, *epoch)).or_insert(*leader);
                if before != *leader {
                    report.add(
                        Class::TwoLeaders,
                        format!("{partition} in epoch {epoch}: {before} and {leader}"),
                    );
                }
            }
            Op::Commit { state: State::Ok, partition, offset } => {
                let before = commits.insert((group(client), *partition), *offset);
                if before.is_some_and(|before| before > *offset) {
                    report.add(
                        Class::CommitWentBack,
                        format!("{client} at {partition}: committed {offset} after {before:?}"),
                    );
                }
            }
            Op::Committed { partition, offset } => {
                let acked = commits.get(&(group(client), *partition)).copied().unwrap_or_default();
                if *offset < acked {
                    report.add(
                        Class::CommitWentBack,
                        format!("{client} at {partition}: {offset} is left of {acked}"),
                    );
                }
            }
            Op::Error { why } => report.add(Class::ClientError, format!("{client}: {why}")),
            _ => {}
        }
    }
}

/// Everything that was read was sent, once, in order.
fn values(number: i32, partition: &Partition, producers: &HashMap<i64, Producer>, report: &mut Report) {
    let mut places: HashMap<Value, i64> = HashMap::new();
    let mut highest: HashMap<i64, i64> = HashMap::new();
    for (&offset, &value) in &partition.told {
        let (producer, count) = value;
        let sender = producers.get(&producer);
        let sent = sender.is_some_and(|known| {
            let failed = known.failed.iter().any(|(first, many)| (*first..first + many).contains(&count));
            known.partition == Some(number) && count < known.sent && !failed
        });
        if !sent {
            report.add(Class::G1a, format!("{number} at {offset}: {value:?} was never sent, or failed"));
        }
        if let Some(before) = places.insert(value, offset) {
            report.add(Class::Duplicate, format!("{number}: {value:?} at {before} and at {offset}"));
        }
        let highest = highest.entry(producer).or_insert(-1);
        if sender.is_some_and(|known| known.idempotent) && count < *highest {
            report.add(
                Class::Reordered,
                format!("{number} at {offset}: {value:?} behind number {highest} of its producer"),
            );
        }
        *highest = count.max(*highest);
    }
}

/// What was acknowledged somewhere is there, and from here on acknowledged there.
fn find_places(number: i32, partition: &mut Partition, report: &mut Report) {
    let places: HashMap<Value, i64> =
        partition.last.iter().map(|(&offset, &value)| (value, offset)).collect();
    for value in std::mem::take(&mut partition.acked_somewhere) {
        match places.get(&value) {
            Some(&offset) => {
                let (producer, first) = value;
                partition.acked.push(Run { offset, producer, first, count: 1 });
            }
            None => report.add(Class::LostWrite, format!("{number}: {value:?}, acknowledged somewhere")),
        }
    }
}

/// Everything that was acknowledged is there, where it was acknowledged.
fn acks(number: i32, partition: &Partition, report: &mut Report) {
    let places: HashMap<Value, i64> =
        partition.last.iter().map(|(&offset, &value)| (value, offset)).collect();
    for run in &partition.acked {
        for index in 0..run.count {
            let (offset, value) = (run.offset + index, (run.producer, run.first + index));
            match partition.last.get(&offset) {
                Some(found) if *found == value => continue,
                found => match places.get(&value) {
                    None => report.add(
                        Class::LostWrite,
                        format!("{number}: {value:?}, acknowledged at {offset}, where {found:?} is"),
                    ),
                    Some(at) => report.add(
                        Class::InconsistentOffsets,
                        format!("{number}: {value:?}, acknowledged at {offset}, is at {at}"),
                    ),
                },
            }
        }
    }
}

fn unseen(client: &str, number: i32, partition: &Partition, seen: &BTreeSet<i64>, report: &mut Report) {
    for run in &partition.acked {
        let missing = (run.offset..run.offset + run.count).filter(|offset| !seen.contains(offset)).count();
        if missing > 0 {
            report.add(Class::Unseen, format!("{client} at {number}: {missing} records of {run:?}"));
        }
    }
}
