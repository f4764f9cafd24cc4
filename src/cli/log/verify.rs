//! `ketcd log verify`: every batch (CRC, order of offsets, order of epochs, records) and every index entry against its segment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::segment::{Placed, SegmentReader};
use super::{base_offset, files, index};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, Table, count};
use crate::protocol::batch::{BATCH_HEADER_BYTES, verify_crc};
use crate::protocol::compression::decompress;
use crate::protocol::records::walk;

/// The largest batch after decompression, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Options of `ketcd log verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd log verify ketcd-data
  ketcd log verify ketcd-data/orders-0 --records
  ketcd log verify /var/lib/kafka/data --allow-gaps -o json

A broker that writes at the same time may show a half-written end of an active segment.")]
pub struct VerifyArgs {
    /// A data directory, a partition's directory, or a .log file
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Decompress and walk every record too
    #[arg(long)]
    records: bool,
    /// Offsets may be missing, as in compacted topics
    #[arg(long)]
    allow_gaps: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// One segment, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Verdict {
    file: String,
    batches: u64,
    records: u64,
    size_bytes: u64,
    preallocated_bytes: u64,
    first_offset: Option<i64>,
    end_offset: Option<i64>,
    index_entries: usize,
    time_index_entries: usize,
    problems: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read, or something is bad.
pub fn run(args: &VerifyArgs) -> Outcome {
    let files = files(&args.path, &["log"])?;
    if files.is_empty() {
        return Err(CliError::failure("no .log files there")
            .at(args.path.display().to_string())
            .help("name a data directory such as ketcd-data, or a partition's in it"));
    }
    let verdicts = verify(&files, args)?;
    let bad: usize = verdicts.iter().map(|verdict| verdict.problems.len()).sum();
    match args.output.format {
        Format::Json => output::json(&verdicts)?,
        format => {
            let mut table = Table::new(&["SEGMENT", "BATCHES", "RECORDS", "SIZE", "OFFSETS", "STATE"])
                .wide(&["INDEX", "TIMEINDEX", "PREALLOCATED"]);
            for verdict in &verdicts {
                let offsets = verdict
                    .first_offset
                    .zip(verdict.end_offset)
                    .map(|(first, end)| format!("{first}-{}", end - 1));
                let problems = verdict.problems.len();
                let state = if problems == 0 { "ok".to_owned() } else { count(problems, "problem") };
                table.row(&[
                    &verdict.file,
                    &verdict.batches,
                    &verdict.records,
                    &output::bytes(verdict.size_bytes),
                    &offsets.unwrap_or_default(),
                    &state,
                    &verdict.index_entries,
                    &verdict.time_index_entries,
                    &verdict.preallocated_bytes,
                ]);
            }
            table.print(format)?;
        }
    }
    if bad == 0 {
        return Ok(());
    }
    let error =
        CliError::failure(format!("{} found", count(bad, "problem"))).at(args.path.display().to_string());
    let told =
        verdicts.iter().flat_map(|verdict| verdict.problems.iter().map(|p| format!("{}: {p}", verdict.file)));
    Err(told.take(20).fold(error, CliError::help))
}

/// The segments of one directory belong to one log: order goes on from file to file.
fn verify(files: &[PathBuf], args: &VerifyArgs) -> Outcome<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let mut directory: Option<&Path> = None;
    let mut order = Order::default();
    for file in files {
        if directory != file.parent() {
            directory = file.parent();
            order = Order::default();
        }
        verdicts.push(segment(file, &mut order, args)?);
    }
    Ok(verdicts)
}

/// What the batches before say about the next one.
#[derive(Debug, Default)]
struct Order {
    next_offset: Option<i64>,
    epoch: i32,
}

