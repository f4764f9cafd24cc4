//! `ketcd log dump`: what stands in a segment or index file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::segment::{Placed, SegmentReader};
use super::{base_offset, files, index};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, Stdout};
use crate::cli::topic::format::Text;
use crate::protocol::batch::{BATCH_HEADER_BYTES, verify_crc};
use crate::protocol::compression::decompress;
use crate::protocol::records::walk;

/// The largest batch after decompression, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Options of `ketcd log dump`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd log dump ketcd-data/orders-0
  ketcd log dump ketcd-data/orders-0/00000000000000000000.log --records
  ketcd log dump ketcd-data/orders-0/00000000000000000000.timeindex -o json

With -o json each batch, record or entry is one document on a line of its own.")]
pub struct DumpArgs {
    /// A .log, .index or .timeindex file, or a partition's directory (its .log files)
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
    /// Print every record
    #[arg(long)]
    records: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A batch, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Batch {
    position: u64,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    size_bytes: usize,
    codec: Option<&'static str>,
    leader_epoch: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    timestamp_type: &'static str,
    producer_id: Option<i64>,
    producer_epoch: Option<i16>,
    base_sequence: Option<i32>,
    transactional: bool,
    control: bool,
    crc_valid: bool,
}

/// A record, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Record {
    offset: i64,
    timestamp: i64,
    key: Option<Text>,
    value: Option<Text>,
    headers: Vec<(Text, Option<Text>)>,
}

/// An index entry, as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Offset { offset: i64, position: u64 },
    Time { timestamp: i64, offset: i64 },
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read, or does not end well.
pub fn run(args: &DumpArgs) -> Outcome {
    let mut out = output::stdout();
    let files = files(&args.path, &["log"])?;
    if files.is_empty() {
        return Err(CliError::failure("no .log files there")
            .at(args.path.display().to_string())
            .help("name a partition's directory, such as ketcd-data/orders-0"));
    }
    let several = files.len() > 1;
    let mut ended = Ok(());
    for file in &files {
        if several && args.output.format != Format::Json {
            writeln!(out, "{}", file.display())?;
        }
        let one = dump(file, args, &mut out);
        if let Err(error) = one {
            if error.quiet {
                return Err(error);
            }
            ended = Err(error.at(file.display().to_string()));
        }
    }
    out.flush()?;
    ended
}

fn dump(path: &Path, args: &DumpArgs, out: &mut Stdout) -> Outcome {
    let base = base_offset(path).unwrap_or_default();
    let json = args.output.format == Format::Json;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("index") => {
            let entries = index::offsets(path, base)?;
            let all = entries.iter().map(|e| Entry::Offset { offset: e.offset, position: e.position });
            entries_out(all, json, out)
        }
        Some("timeindex") => {
            let entries = index::times(path, base)?;
            let all = entries.iter().map(|e| Entry::Time { timestamp: e.timestamp, offset: e.offset });
            entries_out(all, json, out)
        }
        _ => segment(path, args.records, json, out),
    }
}

fn entries_out(entries: impl Iterator<Item = Entry>, json: bool, out: &mut Stdout) -> Outcome {
    for entry in entries {
        match (json, &entry) {
            (true, entry) => line(entry, out)?,
            (false, Entry::Offset { offset, position }) => {
                writeln!(out, "offset {offset}  position {position}")?
            }
            (false, Entry::Time { timestamp, offset }) => {
                writeln!(out, "timestamp {timestamp}  offset {offset}")?
            }
        }
    }
    Ok(())
}

