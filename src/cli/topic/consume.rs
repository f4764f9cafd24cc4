//! `ketcd topic consume`: one long-polling Fetch for each leader, records to stdout.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::format::{JsonRecord, Pattern, Shown};
use super::start::Start;
use crate::cli::client::{Cluster, ConnectArgs, by_leader};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::cli::offsets::{At, offsets};
use crate::cli::output::{self, Stdout};
use crate::protocol::batch::{BATCH_HEADER_BYTES, BatchError, BatchHeader, split, verify_crc};
use crate::protocol::compression::decompress;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::protocol::peer::messages::fetch_response::PartitionData;
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::peer::messages::{FetchRequest, FetchResponse};
use crate::protocol::peer::{Peer, PeerError};
use crate::protocol::records::walk;
use crate::types::Clock;

/// How long a broker may hold a fetch that has nothing to give.
const WAIT: Duration = Duration::from_millis(500);
/// Pause before brokers are asked again after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Bytes asked for from one partition at a time. A larger batch comes anyway (KIP-74).
const PARTITION_BYTES: i32 = 1 << 20;
/// The first version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;
/// The largest batch after decompression, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// The forms that records come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RecordFormat {
    /// As -f says
    Plain,
    /// One JSON document a line
    Json,
}

/// Options of `ketcd topic consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic consume hello --from start
  ketcd topic consume orders --from 10m --exit-at-end -o json
  ketcd topic consume orders --from -5 -e -f '%p:%o %T %k=%s\\n'

