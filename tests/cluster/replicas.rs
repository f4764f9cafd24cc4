//! What the replicas of a partition have on their disks, compared byte for byte (invariant I9).

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ketcd::protocol::batch;

use crate::cluster::{Cluster, PATIENCE};

/// Every replica of every partition holds the same batches. Followers may still be writing the last ones.
pub async fn assert_identical(cluster: &Cluster, topic: &str, partitions: i32) {
    let view = cluster.view(topic).await;
    for partition in 0..partitions {
        let replicas = &view.partitions[&partition].replicas;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let logs: Vec<_> = replicas
                .iter()
                .map(|&id| batches(&cluster.data_of(id).join(format!("{topic}-{partition}"))))
                .collect();
            let Some(difference) = difference(&logs) else { break };
            assert!(Instant::now() < deadline, "{topic}-{partition}, replicas {replicas:?}: {difference}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn difference(logs: &[Vec<(i64, Bytes)>]) -> Option<String> {
    let (first, rest) = logs.split_first()?;
    for (number, other) in rest.iter().enumerate() {
        if let Some(at) = first.iter().zip(other).position(|(one, two)| one != two) {
            let told = |log: &[(i64, Bytes)]| {
                let header = batch::BatchHeader::parse(&log[at].1).expect("it was parsed before");
                format!("offset {} of epoch {}", log[at].0, header.partition_leader_epoch)
            };
            return Some(format!(
                "batch {at} is {} on the first and {} on replica {}",
                told(first),
                told(other),
                number + 1
            ));
        }
        if first.len() != other.len() {
            return Some(format!(
                "{} batches on the first, {} on replica {}",
                first.len(),
                other.len(),
                number + 1
            ));
        }
    }
    None
}

/// The batches of a log: base offset and bytes. What is not yet whole at the end is left out.
fn batches(folder: &Path) -> Vec<(i64, Bytes)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let bytes = Bytes::from(std::fs::read(&file).unwrap_or_default());
        for piece in batch::split(&bytes) {
            // Space that is reserved and not yet written is zeros.
            let Ok((header, bytes)) = piece else { break };
            if batch::verify_crc(&bytes).is_err() {
                break;
            }
            all.push((header.base_offset, bytes));
        }
    }
    all
}