fn line<T: Serialize>(value: &T, out: &mut Stdout) -> Outcome {
    serde_json::to_writer(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}

fn segment(path: &Path, records: bool, json: bool, out: &mut Stdout) -> Outcome {
    let mut reader = SegmentReader::open(path)?;
    for placed in reader.by_ref() {
        let placed = placed.map_err(|error| CliError::failure(error.to_string()))?;
        let batch = describe(&placed);
        if json {
            line(&batch, out)?
        } else {
            writeln!(out, "{}", sentence(&batch))?
        }
        if records {
            for record in records_of(&placed).map_err(CliError::failure)? {
                if json { line(&record, out)? } else { writeln!(out, "{}", record_sentence(&record))? }
            }
        }
    }
    if reader.bytes_left() > 0 && !json {
        writeln!(out, "{} preallocated", output::bytes(reader.bytes_left()))?;
    }
    Ok(())
}

fn describe(placed: &Placed) -> Batch {
    let header = &placed.header;
    let idempotent = header.has_producer_id();
    Batch {
        position: placed.position,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        records: header.record_count,
        size_bytes: header.size_bytes(),
        codec: header.codec().map(crate::protocol::compression::Codec::name),
        leader_epoch: header.partition_leader_epoch,
        base_timestamp: header.base_timestamp,
        max_timestamp: header.max_timestamp,
        timestamp_type: if header.has_log_append_time() { "LogAppendTime" } else { "CreateTime" },
        producer_id: idempotent.then_some(header.producer_id),
        producer_epoch: idempotent.then_some(header.producer_epoch),
        base_sequence: idempotent.then_some(header.base_sequence),
        transactional: header.is_transactional(),
        control: header.is_control(),
        crc_valid: verify_crc(&placed.bytes).is_ok(),
    }
}

fn sentence(batch: &Batch) -> String {
    let mut line = format!(
        "@{:<10} offsets {}-{}  records {}  {} B  {}  epoch {}  time {}-{} {}",
        batch.position,
        batch.base_offset,
        batch.last_offset,
        batch.records,
        batch.size_bytes,
        batch.codec.unwrap_or("unknown codec"),
        batch.leader_epoch,
        batch.base_timestamp,
        batch.max_timestamp,
        batch.timestamp_type,
    );
    if let Some(((id, epoch), sequence)) =
        batch.producer_id.zip(batch.producer_epoch).zip(batch.base_sequence)
    {
        line += &format!("  producer {id} epoch {epoch} sequence {sequence}");
    }
    for (is, word) in
        [(batch.transactional, "transactional"), (batch.control, "control"), (!batch.crc_valid, "BAD CRC")]
    {
        if is {
            line += &format!("  {word}");
        }
    }
    line
}

fn records_of(placed: &Placed) -> Result<Vec<Record>, String> {
    let header = &placed.header;
    let at = |why: &dyn std::fmt::Display| format!("batch at offset {}: {why}", header.base_offset);
    let codec = header.codec().ok_or_else(|| at(&"unknown codec"))?;
    let section = placed.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    let section = decompress(codec, section, BATCH_BYTES_MAX).map_err(|e| at(&e))?;
    walk(&section, header.record_count)
        .map(|record| {
            let record = record.map_err(|e| at(&e))?;
            let own = header.base_timestamp.saturating_add(record.timestamp_delta);
            Ok(Record {
                offset: header.base_offset + i64::from(record.offset_delta),
                timestamp: if header.has_log_append_time() { header.max_timestamp } else { own },
                key: record.key.map(Text::of),
                value: record.value.map(Text::of),
                headers: record.headers().map(|h| (Text::of(h.key), h.value.map(Text::of))).collect(),
            })
        })
        .collect()
}

fn record_sentence(record: &Record) -> String {
    let text = |text: &Option<Text>| match text {
        None => "null".to_owned(),
        Some(Text::Plain(text)) => format!("{text:?}"),
        Some(Text::Binary { base64 }) => format!("base64:{base64}"),
    };
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(key, value)| {
            let Text::Plain(key) = key else { return "(binary)".to_owned() };
            format!("{key}={}", text(value))
        })
        .collect();
    let headers = if headers.is_empty() { String::new() } else { format!("  headers {}", headers.join(" ")) };
    format!(
        "  | {} time {} key {} value {}{headers}",
        record.offset,
        record.timestamp,
        text(&record.key),
        text(&record.value)
    )
}
