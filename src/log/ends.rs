//! Our own checkpoint of a clean stop: the exact end of every log of a directory, in one file with a checksum.
//!
//! With it a clean start opens nothing else. It counts only together with a clean shutdown marker of the same broker epoch, and is
//! removed with it (rule B1). A file that is damaged, or another directory's, counts as absent: then every log is recovered.
//!
//! Form: a line `ketcd-log-ends 1 <crc-32c of the rest, 8 hex digits>`, then JSON.

use serde::{Deserialize, Serialize};

use crate::types::{TopicId, TopicPartition, ids};

const TITLE: &str = "ketcd-log-ends 1 ";

/// All logs of a directory after a clean stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnds {
    /// The directory's id in Kafka's text form.
    pub directory_id: String,
    /// Epoch of the broker that stopped, -1 if it had none; must equal the marker's.
    pub broker_epoch: i64,
    /// One entry per log.
    pub logs: Vec<LogEnd>,
}

/// One log after a clean stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Directory name of the partition: topic, `-`, partition.
    pub partition: String,
    /// The topic's id.
    pub topic_id: TopicId,
    /// Log start offset.
    pub log_start: i64,
    /// Log end offset. Everything below is synced.
    pub log_end: i64,
    /// High watermark.
    pub high_watermark: i64,
    /// Base offset of the active segment.
    pub active_base: i64,
    /// Where the active segment ends, in bytes.
    pub active_position: u32,
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// Largest timestamp of the first segment, so that retention need not open the log to see that it is young.
    pub first_largest_timestamp: i64,
    /// Leader epochs and their start offsets.
    pub epochs: Vec<(i32, i64)>,
}

impl LogEnd {
    /// The partition; `None` if the name is not one.
    #[must_use]
    pub fn partition(&self) -> Option<TopicPartition> {
        TopicPartition::from_directory_name(&self.partition)
    }

    /// Whether the numbers fit each other.
    fn is_sound(&self) -> bool {
        self.partition().is_some()
            && 0 <= self.log_start
            && self.log_start <= self.high_watermark
            && self.high_watermark <= self.log_end
            && 0 <= self.active_base
            && self.active_base <= self.log_end
    }
}

impl LogEnds {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("plain data is JSON");
        let mut bytes = format!("{TITLE}{:08x}\n", crc32c::crc32c(&json)).into_bytes();
        bytes.extend(json);
        bytes
    }

    /// Reads the file of directory `directory_id`; `None` if it is damaged or another directory's.
    #[must_use]
    pub fn decode(bytes: &[u8], directory_id: uuid::Uuid) -> Option<Self> {
        let rest = bytes.strip_prefix(TITLE.as_bytes())?;
        let (crc, json) = rest.split_at_checked(9)?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix('\n')?, 16).ok()?;
        if crc != crc32c::crc32c(json) {
            return None;
        }
        let ends: Self = serde_json::from_slice(json).ok()?;
        let mine = ends.directory_id == ids::encode_uuid(directory_id);
        (mine && ends.logs.iter().all(LogEnd::is_sound)).then_some(ends)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ends() -> LogEnds {
        LogEnds {
            directory_id: ids::encode_uuid(Uuid::from_u128(3)),
            broker_epoch: 8,
            logs: vec![LogEnd {
                partition: "a-0".to_owned(),
                topic_id: TopicId::new(Uuid::from_u128(1)).unwrap(),
                log_start: 2,
                log_end: 9,
                high_watermark: 9,
                active_base: 5,
                active_position: 700,
                size_bytes: 1400,
                first_largest_timestamp: 77,
                epochs: vec![(0, 2), (1, 7)],
            }],
        }
    }

    #[test]
    fn ends_are_read_back_by_their_own_directory_only() {
        let bytes = ends().encode();
        assert_eq!(LogEnds::decode(&bytes, Uuid::from_u128(3)), Some(ends()));
        assert_eq!(LogEnds::decode(&bytes, Uuid::from_u128(4)), None);
    }

    #[test]
    fn any_damage_makes_the_file_absent() {
        let bytes = ends().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x01;
            assert_eq!(LogEnds::decode(&damaged, Uuid::from_u128(3)), None, "byte {at}");
        }
        let mut unsound = ends();
        unsound.logs[0].log_start = 10;
        assert_eq!(LogEnds::decode(&unsound.encode(), Uuid::from_u128(3)), None);
    }
}
