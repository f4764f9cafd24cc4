//! Numbers with a meaning: brokers, epochs, offsets, producers, topics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Declares a newtype over an integer with the derives and `Display` that all ids share.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $raw);

        impl $name {
            /// The number as it stands on the wire and in files.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The `node.id` of a broker, >= 0.
    BrokerId(i32)
}
number! {
    /// One lifetime of a broker process: the `create_revision` of its registration (rule E3).
    BrokerEpoch(i64)
}
number! {
    /// The `create_revision` of the controller's candidate key: its fence (rule E2).
    ControllerEpoch(i64)
}
number! {
    /// Grows by one at each change of a partition's leader (rule E1).
    LeaderEpoch(i32)
}
number! {
    /// Version of a partition's record: its `mod_revision` in etcd; 0 while the partition is as assigned.
    PartitionEpoch(i64)
}
number! {
    /// Names one idempotent producer for the life of the cluster (rule T11).
    ProducerId(i64)
}
number! {
    /// Fences older incarnations of one [`ProducerId`].
    ProducerEpoch(i16)
}
number! {
    /// A place in one segment file, in bytes. Never an offset.
    Position(u32)
}

/// The number of a record in its partition, >= 0. Ends are exclusive: the *next* offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(i64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// An offset from a number of the wire or of a file; `None` if it is negative.
    #[must_use]
    pub const fn new(raw: i64) -> Option<Self> {
        if raw >= 0 { Some(Self(raw)) } else { None }
    }

    /// The number as it stands on the wire and in files.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The offset `records` later. Saturates at the largest offset.
    #[must_use]
    pub const fn advance(self, records: u32) -> Self {
        Self(self.0.saturating_add(records as i64))
    }

    /// How many offsets lie between `base` and `self`; `None` if `self` is before `base`.
    #[must_use]
    pub const fn distance_from(self, base: Self) -> Option<u64> {
        if self.0 >= base.0 { Some(self.0.abs_diff(base.0)) } else { None }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The UUID of a topic (KIP-516). Written as Kafka writes it: 22 characters of unpadded URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(Uuid);

impl TopicId {
    /// The id that means "none" on the wire.
    pub const ZERO: Self = Self(Uuid::nil());

    /// A topic id from a UUID of the wire; `None` for the zero id.
    #[must_use]
    pub fn new(uuid: Uuid) -> Option<Self> {
        (!uuid.is_nil()).then_some(Self(uuid))
    }

    /// The UUID as it stands on the wire.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_uuid(self.0))
    }
}

impl FromStr for TopicId {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        decode_uuid(text).map(Self)
    }
}

impl Serialize for TopicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not Kafka's base64 form of a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a UUID in Kafka's base64 form (22 characters)")]
pub struct InvalidUuid {
    /// The text as given.
    pub text: String,
}

/// Kafka's text form of a UUID: unpadded URL-safe base64 (`org.apache.kafka.common.Uuid`).
#[must_use]
pub fn encode_uuid(uuid: Uuid) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(uuid.as_bytes())
}

/// Reads Kafka's text form of a UUID.
///
/// # Errors
/// [`InvalidUuid`] if `text` is not 16 bytes in unpadded URL-safe base64.
pub fn decode_uuid(text: &str) -> Result<Uuid, InvalidUuid> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .ok_or_else(|| InvalidUuid { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_what_it_writes() {
        let id = TopicId::new(Uuid::from_u128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210)).unwrap();
        assert_eq!(id.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(id.to_string().parse::<TopicId>().unwrap(), id);
        assert!("short".parse::<TopicId>().is_err());
    }

    #[test]
    fn offsets_are_not_negative_and_count_records() {
        assert_eq!(Offset::new(-1), None);
        let end = Offset::new(7).unwrap();
        assert_eq!(end.advance(3).get(), 10);
        assert_eq!(end.advance(3).distance_from(end), Some(3));
        assert_eq!(end.distance_from(end.advance(1)), None);
    }
}
