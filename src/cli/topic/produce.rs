//! `ketcd topic produce`: lines in, batches out. Lines are read by a thread of their own; all that waits is sent together, one
//! batch for each partition and request, so that typing is quick and a file is fast.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal as _, Read};

use serde::Serialize;
use tokio::sync::mpsc;

use super::key_value;
use super::partitioner::Partitioner;
use super::sender::{Acks, Batch, Sender};
use crate::cli::client::{Cluster, ConnectArgs};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::cli::output::{self, Format, OutputArgs, count};
use crate::protocol::compression::Codec;
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::sys::read;
use crate::types::Clock;

/// Lines that are read ahead of the sender.
const LINES_AHEAD_MAX: usize = 8192;

/// Options of `ketcd topic produce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo hi | ketcd topic produce hello
  ketcd topic produce orders -k : -z zstd < orders.txt      lines of KEY:VALUE
  ketcd topic produce orders -f orders.txt -H source=import --partition 0

A line is a record. Records with a key go to the partition that Java clients choose (murmur2).")]
pub struct ProduceArgs {
    /// Name of the topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Read lines from a file instead of stdin
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<String>,
    /// Split each line at the first SEP into key and value
    #[arg(short = 'k', long, value_name = "SEP", conflicts_with = "key", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// Give every record this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Give every record a header (repeatable, order and repeated names are kept)
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Empty keys and values are null
    #[arg(short = 'Z', long = "null")]
    null: bool,
    /// Write to this partition
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Compress batches
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Codec,
    /// Acknowledgements to wait for: 0, 1 or all
    #[arg(long, value_name = "ACKS", default_value = "all")]
    acks: Acks,
    /// Largest batch, in bytes before compression
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    batch_bytes: usize,
    /// Let the broker refuse duplicates that retries could make
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Reads the name of a codec, for clap.
///
/// # Errors
/// A sentence for the user.
pub fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "give none, gzip, snappy, lz4 or zstd".to_owned())
}

/// What was written, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Produced<'a> {
    topic: &'a str,
    records: u64,
    partitions: Vec<Written>,
}

/// What was written to one partition; offsets are those of the first and last record of this run (none with acks=0).
#[derive(Debug, Clone, Serialize)]
pub(super) struct Written {
    pub(super) partition: i32,
    pub(super) records: u64,
    pub(super) first_offset: Option<i64>,
    pub(super) last_offset: Option<i64>,
}

/// One line, cut.
#[derive(Debug)]
struct Line {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// How lines become records.
#[derive(Debug, Clone)]
struct Cut {
    separator: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    null: bool,
}

impl Cut {
    fn cut(&self, line: &[u8]) -> Result<Line, String> {
        let (key, value) = match &self.separator {
            None => (self.key.clone(), line),
            Some(separator) => {
                let at = line.windows(separator.len()).position(|window| window == separator).ok_or_else(
                    || {
                        format!(
                            "no {:?} in {:?}",
                            String::from_utf8_lossy(separator),
                            String::from_utf8_lossy(line)
                        )
                    },
                )?;
                let (key, rest) = line.split_at(at);
                (Some(key.to_vec()), rest.get(separator.len()..).unwrap_or_default())
            }
        };
        let nullable = |bytes: &Vec<u8>| !self.null || !bytes.is_empty();
        Ok(Line { key: key.filter(nullable), value: Some(value.to_vec()).filter(nullable) })
    }
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ProduceArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let mut sender = Sender::open(&mut cluster, &args.topic, args.acks, args.idempotent).await?;
    let available = sender.available();
    if let Some(wanted) = args.partition.filter(|wanted| !available.contains(wanted)) {
        return Err(CliError::failure(format!(
            "topic {:?} has no partition {wanted} with a leader",
            args.topic
        ))
        .help(format!("look: ketcd topic describe {}", args.topic)));
    }
    let mut partitioner =
        Partitioner::new(sender.partition_count(), args.partition.map_or(available, |only| vec![only]));
    let (lines, mut received) = mpsc::channel(LINES_AHEAD_MAX);
    let input = open(args.file.as_deref())?;
    let cut = Cut {
        separator: args.key_separator.map(String::into_bytes),
        key: args.key.map(String::into_bytes),
        null: args.null,
    };
    std::thread::spawn(move || read_lines(input, &cut, &lines));
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        args.headers.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_bytes()))).collect();
    let clock = Clock::system();
    let mut building: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
    let mut waiting = Vec::new();
    while received.recv_many(&mut waiting, LINES_AHEAD_MAX).await > 0 {
        for line in waiting.drain(..) {
            let line: Line = line?;
            let partition = args.partition.unwrap_or_else(|| partitioner.choose(line.key.as_deref()));
            let bytes = line.key.as_ref().map_or(0, Vec::len) + line.value.as_ref().map_or(0, Vec::len);
            if building.get(&partition).is_some_and(|batch| batch.size_bytes() + bytes > args.batch_bytes) {
                send(&mut sender, &mut cluster, &mut building).await?;
                partitioner.next_batch();
            }
            let record = NewRecord {
                timestamp: clock.now_ms(),
                key: line.key.as_deref(),
                value: line.value.as_deref(),
                headers: &headers,
            };
            building
                .entry(partition)
                .or_insert_with(|| BatchBuilder::new().codec(args.compression, None))
                .push(record)
                .map_err(|full| CliError::failure(full.to_string()))?;
        }
        send(&mut sender, &mut cluster, &mut building).await?;
        partitioner.next_batch();
    }
    report(&args.topic, &sender.written(), args.output.format)
}

