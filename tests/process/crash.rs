//! kill -9 at any moment: what was acknowledged is there, once, in order (points 3 and 13).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::history;
use crate::kafka::{self, Producer};
use crate::node::{Node, ketcd};

const KILLS: usize = 16;
const PARTITIONS: i32 = 3;
const PRODUCERS: i32 = 6;
/// Older than any `producer.id.expiration.ms`.
const OLD_MS: i64 = 1_500_000_000_000;
const SEGMENT_BYTES: &str = "1048576";

/// xorshift: the pauses between kills, from a seed that is printed.
struct Pauses(u64);

impl Pauses {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % 150_000)
    }
}

fn seed() -> u64 {
    let given = std::env::var("KETCD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x5_eed1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_repeated_by_kills_at_any_moment() {
    let seed = seed();
    eprintln!("KETCD_TEST_SEED={seed}");
    let mut pauses = Pauses(seed);
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::dev(data.path(), &[]).started();
    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", PARTITIONS, &[("segment.bytes", SEGMENT_BYTES), ("retention.ms", "-1")])
        .await;

    let stop = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let mut running = Vec::new();
    for number in 0..PRODUCERS {
        let mut producer = Producer::new(&bootstrap, "t", number % PARTITIONS, 2_000).await;
        // Every other one copies old records: that must not cost it the detection of duplicates.
        producer.timestamp = (number % 2 == 0).then_some(OLD_MS);
        let (stop, acked) = (Arc::clone(&stop), Arc::clone(&acked));
        running.push(tokio::spawn(async move {
            let mut records = 1;
            while !stop.load(Ordering::Relaxed) {
                producer.send(records).await;
                acked.fetch_add(1, Ordering::Relaxed);
                records = records % 40 + 1;
            }
            producer
        }));
    }
    for kill in 0..KILLS {
        // At least one answer after each start, so that each life has something to lose.
        let before = acked.load(Ordering::Relaxed);
        node.until("an acknowledged batch", Duration::from_secs(60), |_| {
            acked.load(Ordering::Relaxed) > before || running.iter().any(tokio::task::JoinHandle::is_finished)
        });
        kafka::created(&bootstrap, &format!("life-{kill}"), 1, &[]).await;
        tokio::time::sleep(pauses.next()).await;
        node.kill();
        assert!(!data.path().join(".kafka_cleanshutdown").exists(), "marked clean after kill {kill}");
        node.start();
    }
    stop.store(true, Ordering::Relaxed);
    let mut producers = Vec::new();
    for task in running {
        producers.push(task.await.unwrap());
    }
    assert!(producers.iter().any(|producer| producer.retries > 0), "no kill met a request");

    check_everything(&bootstrap, &producers).await;
    let (code, topics) = ketcd(&["topic", "list", "-b", &bootstrap]);
    assert_eq!(code, Some(0), "{topics}");
    let names: BTreeSet<_> = topics.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for kill in 0..KILLS {
        assert!(
            names.contains(format!("life-{kill}").as_str()),
            "topic life-{kill} was acknowledged: {topics}"
        );
    }
    assert!(node.stop().success(), "{}", node.output());
    assert!(data.path().join(".kafka_cleanshutdown").exists(), "a stop on SIGTERM is clean");
    let (code, report) = ketcd(&["log", "verify", "--records", data.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{report}");
    let segments = |partition: i32| {
        let files = std::fs::read_dir(data.path().join(format!("t-{partition}"))).unwrap().flatten();
        files.filter(|file| file.file_name().to_string_lossy().ends_with(".log")).count()
    };
    assert!((0..PARTITIONS).all(|partition| segments(partition) > 1), "segments rolled");

    // After a clean stop as after a kill: the same records, and producers go on where they were.
    node.start();
    for producer in &mut producers {
        producer.send(3).await;
    }
    check_everything(&bootstrap, &producers).await;
}

async fn check_everything(bootstrap: &str, producers: &[Producer]) {
    for partition in 0..PARTITIONS {
        let own: Vec<_> = producers.iter().filter(|producer| producer.partition == partition).collect();
        let found = kafka::read_all(bootstrap, "t", partition, 0).await;
        history::check(&own, &found);
        assert!(!found.is_empty());
    }
}