/// What the index checks need to know of a batch.
#[derive(Debug, Clone, Copy)]
struct Known {
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

fn segment(path: &Path, order: &mut Order, args: &VerifyArgs) -> Outcome<Verdict> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let mut verdict = Verdict {
        file: parent.map_or_else(|| name.clone(), |parent| format!("{parent}/{name}")),
        batches: 0,
        records: 0,
        size_bytes: 0,
        preallocated_bytes: 0,
        first_offset: None,
        end_offset: None,
        index_entries: 0,
        time_index_entries: 0,
        problems: Vec::new(),
    };
    let cannot = |error: std::io::Error| {
        CliError::failure(format!("cannot read: {error}")).at(path.display().to_string())
    };
    let mut reader = SegmentReader::open(path).map_err(cannot)?;
    let mut known = BTreeMap::new();
    let mut whole = true;
    for placed in reader.by_ref() {
        match placed {
            Ok(placed) => {
                check(&placed, order, args, path, &mut verdict);
                let header = &placed.header;
                let facts = Known {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    max_timestamp: header.max_timestamp,
                };
                known.insert(placed.position, facts);
            }
            Err(error) => {
                whole = false;
                verdict.problems.push(error.to_string());
            }
        }
    }
    if whole {
        verdict.preallocated_bytes = reader.bytes_left();
    }
    indexes(path, &known, &mut verdict);
    Ok(verdict)
}

fn check(placed: &Placed, order: &mut Order, args: &VerifyArgs, path: &Path, verdict: &mut Verdict) {
    let header = &placed.header;
    let mut problem = |what: String| verdict.problems.push(format!("position {}: {what}", placed.position));
    if let Err(error) = verify_crc(&placed.bytes) {
        problem(error.to_string());
    } else if args.records
        && let Err(error) = walk_records(placed)
    {
        problem(error);
    }
    let named = base_offset(path).unwrap_or_default();
    match order.next_offset {
        _ if header.base_offset < named => {
            problem(format!("offset {} in a segment that begins at {named}", header.base_offset));
        }
        Some(next) if header.base_offset < next => {
            problem(format!("offset {} comes again after {}", header.base_offset, next - 1));
        }
        Some(next) if header.base_offset > next && !args.allow_gaps => {
            problem(format!(
                "offsets {next}-{} are missing (--allow-gaps if compacted)",
                header.base_offset - 1
            ));
        }
        _ => {}
    }
    if header.partition_leader_epoch < order.epoch {
        problem(format!("leader epoch {} comes after {}", header.partition_leader_epoch, order.epoch));
    }
    order.next_offset = Some(header.next_offset());
    order.epoch = order.epoch.max(header.partition_leader_epoch);
    verdict.batches += 1;
    verdict.records += u64::try_from(header.record_count).unwrap_or_default();
    verdict.size_bytes += placed.bytes.len() as u64;
    verdict.first_offset.get_or_insert(header.base_offset);
    verdict.end_offset = Some(header.next_offset());
}

fn walk_records(placed: &Placed) -> Result<(), String> {
    let header = &placed.header;
    let codec = header.codec().ok_or("unknown codec")?;
    let section = placed.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    let section = decompress(codec, section, BATCH_BYTES_MAX).map_err(|error| error.to_string())?;
    walk(&section, header.record_count)
        .try_for_each(|record| record.map(|_| ()).map_err(|error| error.to_string()))
}

