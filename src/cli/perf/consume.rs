//! `ketcd perf consume`: fetches without a look at records; only the headers of batches are read, to know the next offset and
//! that none is missing.

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::json;

use super::frames::FetchFrame;
use super::report::Report;
use super::run::Run;
use super::setup::{self, RunArgs, clean_up, leader, partition_of};
use crate::cli::client::Cluster;
use crate::cli::exit::{CliError, Outcome};
use crate::cli::offsets::{At, offsets};
use crate::protocol::batch::{BatchError, split, verify_crc};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::{FetchResponse, ResponseHeader};
use crate::protocol::peer::{Decodable as _, HeaderVersion as _, PeerReader, PeerWriter};

/// Options of `ketcd perf consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd perf produce --duration 5s && ketcd perf consume --pid $(pidof ketcd)
  ketcd perf consume --topic orders --connections 4 --fetch-bytes 4194304 --check-crc
  ketcd perf consume --follow -o json                              only what is new")]
pub struct ConsumeArgs {
    /// Bytes asked for by one fetch
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    fetch_bytes: i32,
    /// Connections; each reads one partition, they go round
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Check the CRC of every batch
    #[arg(long)]
    check_crc: bool,
    /// Begin at the end and wait for records, instead of reading what is there again and again
    #[arg(long)]
    follow: bool,
    /// End after this many measured records instead of after --duration
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ConsumeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.run.connect).await?;
    let topic = setup::topic(&mut cluster, &args.run).await?;
    let starts = offsets(&mut cluster, &topic, At::Start).await?;
    let ends = offsets(&mut cluster, &topic, At::End).await?;
    let run = Run::new(args.records);
    let mut links = Vec::new();
    for connection in 0..args.connections {
        let partition = partition_of(&topic, connection);
        let at = |offsets: &std::collections::BTreeMap<i32, Option<i64>>| {
            offsets.get(&partition).copied().flatten().unwrap_or_default()
        };
        let (start, end) = (at(&starts), at(&ends));
        if start >= end && !args.follow {
            return Err(CliError::failure(format!("{}-{partition} has no records to read", args.run.topic))
                .help(format!("write some: ketcd perf produce --topic {}", args.run.topic)));
        }
        let peer = cluster.open(leader(&topic, partition)?).await?;
        let frame = FetchFrame::new(&peer, &topic, partition, args.fetch_bytes, 500)?;
        let (reader, writer) = peer.into_halves();
        let (next, restart) = if args.follow { (end, None) } else { (start, Some((start, end))) };
        let place = format!("{}-{partition}", args.run.topic);
        links.push(Link { reader, writer, frame, next, restart, check_crc: args.check_crc, place });
    }
    let connections =
        async { try_join_all(links.into_iter().map(|link| link.drive(&run))).await.map(|_| ()) };
    let (totals, before, after) = run.drive(&args.run, connections).await?;
    let settings = json!({
        "fetch_bytes": args.fetch_bytes,
        "connections": args.connections,
        "check_crc": args.check_crc,
        "follow": args.follow,
        "partitions": topic.partitions.len(),
    });
    let mut report = Report::new("consume", cluster.address(), settings, totals, &before, &after);
    report.latency_us = run.latencies.borrow().summary();
    clean_up(&mut cluster, &args.run).await?;
    report.print(args.run.output.format)
}

/// One connection that reads one partition.
struct Link {
    reader: PeerReader,
    writer: PeerWriter,
    frame: FetchFrame,
    next: i64,
    /// Begin again at the first offset when the second is reached.
    restart: Option<(i64, i64)>,
    check_crc: bool,
    place: String,
}