async fn send(
    sender: &mut Sender,
    cluster: &mut Cluster,
    building: &mut BTreeMap<i32, BatchBuilder>,
) -> Outcome {
    let batches = std::mem::take(building)
        .into_iter()
        .map(|(partition, builder)| Batch { partition, records: builder.record_count(), builder })
        .collect();
    sender.send(cluster, batches).await.map_err(|error| {
        let done: u64 = sender.written().iter().map(|written| written.records).sum();
        error.help(format!("{done} records before were acknowledged"))
    })
}

fn report(topic: &str, written: &[Written], format: Format) -> Outcome {
    let records = written.iter().map(|written| written.records).sum();
    if format == Format::Json {
        return output::json(&Produced { topic, records, partitions: written.to_vec() });
    }
    let n = usize::try_from(records).unwrap_or(usize::MAX);
    eprintln!("produced {} to {topic}", count(n, "record"));
    Ok(())
}

fn open(file: Option<&str>) -> Outcome<Box<dyn Read + Send>> {
    match file {
        Some(path) => read::open(path.as_ref())
            .map(|file| Box::new(file) as Box<dyn Read + Send>)
            .map_err(|error| CliError::failure(format!("cannot read: {error}")).at(path)),
        None => {
            if std::io::stdin().is_terminal() {
                eprintln!("one record a line; Ctrl-D ends");
            }
            Ok(Box::new(std::io::stdin()))
        }
    }
}

/// Sends every line to the sender; the first bad one ends it. Runs on a thread of its own: stdin blocks.
fn read_lines(input: Box<dyn Read + Send>, cut: &Cut, lines: &mpsc::Sender<Outcome<Line>>) {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let mut number = 0_u64;
    loop {
        let mut line = Vec::new();
        number += 1;
        let item = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                line.pop_if(|byte| *byte == b'\n');
                cut.cut(&line).map_err(|why| {
                    CliError::new(Exit::Failure, why)
                        .at(format!("line {number}"))
                        .help("-k names the separator")
                })
            }
            Err(error) => {
                Err(CliError::failure(format!("cannot read: {error}")).at(format!("line {number}")))
            }
        };
        let ends = item.is_err();
        if lines.blocking_send(item).is_err() || ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(
        separator: Option<&str>,
        null: bool,
        line: &str,
    ) -> Result<(Option<String>, Option<String>), String> {
        let cut = Cut { separator: separator.map(Into::into), key: None, null };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        cut.cut(line.as_bytes()).map(|line| (line.key.map(text), line.value.map(text)))
    }

    #[test]
    fn a_line_is_cut_at_the_first_separator() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(cut(None, false, "a:b"), Ok((None, some("a:b"))));
        assert_eq!(cut(Some(":"), false, "a:b:c"), Ok((some("a"), some("b:c"))));
        assert_eq!(cut(Some("::"), false, "a::"), Ok((some("a"), some(""))));
        assert_eq!(cut(Some("::"), true, "a::"), Ok((some("a"), None)));
        assert_eq!(cut(Some(":"), true, ":v"), Ok((None, some("v"))));
        assert_eq!(cut(Some(":"), false, "ab"), Err("no \":\" in \"ab\"".to_owned()));
    }

    #[test]
    fn lines_are_read_to_the_end_also_without_a_last_newline() {
        let (lines, mut received) = mpsc::channel(10);
        let cut = Cut { separator: None, key: Some(b"k".to_vec()), null: true };
        read_lines(Box::new(&b"a\n\nlast"[..]), &cut, &lines);
        drop(lines);
        let mut values = Vec::new();
        while let Some(line) = received.blocking_recv() {
            values.push(line.unwrap().value);
        }
        assert_eq!(values, [Some(b"a".to_vec()), None, Some(b"last".to_vec())]);
    }
}
