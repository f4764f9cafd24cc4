//! The envelope of every value: a version, the known fields, and the unknown ones kept as they are.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version that this software writes and reads in `"v"`.
pub const VALUE_VERSION: u32 = 1;

/// A value as it stands in etcd: `{"v":1, <fields of T>, <fields of later versions>}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<T> {
    /// Version of the value's shape.
    v: u32,
    /// The fields that this version knows.
    #[serde(flatten)]
    pub value: T,
    /// All other fields; written back as read, so that a rewrite by an older broker loses nothing.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Written by a later version with a shape that this one does not know.
    #[error("value has version {version}, this software reads {VALUE_VERSION}; upgrade this broker")]
    FutureVersion {
        /// Its `"v"`.
        version: u64,
    },
    /// Not the JSON that belongs there.
    #[error("value is malformed: {why}")]
    Malformed {
        /// What the parser says.
        why: String,
    },
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// A value without fields of later versions.
    pub fn new(value: T) -> Self {
        Self { v: VALUE_VERSION, value, unknown: Map::new() }
    }

    /// A value with fields of later versions, as an earlier read found them.
    pub fn with_unknown(value: T, unknown: Map<String, Value>) -> Self {
        Self { unknown, ..Self::new(value) }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`ValueError`]; never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(record) if record.v == VALUE_VERSION => Ok(record),
            Ok(record) => Err(ValueError::FutureVersion { version: u64::from(record.v) }),
            Err(error) => Err(Self::why(bytes, &error)),
        }
    }

    /// A value of a later version may lack our fields: then its version is the reason, not the field.
    fn why(bytes: &[u8], error: &serde_json::Error) -> ValueError {
        let version = serde_json::from_slice::<Value>(bytes).ok().and_then(|value| value.get("v")?.as_u64());
        match version {
            Some(version) if version > u64::from(VALUE_VERSION) => ValueError::FutureVersion { version },
            _ => ValueError::Malformed { why: error.to_string() },
        }
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("values are structs of strings, numbers and lists, which JSON can hold")
    }

    /// The same unknown fields around another value.
    pub fn with(self, value: T) -> Self {
        Self { value, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Plain {
        name: String,
        ids: Vec<i32>,
    }

    #[test]
    fn unknown_fields_survive_a_rewrite() {
        let stored = br#"{"v":1,"name":"a","later":{"x":[1,2]},"ids":[3]}"#;
        let mut record = Record::<Plain>::decode(stored).unwrap();
        assert_eq!(record.value, Plain { name: "a".into(), ids: vec![3] });
        record.value.name = "b".into();
        let rewritten: Value = serde_json::from_slice(&record.encode()).unwrap();
        assert_eq!(rewritten, serde_json::json!({"v":1,"name":"b","ids":[3],"later":{"x":[1,2]}}));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(
            Record::<Plain>::decode(br#"{"v":2,"name":"a","ids":[]}"#),
            Err(ValueError::FutureVersion { version: 2 })
        );
        assert_eq!(
            Record::<Plain>::decode(br#"{"v":9,"titles":[]}"#),
            Err(ValueError::FutureVersion { version: 9 })
        );
        for bad in [&b""[..], b"null", b"{}", b"\xff", br#"{"v":1}"#, br#"{"v":1,"name":7,"ids":[]}"#] {
            assert!(matches!(Record::<Plain>::decode(bad), Err(ValueError::Malformed { .. })), "{bad:?}");
        }
    }
}
