//! Kafka's small text files: offset checkpoints, the leader epoch checkpoint, partition.metadata, meta.properties, the clean
//! shutdown marker. Only texts here, no files: a text that is not of its form gives `None`, and the caller treats the file as absent
//! (rule S6).

use std::collections::BTreeMap;
use std::fmt::Write;

use uuid::Uuid;

use crate::types::{TopicId, TopicPartition, ids};

/// Version line of Kafka's checkpoint files (`CheckpointFile`).
const VERSION: &str = "0";

/// Offsets of partitions: `recovery-point-`, `log-start-` and `replication-offset-checkpoint`.
#[must_use]
pub fn encode_offsets<'a>(offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, i64)>) -> String {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text
}

/// Reads what [`encode_offsets`] wrote.
#[must_use]
pub fn decode_offsets(bytes: &[u8]) -> Option<BTreeMap<TopicPartition, i64>> {
    decode_lines(bytes, |line| {
        let mut words = line.split(' ');
        let topic = words.next()?;
        let partition: i32 = words.next()?.parse().ok().filter(|partition| *partition >= 0)?;
        let offset: i64 = words.next()?.parse().ok().filter(|offset| *offset >= 0)?;
        let topic = crate::types::TopicName::new(topic).ok()?;
        words.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
    })
    .map(|entries| entries.into_iter().collect())
}

/// Start offsets of leader epochs: `leader-epoch-checkpoint`.
#[must_use]
pub fn encode_epochs(epochs: &[(i32, i64)]) -> String {
    let mut text = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, start_offset) in epochs {
        let _ = writeln!(text, "{epoch} {start_offset}");
    }
    text
}

/// Reads what [`encode_epochs`] wrote. Epochs and offsets grow from line to line, or the text is not of the form.
#[must_use]
pub fn decode_epochs(bytes: &[u8]) -> Option<Vec<(i32, i64)>> {
    let epochs = decode_lines(bytes, |line| {
        let (epoch, offset) = line.split_once(' ')?;
        Some((epoch.parse().ok()?, offset.parse().ok()?))
    })?;
    let grows = |pair: &[(i32, i64)]| matches!(pair, [a, b] if a.0 < b.0 && a.1 <= b.1);
    let sound = epochs.iter().all(|(epoch, offset)| *epoch >= 0 && *offset >= 0);
    (sound && epochs.windows(2).all(grows)).then_some(epochs)
}

/// Version, count, and as many lines.
fn decode_lines<T>(bytes: &[u8], read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()? != VERSION {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let entries: Option<Vec<T>> = lines.map(read).collect();
    entries.filter(|entries| entries.len() == count)
}

/// A partition's topic id: `partition.metadata`.
#[must_use]
pub fn encode_partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// Reads what [`encode_partition_metadata`] wrote.
#[must_use]
pub fn decode_partition_metadata(bytes: &[u8]) -> Option<TopicId> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()?.trim() != "version: 0" {
        return None;
    }
    let id: TopicId = lines.next()?.strip_prefix("topic_id: ")?.trim().parse().ok()?;
    TopicId::new(id.uuid())
}

/// Identity of a log directory: `meta.properties`, version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`; absent until the broker has learned it.
    pub cluster_id: Option<String>,
    /// `directory.id`.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// The file's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let cluster = self.cluster_id.as_ref().map(|id| format!("cluster.id={id}\n")).unwrap_or_default();
        let directory = ids::encode_uuid(self.directory_id);
        format!("#\nnode.id={}\ndirectory.id={directory}\nversion=1\n{cluster}", self.node_id)
    }

    /// Reads a `meta.properties`.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        let keys: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let get = |key: &str| keys.get(key).copied().ok_or_else(|| format!("{key} is missing"));
        if get("version")? != "1" {
            return Err(format!("version is {}, not 1", get("version")?));
        }
        let node_id = get("node.id")?;
        let directory_id = get("directory.id")?;
        Ok(Self {
            node_id: node_id.parse().map_err(|_| format!("node.id {node_id:?} is no number"))?,
            cluster_id: keys.get("cluster.id").filter(|id| !id.is_empty()).map(|id| (*id).to_owned()),
            directory_id: ids::decode_uuid(directory_id).map_err(|error| format!("directory.id: {error}"))?,
        })
    }
}

