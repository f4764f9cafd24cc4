//! What the broker really stored: the batch headers in its log files. A client that quietly sends uncompressed
//! (librdkafka does, when the advertised Produce versions tell it to) is found out here.

use std::path::Path;

use crate::broker::files_below;

const HEADER_BYTES: usize = 61;

/// The facts of one stored batch that a client decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBatch {
    pub codec: &'static str,
    pub idempotent: bool,
}

/// The batches of a partition, in order, from the files below `data`.
pub fn batches(data: &Path, topic: &str, partition: u32) -> Vec<StoredBatch> {
    let directory = format!("{topic}-{partition}");
    let mut batches = Vec::new();
    for file in files_below(data, ".log") {
        if file.parent().and_then(Path::file_name).is_some_and(|name| name == directory.as_str()) {
            read(&std::fs::read(&file).expect("a log file"), &mut batches);
        }
    }
    batches
}

fn read(mut log: &[u8], batches: &mut Vec<StoredBatch>) {
    // A preallocated file ends in zeros: a length of zero is the end of what was written.
    while log.len() >= HEADER_BYTES {
        let length = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
        if length == 0 {
            return;
        }
        let attributes = u16::from_be_bytes(log[21..23].try_into().unwrap());
        let producer_id = i64::from_be_bytes(log[43..51].try_into().unwrap());
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(attributes & 7)];
        batches.push(StoredBatch { codec, idempotent: producer_id >= 0 });
        log = &log[12 + length..];
    }
}
