//! Starting, with many logs and after a crash; creating many logs.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ketcd::log::{LogDirs, Storage};
use ketcd::types::Clock;

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

/// Time of `work` over as many rounds as criterion asks for, each prepared by `prepare` and ended by `end`.
fn timed<T, U>(
    rounds: u64,
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(T) -> U,
    mut end: impl FnMut(U),
) -> Duration {
    let clock = Clock::system();
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let prepared = prepare();
        let start = clock.elapsed();
        let done = work(prepared);
        spent += clock.elapsed() - start;
        end(done);
    }
    spent
}

fn clean_start(criterion: &mut Criterion) {
    const LOGS: i32 = 4000;
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::start(2);
    let config = Arc::new(common::config());
    let batch = common::batch(1, 100);
    let dirs = common::open(directory.path(), &storage);
    for partition in 0..LOGS {
        common::append(&common::log(&dirs, partition, &config), &batch);
    }
    block_on(dirs.close(None));
    criterion.bench_function("clean start with 4,000 logs", |bencher| {
        bencher.iter_custom(|rounds| {
            timed(
                rounds,
                || (),
                |()| {
                    let dirs = common::open(directory.path(), &storage);
                    for partition in 0..LOGS {
                        assert!(common::log(&dirs, partition, &config).is_recovered());
                    }
                    dirs
                },
                |dirs| block_on(dirs.close(None)),
            )
        });
    });
}

fn creation(criterion: &mut Criterion) {
    const LOGS: i32 = 1000;
    let storage = Storage::start(2);
    let config = Arc::new(common::config());
    let batch = common::batch(1, 100);
    criterion.bench_function("create 1,000 logs and append to each", |bencher| {
        bencher.iter_custom(|rounds| {
            timed(
                rounds,
                || {
                    let directory = tempfile::tempdir().unwrap();
                    let dirs = common::open(directory.path(), &storage);
                    (directory, dirs)
                },
                |(directory, dirs): (_, LogDirs)| {
                    let logs: Vec<_> = (0..LOGS).map(|p| common::log(&dirs, p, &config)).collect();
                    let steps: Vec<_> = logs
                        .iter()
                        .map(|log| {
                            log.append(batch.clone(), ketcd::types::LeaderEpoch(0), Default::default())
                        })
                        .collect();
                    for step in steps {
                        step.wait_blocking().unwrap();
                    }
                    (directory, dirs)
                },
                drop,
            )
        });
    });
}

fn crash(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::start(2);
    let config = Arc::new(common::config());
    let batch = common::batch(16, 1000);
    let dirs = common::open(directory.path(), &storage);
    let log = common::log(&dirs, 0, &config);
    while log.size_bytes() < 256 << 20 {
        common::append(&log, &batch);
    }
    let size = log.size_bytes();
    drop((log, dirs));
    let mut group = criterion.benchmark_group("recovery after a crash");
    group.throughput(Throughput::Bytes(size));
    group.bench_function("256 MiB that were not synced", |bencher| {
        bencher.iter_custom(|rounds| {
            timed(
                rounds,
                || (),
                |()| {
                    let dirs = common::open(directory.path(), &storage);
                    let log = common::log(&dirs, 0, &config);
                    log.ready().wait_blocking().unwrap();
                    assert_eq!(log.size_bytes(), size);
                    (log, dirs)
                },
                drop,
            )
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5));
    targets = clean_start, creation, crash
}
criterion_main!(benches);
