//! Record batches with any byte changed and the checksum mended: refused or stored, and what is stored can be read.

use bytes::{Bytes, BytesMut};
use ketcd::protocol::batch::{self, BatchHeader};
use ketcd::protocol::compression::Codec;
use ketcd::protocol::peer::Peer;
use ketcd::protocol::records::BatchBuilder;

use crate::fixture::{
    Topic, build, fetch, list_offset, now_ms, peer, produce, produce_values, topic, topic_with,
};
use crate::wire;

/// What Kafka may say of a batch: CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_TIMESTAMP, UNSUPPORTED_FOR_MESSAGE_FORMAT,
/// OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_RECORD.
const REFUSALS: [i16; 8] = [2, 10, 32, 43, 45, 47, 53, 87];

fn changed(good: &Bytes, at: usize, to: &[u8]) -> Bytes {
    let mut batch = BytesMut::from(&good[..]);
    let end = (at + to.len()).min(batch.len());
    batch[at..end].copy_from_slice(&to[..end - at]);
    // A length that is changed makes the batch unreadable: then the checksum stays wrong.
    let _ = batch::patch_crc(&mut batch);
    batch.freeze()
}

/// Every record of the log, read batch by batch: offsets without a gap up to the end.
async fn read_everything(peer: &mut Peer, topic: &Topic) -> i64 {
    let (_, _, end, _) = list_offset(peer, &topic.name, 0, -1).await;
    let mut next = 0;
    while next < end {
        let fetched = fetch(peer, &topic.name, 0, next).await;
        assert_eq!(fetched.error_code, 0, "at {next}");
        let records = wire::records_of(fetched.records.as_ref());
        assert!(!records.is_empty(), "nothing at {next} of {end}");
        for record in records {
            assert_eq!(record.offset, next);
            next += 1;
        }
    }
    assert_eq!(next, end);
    end
}

/// Produces each batch; gives how many were stored.
async fn produce_all(peer: &mut Peer, topic: &Topic, batches: &[Bytes]) -> usize {
    let mut stored = 0;
    for (index, batch) in batches.iter().enumerate() {
        let answer = produce(peer, &topic.name, 0, batch.clone()).await;
        if answer.error_code == 0 {
            stored += 1;
        } else {
            assert!(REFUSALS.contains(&answer.error_code), "batch {index}: {answer:?}");
        }
    }
    stored
}

/// Changes of every byte. A batch that becomes a compressed one by that is left out: its records are the reader's to unpack.
fn variants(good: &Bytes) -> Vec<Bytes> {
    let changes: [&[u8]; 6] = [&[0], &[1], &[0x80], &[0xff], &[0xff; 4], &[0x7f, 0xff, 0xff, 0xff]];
    let all = (0..good.len()).flat_map(|at| changes.map(|to| changed(good, at, to)));
    let is_plain = |batch: &Bytes| {
        BatchHeader::parse(batch)
            .map_or(true, |header| header.codec().is_none_or(|codec| codec == Codec::None))
    };
    all.filter(is_plain).collect()
}

#[tokio::test]
async fn whatever_is_stored_can_be_read() {
    let mut peer = peer().await;
    let now = now_ms();
    let good = [
        build(BatchBuilder::new(), &[(now, "one"), (now + 1, "two")]),
        build(BatchBuilder::new().producer(77, 0, 0), &[(now, "one"), (now + 1, "two")]),
    ];
    let (mut sent, mut stored) = (0, 0);
    for good in good {
        let topic = topic(&mut peer, "mutants").await;
        let batches = variants(&good);
        sent += batches.len();
        stored += produce_all(&mut peer, &topic, &batches).await;
        assert_eq!(
            produce_values(&mut peer, &topic.name, 0, &["end"]).await,
            read_everything(&mut peer, &topic).await - 1
        );
    }
    assert!(sent > 900 && stored > 50 && stored < sent / 2, "{stored} of {sent} were stored");
}

#[tokio::test]
async fn compressed_batches_that_are_looked_into_can_be_read() {
    let mut peer = peer().await;
    let now = now_ms();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        // Stored in another codec, so every batch is unpacked.
        let topic = topic_with(&mut peer, "mutants", 1, &[("compression.type", "uncompressed")]).await;
        let records: Vec<_> = (0..20).map(|n| (now + n, "some words, some words")).collect();
        let good = build(BatchBuilder::new().codec(codec, None), &records);
        let body = batch::BATCH_HEADER_BYTES..good.len();
        let batches: Vec<_> =
            body.flat_map(|at| [0u8, 0x7f, 0xff].map(|to| changed(&good, at, &[to]))).collect();
        produce_all(&mut peer, &topic, &batches).await;
        assert_eq!(
            produce_values(&mut peer, &topic.name, 0, &["end"]).await,
            read_everything(&mut peer, &topic).await - 1
        );
    }
}

#[tokio::test]
async fn a_batch_that_unpacks_to_far_more_than_it_is_does_not_fill_the_memory() {
    let mut peer = peer().await;
    let zeros = "\0".repeat(32 << 20);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let topic = topic_with(&mut peer, "bomb", 1, &[("compression.type", "uncompressed")]).await;
        let bomb = build(BatchBuilder::new().codec(codec, None), &[(now_ms(), &zeros)]);
        assert!(bomb.len() < 1 << 20, "{codec:?}: {} bytes", bomb.len());
        let answer = produce(&mut peer, &topic.name, 0, bomb).await;
        assert!([2, 10].contains(&answer.error_code), "{codec:?}: {}", answer.error_code);
        assert_eq!(produce_values(&mut peer, &topic.name, 0, &["after"]).await, 0);
    }
}

#[tokio::test]
async fn records_that_cannot_be_unpacked_fail_only_those_who_ask_for_them() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "opaque").await;
    let now = now_ms();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let attributes = [0, codec.id()];
        let noise = changed(&build(BatchBuilder::new(), &[(now, "no such codec")]), 21, &attributes);
        // Kafka unpacks every batch and would refuse it; here it is the reader's.
        produce(&mut peer, &topic.name, 0, noise).await;
    }
    let (_, _, end, _) = list_offset(&mut peer, &topic.name, 0, -1).await;
    for timestamp in [0, now, -3] {
        list_offset(&mut peer, &topic.name, 0, timestamp).await;
    }
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["after"]).await, end);
    let fetched = fetch(&mut peer, &topic.name, 0, end).await;
    assert_eq!(wire::values_of(fetched.records.as_ref()), ["after"]);
    assert_eq!(list_offset(&mut peer, &topic.name, 0, -1).await, (0, -1, end + 1, 0));
}