impl Link {
    async fn drive(mut self, run: &Run) -> Outcome {
        loop {
            let since = run.now();
            self.writer.send(self.frame.from(self.next)).await?;
            let answer = self.reader.recv().await?;
            run.latency(&run.latencies, since);
            let records = records_of(answer, self.frame.version, &self.place)?;
            let seen = walk(&records, self.next, self.check_crc)
                .map_err(|why| CliError::failure(why).at(self.place.clone()))?;
            self.next = seen.next;
            run.count(seen.records, seen.bytes);
            if let Some((start, end)) = self.restart
                && self.next >= end
            {
                self.next = start;
            }
        }
    }
}

/// The records of the one partition of an answer. Borrows the answer's bytes.
///
/// # Errors
/// If the answer cannot be decoded or has an error code.
pub fn records_of(mut answer: Bytes, version: i16, place: &str) -> Outcome<Bytes> {
    let undecodable = |error: &dyn std::fmt::Display| {
        CliError::failure(format!("the answer to Fetch cannot be decoded: {error}"))
    };
    ResponseHeader::decode(&mut answer, FetchResponse::header_version(version))
        .map_err(|e| undecodable(&e))?;
    let answer = FetchResponse::decode(&mut answer, version).map_err(|e| undecodable(&e))?;
    let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let code = partition.as_ref().map_or(answer.error_code, |partition| partition.error_code);
    if code != ErrorCode::None.code() {
        return Err(CliError::from_code("fetch", code, None).at(place));
    }
    Ok(partition.and_then(|partition| partition.records).unwrap_or_default())
}

/// What the batches of an answer hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The offset to fetch next.
    pub next: i64,
    /// Records in whole batches.
    pub records: u64,
    /// Bytes of whole batches.
    pub bytes: u64,
}

/// Reads the headers of the batches in `records`, which were fetched from `next` on.
///
/// # Errors
/// If a batch is missing, corrupt, or out of order.
pub fn walk(records: &Bytes, next: i64, check_crc: bool) -> Result<Seen, String> {
    let mut seen = Seen { next, records: 0, bytes: 0 };
    for batch in split(records) {
        let (header, batch) = match batch {
            Ok(batch) => batch,
            // The last one may be cut off by the limit of the fetch.
            Err(BatchError::Truncated { .. }) => break,
            Err(error) => return Err(format!("after offset {}: {error}", seen.next)),
        };
        // Only the first batch may begin before the offset that was asked for.
        if header.base_offset > seen.next || header.base_offset < seen.next && seen.bytes > 0 {
            return Err(format!("offset {} comes where {} is due", header.base_offset, seen.next));
        }
        if check_crc {
            verify_crc(&batch).map_err(|error| format!("batch at offset {}: {error}", header.base_offset))?;
        }
        seen.next = header.next_offset();
        seen.records += u64::try_from(header.record_count).unwrap_or_default();
        seen.bytes += batch.len() as u64;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::{BatchBuilder, NewRecord};

    fn batch(base_offset: i64, records: i32) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base_offset);
        (0..records)
            .for_each(|_| builder.push(NewRecord { value: Some(b"v"), ..NewRecord::default() }).unwrap());
        builder.build().to_vec()
    }

    #[test]
    fn whole_batches_are_counted_and_a_cut_one_is_left_for_the_next_fetch() {
        let mut bytes = [batch(10, 3), batch(13, 2)].concat();
        let whole = bytes.len() as u64;
        bytes.extend_from_slice(batch(15, 1).get(..65).unwrap());
        let seen = walk(&bytes.into(), 11, true).unwrap();
        assert_eq!(seen, Seen { next: 15, records: 5, bytes: whole });
    }

    #[test]
    fn a_gap_a_repetition_and_a_flipped_bit_are_errors() {
        let gap = [batch(10, 3), batch(14, 1)].concat();
        assert!(walk(&gap.into(), 10, false).unwrap_err().contains("offset 14 comes where 13"));
        let again = [batch(10, 3), batch(10, 3)].concat();
        assert!(walk(&again.into(), 10, false).is_err());
        let mut flipped = batch(10, 3);
        *flipped.last_mut().unwrap() ^= 1;
        assert!(walk(&flipped.into(), 10, true).is_err());
    }
}