-f knows %t topic %p partition %o offset %T timestamp %k key %K its length %s value %S its length
%h headers %%, and \\n \\t \\r \\0 \\\\ \\xHH. A null key or value prints as nothing, its length as -1.")]
pub struct ConsumeArgs {
    /// Name of the topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Where to begin: start, end, OFFSET, -N (the last N), @MILLIS, RFC 3339 time, or an age like 10m
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    from: Start,
    /// Only this partition (repeatable)
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    /// End after this many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// End at the offsets that were the end at the start
    #[arg(short = 'e', long)]
    exit_at_end: bool,
    /// How to print a record
    #[arg(short = 'f', long, value_name = "FORMAT", default_value = "%s\\n", value_parser = Pattern::parse)]
    format: Pattern,
    /// Form of the answer
    #[arg(
        short = 'o',
        long = "output",
        value_name = "plain|json",
        value_enum,
        hide_possible_values = true,
        default_value_t = RecordFormat::Plain
    )]
    output: RecordFormat,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ConsumeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let topic = cluster.topic(&args.topic).await?;
    let next = args.from.resolve(&mut cluster, &topic, &args.partition).await?;
    let ends = if args.exit_at_end {
        let ends = offsets(&mut cluster, &topic, At::End).await?;
        Some(ends.into_iter().map(|(partition, end)| (partition, end.unwrap_or(0))).collect())
    } else {
        None
    };
    let mut consumer = Consumer {
        topic,
        next,
        ends,
        left: args.count.unwrap_or(u64::MAX),
        printer: Printer { name: args.topic, pattern: args.format, form: args.output, out: output::stdout() },
    };
    let clock = Clock::system();
    let mut lost_since = None;
    while !consumer.is_done() {
        match consumer.round(&mut cluster).await {
            Ok(()) => lost_since = None,
            // A broker that restarts is back soon: what was read is remembered here.
            Err(error) if error.exit == Exit::Unreachable => {
                let since = *lost_since.get_or_insert_with(|| clock.elapsed());
                if clock.elapsed().saturating_sub(since) > cluster.timeout() {
                    return Err(error);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    consumer.printer.out.flush()?;
    Ok(())
}

struct Consumer {
    topic: MetadataResponseTopic,
    /// The offset to fetch next, by partition.
    next: BTreeMap<i32, i64>,
    /// Where to end, by partition.
    ends: Option<BTreeMap<i32, i64>>,
    /// Records still to print.
    left: u64,
    printer: Printer,
}

impl Consumer {
    fn is_done(&self) -> bool {
        self.left == 0 || self.ends.is_some() && !self.next.keys().any(|partition| self.wants(*partition))
    }

    fn wants(&self, partition: i32) -> bool {
        let Some(next) = self.next.get(&partition) else { return false };
        self.ends.as_ref().is_none_or(|ends| ends.get(&partition).is_some_and(|end| next < end))
    }

    /// One fetch from every leader, all at the same time.
    async fn round(&mut self, cluster: &mut Cluster) -> Outcome {
        let mut fetches = Vec::new();
        let leaders = by_leader(&self.topic);
        // With several leaders a quiet one must not hold up the others for long.
        let wait = if leaders.len() > 1 { WAIT / 4 } else { WAIT };
        for (leader, partitions) in leaders {
            let wanted: Vec<(i32, i64)> = partitions
                .iter()
                .map(|partition| partition.partition_index)
                .filter(|partition| self.wants(*partition))
                .filter_map(|partition| Some((partition, *self.next.get(&partition)?)))
                .collect();
            if !wanted.is_empty() {
                let peer = cluster.take(leader).await?;
                fetches.push(fetch(leader, peer, &self.topic, wanted, wait, cluster.timeout()));
            }
        }
        let mut stale = fetches.is_empty();
        for (leader, answer) in join_all(fetches).await {
            match answer {
                Ok((peer, answer)) => {
                    cluster.give_back(leader, peer);
                    stale |= self.take(&answer)?;
                }
                Err(error) if error.is_unreachable() => {
                    eprintln!("{error}; looking for another leader");
                    stale = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.printer.out.flush()?;
        if stale && !self.is_done() {
            tokio::time::sleep(RETRY_PAUSE).await;
            self.topic = cluster.topic(&self.printer.name).await?;
        }
        Ok(())
    }

    /// Prints an answer. True if the metadata is stale.
    fn take(&mut self, answer: &FetchResponse) -> Outcome<bool> {
        if answer.error_code != ErrorCode::None.code() {
            return Err(CliError::from_code("fetch", answer.error_code, None));
        }
        let mut stale = false;
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            match ErrorCode::from_code(partition.error_code).unwrap_or(ErrorCode::UnknownServerError) {
                ErrorCode::None => self.take_partition(partition)?,
                ErrorCode::OffsetOutOfRange => self.reset(index)?,
                error => {
                    let failed = CliError::from_code(
                        &format!("fetch from {}-{index}", self.printer.name),
                        error.code(),
                        None,
                    );
                    if failed.exit != Exit::Temporary {
                        return Err(failed);
                    }
                    stale = true;
                }
            }
        }
        Ok(stale)
    }

    /// The offset is not there: retention was faster, or there never was such an offset.
    fn reset(&self, index: i32) -> Outcome {
        let offset = self.next.get(&index).copied().unwrap_or_default();
        Err(CliError::failure(format!("{}-{index} has no offset {offset}", self.printer.name))
            .help(format!("what there is: ketcd topic describe {}", self.printer.name))
            .help("begin elsewhere: --from start"))
    }

    fn corrupt(&self, index: i32, base_offset: i64, why: &str) -> CliError {
        CliError::failure(format!("{}-{index}: batch at offset {base_offset}: {why}", self.printer.name))
            .help("look at the broker's files: ketcd log verify DIR")
    }

    fn take_partition(&mut self, data: &PartitionData) -> Outcome {
        let index = data.partition_index;
        let Some(next) = self.next.get(&index).copied() else { return Ok(()) };
        let end = self.ends.as_ref().and_then(|ends| ends.get(&index).copied()).unwrap_or(i64::MAX);
        let mut position = next;
        for batch in split(data.records.as_ref().unwrap_or(&Bytes::new())) {
            let (header, batch) = match batch {
                Ok(batch) => batch,
                // A last batch that is cut off is normal: the rest comes with the next fetch.
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => return Err(self.corrupt(index, position, &error.to_string())),
            };
            if header.next_offset() <= next {
                continue;
            }
            if self.left == 0 {
                break;
            }
            if !header.is_control() {
                let printed = self.printer.batch(index, &header, &batch, next..end, self.left);
                self.left -= printed.map_err(|problem| match problem {
                    BatchProblem::Corrupt(why) => self.corrupt(index, header.base_offset, &why),
                    BatchProblem::Output(error) => error,
                })?;
            }
            position = header.next_offset();
        }
        self.next.insert(index, position);
        Ok(())
    }
}

enum BatchProblem {
    Corrupt(String),
    Output(CliError),
}

struct Printer {
    name: String,
    pattern: Pattern,
    form: RecordFormat,
    out: Stdout,
}

impl Printer {
    /// Prints the records of a batch whose offsets are in `wanted`, at most `left`. Gives how many.
    fn batch(
        &mut self,
        partition: i32,
        header: &BatchHeader,
        batch: &Bytes,
        wanted: std::ops::Range<i64>,
        left: u64,
    ) -> Result<u64, BatchProblem> {
        let corrupt = |why: &dyn std::fmt::Display| BatchProblem::Corrupt(why.to_string());
        verify_crc(batch).map_err(|e| corrupt(&e))?;
        let codec = header.codec().ok_or_else(|| corrupt(&"unknown codec"))?;
        let section = batch.get(BATCH_HEADER_BYTES..).unwrap_or_default();
        let section = decompress(codec, section, BATCH_BYTES_MAX).map_err(|e| corrupt(&e))?;
        let mut printed = 0;
        let mut headers = Vec::new();
        for record in walk(&section, header.record_count) {
            let record = record.map_err(|e| corrupt(&e))?;
            let offset = header.base_offset + i64::from(record.offset_delta);
            if !wanted.contains(&offset) || printed == left {
                continue;
            }
            headers.clear();
            headers.extend(record.headers().map(|header| (header.key, header.value)));
            let log_append_time = header.has_log_append_time();
            let own = header.base_timestamp.saturating_add(record.timestamp_delta);
            let shown = Shown {
                topic: &self.name,
                partition,
                offset,
                timestamp: if log_append_time { header.max_timestamp } else { own },
                log_append_time,
                key: record.key,
                value: record.value,
                headers: &headers,
            };
            match self.form {
                RecordFormat::Plain => self.pattern.write(&shown, &mut self.out).map_err(CliError::from),
                RecordFormat::Json => serde_json::to_writer(&mut self.out, &JsonRecord::from(&shown))
                    .map_err(CliError::from)
                    .and_then(|()| Ok(self.out.write_all(b"\n")?)),
            }
            .map_err(BatchProblem::Output)?;
            printed += 1;
        }
        Ok(printed)
    }
}

type Fetched = Result<(Peer, FetchResponse), PeerError>;

/// A fetch without a session (KIP-227), for partitions of one leader.
async fn fetch(
    leader: i32,
    mut peer: Peer,
    topic: &MetadataResponseTopic,
    wanted: Vec<(i32, i64)>,
    wait: Duration,
    timeout: Duration,
) -> (i32, Fetched) {
    let partitions = wanted.into_iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(PARTITION_BYTES)
    });
    let request = FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic.name.clone().unwrap_or_default())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect()),
        ]);
    let answer = async {
        let version = peer.version_of::<FetchRequest>()?;
        let version = if topic.topic_id.is_nil() { version.min(TOPIC_ID_VERSION - 1) } else { version };
        let answer = peer.call_within(&request, version, wait + timeout).await?;
        Ok((peer, answer))
    };
    (leader, answer.await)
}
