//! What the guard costs per request, and decoding beside it: `cargo bench --bench guard`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use kafka_protocol::messages::{FetchRequest as TheirFetch, ProduceRequest as TheirProduce};
use kafka_protocol::protocol::Decodable;
use ketcd::protocol::fetch_request::FetchRequest;
use ketcd::protocol::guard;
use ketcd::protocol::header;
use ketcd::protocol::produce_body::ProduceRequest;

/// Produce v11: one topic, one partition, a batch of `records_bytes`.
fn produce(records_bytes: usize) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_i16(-1);
    body.put_i32(30_000);
    body.put_slice(&[2, 7]);
    body.put_slice(b"orders");
    body.put_u8(2);
    body.put_i32(3);
    let mut length = Vec::new();
    ketcd::protocol::varint::put_u32(&mut length, u32::try_from(records_bytes).unwrap() + 1);
    body.put_slice(&length);
    body.put_bytes(7, records_bytes);
    body.put_slice(&[0, 0, 0]);
    body.freeze()
}

/// Fetch v12 of one topic with `partitions` partitions.
fn fetch(partitions: u8) -> Bytes {
    let mut body = BytesMut::new();
    for number in [-1, 500, 1, 50 << 20] {
        body.put_i32(number);
    }
    body.put_i8(0);
    body.put_i32(17);
    body.put_i32(2);
    body.put_slice(&[2, 7]);
    body.put_slice(b"orders");
    body.put_u8(partitions + 1);
    for partition in 0..partitions {
        body.put_i32(partition.into());
        body.put_i32(4);
        body.put_i64(1_000_000);
        body.put_i32(-1);
        body.put_i64(-1);
        body.put_i32(1 << 20);
        body.put_u8(0);
    }
    body.put_slice(&[0, 1, 1, 0]);
    body.freeze()
}

fn guard(c: &mut Criterion) {
    for (name, key, version, body) in [
        ("produce v11, 1 partition", 0, 11, produce(1024)),
        ("fetch v12, 1 partition", 1, 12, fetch(1)),
        ("fetch v12, 100 partitions", 1, 12, fetch(100)),
    ] {
        assert_eq!(guard::check(key, version, &body).unwrap().trailing_bytes, 0, "{name}");
        c.bench_function(&format!("guard/{name}"), |b| {
            b.iter(|| guard::check(black_box(key), black_box(version), black_box(&body)));
        });
    }
}

fn decode(c: &mut Criterion) {
    let body = produce(1024);
    c.bench_function("decode/produce v11, ours", |b| {
        b.iter(|| ProduceRequest::decode(black_box(&body), 11).unwrap());
    });
    c.bench_function("decode/produce v11, the crate's", |b| {
        b.iter(|| TheirProduce::decode(&mut black_box(&body).clone(), 11).unwrap());
    });
    let body = fetch(1);
    c.bench_function("decode/fetch v12, ours", |b| {
        b.iter(|| FetchRequest::decode(black_box(&body), 12).unwrap());
    });
    c.bench_function("decode/fetch v12, the crate's", |b| {
        b.iter(|| TheirFetch::decode(&mut black_box(&body).clone(), 12).unwrap());
    });
    let frame = Bytes::from([&[0, 0, 0, 11, 0, 0, 0, 9, 0, 5][..], b"perf1", &[0], &produce(1024)].concat());
    c.bench_function("decode/request header", |b| b.iter(|| header::parse(black_box(&frame)).unwrap()));
}

criterion_group!(benches, guard, decode);
criterion_main!(benches);
