//! What a read of resident data and the answer around it cost, on one thread.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ketcd::log::{ReadOptions, Storage};
use ketcd::protocol::fetch_body::{FetchResponse, FetchedPartition, FetchedTopic};
use ketcd::types::Offset;

fn reads(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::start(2);
    let dirs = common::open(directory.path(), &storage);
    let log = common::log(&dirs, 0, &Arc::new(common::config()));
    let batch = common::batch(16, 1000);
    while log.size_bytes() < 64 << 20 {
        common::append(&log, &batch);
    }
    let end = log.log_end_offset();
    let mut group = criterion.benchmark_group("fetch");
    for max_bytes in [16 << 10, 1 << 20] {
        let options = ReadOptions { max_bytes, min_one_batch: true, end, cursor: None };
        group.bench_function(format!("{} KiB by cursor", max_bytes >> 10), |bencher| {
            let (mut from, mut cursor) = (0, None);
            bencher.iter(|| {
                let options = ReadOptions { cursor, ..options };
                let read = log.read(Offset::new(from).unwrap(), options).wait_blocking().unwrap();
                cursor = read.cursor;
                from += (read.size_bytes / batch.len() * 16) as i64;
                if from >= end.get() {
                    (from, cursor) = (0, None);
                }
                black_box(read.chunks)
            });
        });
        group.bench_function(format!("{} KiB by index", max_bytes >> 10), |bencher| {
            let mut from = 0;
            bencher.iter(|| {
                from = (from + 7919 * 16) % (end.get() - 1024);
                let read = log.read(Offset::new(from).unwrap(), options).wait_blocking().unwrap();
                black_box(read.chunks)
            });
        });
    }
    let options = ReadOptions { max_bytes: 1 << 20, min_one_batch: true, end, cursor: None };
    let records = log.read(Offset::ZERO, options).wait_blocking().unwrap().chunks;
    group.bench_function("answer of one partition", |bencher| {
        bencher.iter(|| {
            let partition = FetchedPartition { records: records.clone(), ..FetchedPartition::new(0) };
            let topic = FetchedTopic { partitions: vec![partition], ..FetchedTopic::default() };
            let answer = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
            black_box(answer.encode_frame(17, 1))
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = reads
}
criterion_main!(benches);
