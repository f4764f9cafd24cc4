//! A full disk (point 14): produce is refused with an error answer, fetch goes on, and produce too when there is room again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use tempfile::TempDir;

use crate::kafka::{self, Producer};
use crate::node::{Node, ketcd};
use crate::{history, skip};

/// The metadata in memory: only logs are on the small disk.
const SETTINGS: [&str; 4] = ["--set", "dev.ephemeral=true", "--set", "log.retention.check.interval.ms=200"];
/// What the filler leaves: the broker's reserve (16 MiB) and a little more.
const LEFT_BYTES: u64 = 26 << 20;

/// A small file system of its own, gone when dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mounted.status.success() {
            Ok(Self { folder })
        } else {
            Err(format!("no small disk can be mounted: {}", String::from_utf8_lossy(&mounted.stderr).trim()))
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.folder.path()).status().ok();
    }
}

/// Produces until the disk is full; gives the error.
async fn fill(producer: &mut Producer) -> ErrorCode {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match producer.send_once(20).await {
            ErrorCode::None => assert!(Instant::now() < deadline, "the disk does not become full"),
            error => return error,
        }
    }
}

async fn set_retention(bootstrap: &str, ms: &str) {
    let (code, message) = kafka::alter_topic(bootstrap, "t", "retention.ms", ms).await.unwrap();
    assert_eq!(code, ErrorCode::None, "{message}");
}

/// Writes more than what may be left of space that was allocated before.
async fn write_again(producer: &mut Producer) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let target = producer.next_number + 2_000;
    while producer.next_number < target {
        let code = producer.send_once(20).await;
        if code != ErrorCode::None {
            assert_eq!(code, ErrorCode::KafkaStorageError);
            assert!(Instant::now() < deadline, "writes do not resume");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers_without_a_restart() {
    let disk = match SmallDisk::mount("64m") {
        Ok(disk) => disk,
        Err(why) => return skip::skip(&why),
    };
    let mut node = Node::dev(&disk.path().join("log"), &SETTINGS).started();
    let pid = node.pid();
    let bootstrap = node.bootstrap();
    // Files of deleted segments go at once, not after a minute.
    let configs = [("segment.bytes", "2097152"), ("file.delete.delay.ms", "100")];
    kafka::created(&bootstrap, "t", 1, &configs).await;
    kafka::created(&bootstrap, "victim", 1, &configs).await;
    let mut victim = Producer::new(&bootstrap, "victim", 0, 1_000).await;
    for _ in 0..200 {
        victim.send(20).await;
    }
    // Most of the disk goes to somebody else's file.
    let filler = disk.path().join("filler");
    let free = free_bytes(disk.path());
    std::fs::write(&filler, vec![1; (free - LEFT_BYTES) as usize]).unwrap();

    let mut producer = Producer::new(&bootstrap, "t", 0, 1_000).await;
    assert_eq!(fill(&mut producer).await, ErrorCode::KafkaStorageError);
    for _ in 0..20 {
        assert_eq!(producer.send_once(20).await, ErrorCode::KafkaStorageError, "it stays full");
    }
    assert!(!producer.acked.is_empty());
    assert_eq!(node.pid(), pid);
    assert_eq!(node.admin("/livez").0, 200);
    history::check(&[&producer], &kafka::read_all(&bootstrap, "t", 0, 0).await);
    history::check(&[&victim], &kafka::read_all(&bootstrap, "victim", 0, 0).await);

    // Room by an administrator's hand.
    std::fs::remove_file(&filler).unwrap();
    write_again(&mut producer).await;
    history::check(&[&producer], &kafka::read_all(&bootstrap, "t", 0, 0).await);

    // Full again, and room by deleting a topic.
    assert_eq!(fill(&mut producer).await, ErrorCode::KafkaStorageError);
    let (code, text) = ketcd(&["topic", "delete", "victim", "--yes", "-b", &bootstrap]);
    assert_eq!(code, Some(0), "{text}");
    write_again(&mut producer).await;

    // Full again, and room by retention, which needs a new segment before the active one can go.
    assert_eq!(fill(&mut producer).await, ErrorCode::KafkaStorageError);
    set_retention(&bootstrap, "1").await;
    write_again(&mut producer).await;
    set_retention(&bootstrap, "-1").await;

    // Full again, and room by DeleteRecords.
    assert_eq!(fill(&mut producer).await, ErrorCode::KafkaStorageError);
    let kept = producer.next_number - 100;
    let before = kept.to_string();
    let (code, text) =
        ketcd(&["topic", "trim", "t", "--partition", "0", "--before", &before, "--yes", "-b", &bootstrap]);
    assert_eq!(code, Some(0), "{text}");
    write_again(&mut producer).await;
    let found = kafka::read_all(&bootstrap, "t", 0, i64::from(kept)).await;
    let numbers: Vec<_> = found.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (kept..producer.next_number).collect::<Vec<_>>());
    assert!(node.metric("ketcd_sys_blocked_calls_total") == 0.0);
    assert!(node.stop().success(), "{}", node.output());
}

fn free_bytes(path: &Path) -> u64 {
    let volume = rustix::fs::statvfs(path).unwrap();
    volume.f_bavail * volume.f_frsize
}