/// An index entry must lead to the beginning of a batch that is not after its offset; a time entry must not promise more than the
/// batches up to its offset keep. A missing index is no problem: brokers rebuild it.
fn indexes(path: &Path, batches: &BTreeMap<u64, Known>, verdict: &mut Verdict) {
    let base = base_offset(path).unwrap_or_default();
    let end = verdict.end_offset.unwrap_or(base);
    let mut problems = Vec::new();
    match index::offsets(&path.with_extension("index"), base) {
        Ok(entries) => {
            verdict.index_entries = entries.len();
            for entry in &entries {
                let what = format!("index entry {} -> {}", entry.offset, entry.position);
                match batches.get(&entry.position) {
                    None => problems.push(format!("{what}: no batch begins there")),
                    Some(batch) if batch.base_offset > entry.offset => {
                        problems
                            .push(format!("{what}: the batch there begins at offset {}", batch.base_offset));
                    }
                    Some(_) if entry.offset >= end => problems.push(format!("{what}: beyond the end {end}")),
                    Some(_) => {}
                }
            }
            for pair in entries.windows(2) {
                if let [a, b] = pair
                    && (a.offset >= b.offset || a.position >= b.position)
                {
                    problems.push(format!("index entry {} -> {} is out of order", b.offset, b.position));
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => problems.push(format!("index cannot be read: {error}")),
    }
    match index::times(&path.with_extension("timeindex"), base) {
        Ok(entries) => {
            verdict.time_index_entries = entries.len();
            times(&entries, batches, end, &mut problems);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => problems.push(format!("time index cannot be read: {error}")),
    }
    verdict.problems.extend(problems);
}

fn times(entries: &[index::TimeEntry], batches: &BTreeMap<u64, Known>, end: i64, problems: &mut Vec<String>) {
    let mut batches = batches.values().peekable();
    let mut youngest = i64::MIN;
    let mut before: Option<&index::TimeEntry> = None;
    for entry in entries {
        let what = format!("time index entry {} -> {}", entry.timestamp, entry.offset);
        if before.is_some_and(|before| before.timestamp > entry.timestamp || before.offset > entry.offset) {
            problems.push(format!("{what} is out of order"));
            break;
        }
        before = Some(entry);
        while let Some(batch) = batches.next_if(|batch| batch.last_offset <= entry.offset) {
            youngest = youngest.max(batch.max_timestamp);
        }
        if youngest > entry.timestamp {
            problems.push(format!("{what}: a record before that offset has timestamp {youngest}"));
        }
        if entry.offset >= end {
            problems.push(format!("{what}: beyond the end {end}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::{BatchBuilder, NewRecord};

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, bytes: &[u8]) {
            let partition = self.0.path().join("t-0");
            std::fs::create_dir_all(&partition).unwrap();
            std::fs::write(partition.join(name), bytes).unwrap();
        }

        fn problems(&self, allow_gaps: bool) -> Vec<String> {
            let output = OutputArgs { format: Format::Json };
            let args = VerifyArgs { path: self.0.path().to_owned(), records: true, allow_gaps, output };
            let files = files(&args.path, &["log"]).unwrap();
            verify(&files, &args).unwrap().into_iter().flat_map(|verdict| verdict.problems).collect()
        }
    }

    fn batch(base_offset: i64, epoch: i32, timestamp: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base_offset).leader_epoch(epoch);
        builder.push(NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() }).unwrap();
        builder.build().to_vec()
    }

    const FIRST: &str = "00000000000000000000.log";

    #[test]
    fn a_good_log_of_two_segments_with_indexes_has_no_problem() {
        let fixture = Fixture::new();
        let mut first = [batch(0, 0, 10), batch(1, 0, 20)].concat();
        let second_at = u32::try_from(batch(0, 0, 10).len()).unwrap();
        first.extend([0; 500]);
        fixture.file(FIRST, &first);
        fixture.file("00000000000000000000.index", &[1_u32.to_be_bytes(), second_at.to_be_bytes()].concat());
        fixture.file(
            "00000000000000000000.timeindex",
            &[&20_i64.to_be_bytes()[..], &1_u32.to_be_bytes()[..]].concat(),
        );
        fixture.file("00000000000000000002.log", &batch(2, 3, 5));
        assert_eq!(fixture.problems(false), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_damage_is_found() {
        let fixture = Fixture::new();
        let mut flipped = batch(1, 0, 0);
        *flipped.last_mut().unwrap() ^= 1;
        let torn = batch(9, 5, 0);
        let all = [batch(0, 7, 30), flipped, batch(1, 7, 0), batch(5, 7, 0), torn[..30].to_vec()].concat();
        fixture.file(FIRST, &all);
        fixture.file("00000000000000000000.index", &[4_u32.to_be_bytes(), 7_u32.to_be_bytes()].concat());
        fixture.file(
            "00000000000000000000.timeindex",
            &[&20_i64.to_be_bytes()[..], &1_u32.to_be_bytes()[..]].concat(),
        );
        let problems = fixture.problems(false);
        let expected = [
            "crc",
            "leader epoch 0 comes after 7",
            "offset 1 comes again",
            "offsets 2-4 are missing",
            "truncated",
            "index entry 4 -> 7: no batch",
            "time index entry 20 -> 1: a record before",
        ];
        for what in expected {
            assert!(problems.iter().any(|problem| problem.contains(what)), "{what} not in {problems:#?}");
        }
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        assert_eq!(fixture.problems(true).len(), expected.len() - 1);
    }
}