/// The clean shutdown marker with the epoch of the broker that stopped (`CleanShutdownFileHandler`), -1 if it had none.
#[must_use]
pub fn encode_clean_shutdown(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// The broker epoch in a clean shutdown marker.
#[must_use]
pub fn decode_clean_shutdown(bytes: &[u8]) -> Option<i64> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    (value.get("version")?.as_i64()? == 0).then_some(value.get("brokerEpoch")?.as_i64()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicName;

    #[test]
    fn offset_checkpoints_are_kafkas_text_and_garbled_ones_count_as_absent() {
        let a = TopicPartition::new(TopicName::new("a-b").unwrap(), 3);
        let b = TopicPartition::new(TopicName::new("c").unwrap(), 0);
        let text = encode_offsets([(&a, 7), (&b, 0)].into_iter());
        assert_eq!(text, "0\n2\na-b 3 7\nc 0 0\n");
        assert_eq!(decode_offsets(text.as_bytes()).unwrap(), [(a, 7), (b, 0)].into());
        for bad in
            ["", "1\n0\n", "0\n3\nc 0 0\n", "0\n1\nc 0\n", "0\n1\nc 0 -5\n", "0\n1\nc 0 1 2\n", "0\nx\n"]
        {
            assert_eq!(decode_offsets(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decode_offsets(&[0xff, 0xfe]), None);
    }

    #[test]
    fn epoch_checkpoints_must_grow() {
        let text = encode_epochs(&[(0, 0), (3, 17)]);
        assert_eq!(text, "0\n2\n0 0\n3 17\n");
        assert_eq!(decode_epochs(text.as_bytes()).unwrap(), [(0, 0), (3, 17)]);
        for bad in ["0\n2\n3 0\n1 5\n", "0\n2\n1 5\n3 4\n", "0\n1\n-1 0\n", "0\n2\n0 0\n"] {
            assert_eq!(decode_epochs(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn partition_metadata_holds_a_topic_id_that_is_not_zero() {
        let id = TopicId::new(Uuid::from_u128(5)).unwrap();
        let text = encode_partition_metadata(id);
        assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAABQ");
        assert_eq!(decode_partition_metadata(text.as_bytes()), Some(id));
        assert_eq!(decode_partition_metadata(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"), None);
        assert_eq!(decode_partition_metadata(b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAABQ"), None);
    }

    #[test]
    fn meta_properties_tell_what_is_wrong() {
        let meta = MetaProperties {
            node_id: 4,
            cluster_id: Some("abc".to_owned()),
            directory_id: Uuid::from_u128(9),
        };
        assert_eq!(MetaProperties::decode(meta.encode().as_bytes()), Ok(meta.clone()));
        let without = MetaProperties { cluster_id: None, ..meta };
        assert_eq!(MetaProperties::decode(without.encode().as_bytes()), Ok(without));
        let missing = MetaProperties::decode(b"version=1\nnode.id=4\n").unwrap_err();
        assert!(missing.contains("directory.id"), "{missing}");
        let old = MetaProperties::decode(b"version=0\nbroker.id=4\n").unwrap_err();
        assert!(old.contains("version"), "{old}");
    }

    #[test]
    fn the_clean_shutdown_marker_is_kafkas_json() {
        assert_eq!(decode_clean_shutdown(encode_clean_shutdown(12).as_bytes()), Some(12));
        assert_eq!(decode_clean_shutdown(b"{\"version\":1,\"brokerEpoch\":12}"), None);
        assert_eq!(decode_clean_shutdown(b""), None);
    }
}
