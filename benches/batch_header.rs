//! What a broker does with a batch's header: `cargo bench --bench batch_header`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ketcd::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader};
use ketcd::protocol::compression::{self, Codec};
use ketcd::protocol::fetch_body::{FetchResponse, FetchedPartition, FetchedTopic};
use ketcd::protocol::produce_body::{PartitionAnswer, ProduceResponse, TopicAnswer};
use ketcd::protocol::records::{self, BatchBuilder, NewRecord};

fn batch_of(record_count: usize, value_bytes: usize, codec: Codec) -> Bytes {
    let value: Vec<u8> = (0..value_bytes).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    let mut builder = BatchBuilder::new().codec(codec, None).producer(1, 0, 0);
    for _ in 0..record_count {
        builder.push(NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() }).unwrap();
    }
    builder.build()
}

fn header(c: &mut Criterion) {
    let batch = batch_of(256, 1000, Codec::None);
    c.bench_function("header/parse", |b| b.iter(|| BatchHeader::parse(black_box(&batch)).unwrap()));
    c.bench_function("header/split one batch", |b| b.iter(|| batch::split(black_box(&batch)).count()));
    c.bench_function("header/patch offset, epoch", |b| {
        let mut head = batch[..BATCH_HEADER_BYTES].to_vec();
        b.iter(|| {
            batch::patch_base_offset(black_box(&mut head), 99).unwrap();
            batch::patch_leader_epoch(black_box(&mut head), 3).unwrap();
        });
    });
    c.bench_function("header/patch log append time of 256 KiB", |b| {
        let mut head = batch[..BATCH_HEADER_BYTES].to_vec();
        b.iter(|| batch::patch_max_timestamp(black_box(&mut head), 5, true).unwrap());
    });
}

fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("256 records of 1000 bytes");
    let batch = batch_of(256, 1000, Codec::None);
    group.throughput(Throughput::Bytes(u64::try_from(batch.len()).unwrap()));
    group.bench_function("verify crc", |b| b.iter(|| batch::verify_crc(black_box(&batch)).unwrap()));
    let header = BatchHeader::parse(&batch).unwrap();
    let section = &batch[BATCH_HEADER_BYTES..];
    group.bench_function("walk and validate", |b| {
        b.iter(|| records::validate(&header, black_box(section)).unwrap());
    });
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compressed = compression::compress(codec, None, section);
        group.bench_function(format!("decompress {}", codec.name()), |b| {
            b.iter(|| compression::decompress(codec, black_box(&compressed), section.len()).unwrap().len());
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let batch = batch_of(1, 1000, Codec::None);
    let mut partition = FetchedPartition::new(0);
    partition.records.push(batch);
    let topic = FetchedTopic { partitions: vec![partition], ..FetchedTopic::default() };
    let fetched = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
    c.bench_function("answer/fetch v12", |b| {
        b.iter_batched(|| (), |()| black_box(&fetched).encode_frame(12, 7), BatchSize::SmallInput);
    });
    let topic = TopicAnswer { partitions: vec![PartitionAnswer::new(0)], ..TopicAnswer::default() };
    let produced = ProduceResponse { topics: vec![topic], ..ProduceResponse::default() };
    c.bench_function("answer/produce v11", |b| b.iter(|| black_box(&produced).encode_frame(11, 7)));
}

criterion_group!(benches, header, whole, answers);
criterion_main!(benches);
