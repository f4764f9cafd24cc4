//! What an append costs, on one thread.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ketcd::log::Storage;
use ketcd::types::Clock;

/// Appends per log: then it is deleted and another one begun, so that the bench needs little disk.
const APPENDS: u64 = 1000;

fn appends(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::start(2);
    let dirs = common::open(directory.path(), &storage);
    let config = Arc::new(common::config());
    let clock = Clock::system();
    let mut partition = 0;
    let mut group = criterion.benchmark_group("append");
    for (name, records, value_bytes) in
        [("1 x 100 B", 1, 100), ("1 x 4 KiB", 1, 4096), ("64 x 1 KB", 64, 1000), ("256 x 1 KB", 256, 1000)]
    {
        let batch = common::batch(records, value_bytes);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    partition += 1;
                    let log = common::log(&dirs, partition, &config);
                    common::append(&log, &batch);
                    let count = left.min(APPENDS);
                    let start = clock.elapsed();
                    for _ in 0..count {
                        common::append(&log, &batch);
                    }
                    spent += clock.elapsed() - start;
                    left -= count;
                    dirs.delete_log(&log).wait_blocking().unwrap();
                    drop(log);
                    if partition % 16 == 0 {
                        dirs.housekeep();
                    }
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = appends
}
criterion_main!(benches);
