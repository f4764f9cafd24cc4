//! Names of topics and partitions, checked once when they enter.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest topic name, in characters (`org.apache.kafka.common.internals.Topic`): room for `-<partition>` in a file name.
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// A topic name that is legal as Kafka defines it, hence safe in paths and keys. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text cannot name a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// The empty text.
    #[error("topic name is empty")]
    Empty,
    /// `.` or `..`: no directory can have that name.
    #[error("topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Longer than [`TOPIC_NAME_LENGTH_MAX`].
    #[error("topic name has {length} characters, more than {TOPIC_NAME_LENGTH_MAX}")]
    TooLong {
        /// Its length, in bytes.
        length: usize,
    },
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error("topic name {name:?} has characters other than ASCII letters, digits, '.', '_' and '-'")]
    IllegalCharacter {
        /// The name, shortened to [`TOPIC_NAME_LENGTH_MAX`] characters.
        name: String,
    },
}

impl TopicName {
    /// Checks `name` by Kafka's rule (`Topic.validate`).
    ///
    /// # Errors
    /// [`InvalidTopicName`] says which part of the rule is broken.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Dots);
        }
        if name.len() > TOPIC_NAME_LENGTH_MAX {
            return Err(InvalidTopicName::TooLong { length: name.len() });
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(InvalidTopicName::IllegalCharacter { name: name.to_owned() });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with `.` written as `_`: two topics whose names collide so would share metric names, which Kafka refuses.
    #[must_use]
    pub fn collision_form(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for TopicName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One partition of a topic, by name. Cheap to clone. Written `topic-partition`, as Kafka names its directories.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's index, >= 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub const fn new(topic: TopicName, partition: i32) -> Self {
        Self { topic, partition }
    }

    /// Reads the name of a partition's directory: everything before the last `-` is the topic.
    /// `None` if it is not one.
    #[must_use]
    pub fn from_directory_name(name: &str) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        let index: i32 = partition.parse().ok().filter(|index| *index >= 0)?;
        (index.to_string() == partition)
            .then(|| TopicName::new(topic).ok())
            .flatten()
            .map(|topic| Self::new(topic, index))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        assert!(TopicName::new("a.b_c-9").is_ok());
        assert!(TopicName::new(&"x".repeat(TOPIC_NAME_LENGTH_MAX)).is_ok());
        assert_eq!(TopicName::new(""), Err(InvalidTopicName::Empty));
        assert_eq!(TopicName::new(".."), Err(InvalidTopicName::Dots));
        assert_eq!(
            TopicName::new(&"x".repeat(TOPIC_NAME_LENGTH_MAX + 1)),
            Err(InvalidTopicName::TooLong { length: TOPIC_NAME_LENGTH_MAX + 1 })
        );
        for bad in ["a/b", "a b", "a\0", "ü", "../x"] {
            assert!(matches!(TopicName::new(bad), Err(InvalidTopicName::IllegalCharacter { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_name_gives_its_partition_back() {
        let partition = TopicPartition::new(TopicName::new("a-1").unwrap(), 12);
        assert_eq!(partition.to_string(), "a-1-12");
        assert_eq!(TopicPartition::from_directory_name("a-1-12"), Some(partition));
        for bad in ["a", "a-", "a-x", "a-01", "-1", "a-1.deleted"] {
            assert_eq!(TopicPartition::from_directory_name(bad), None, "{bad:?}");
        }
    }
}
