//! The records that are written and expected: made from a fixed seed, given to the clients as JSON files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::family::Family;

/// Values longer than this come back as length and CRC-32.
pub const DIGEST_ABOVE: usize = 1024;
/// The timestamp of the first record; record `i` is `i` seconds later, but for one that is early.
pub const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// A record as a client is told to write it.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None`: the client puts its clock's.
    pub timestamp: Option<i64>,
}

/// Records and the file that tells them to the client programs.
pub struct RecordSet {
    pub records: Vec<Record>,
    pub file: PathBuf,
}

fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| TempDir::new().expect("a temporary directory")).path()
}

impl RecordSet {
    pub fn new(name: &str, records: Vec<Record>) -> Self {
        let file = directory().join(name);
        let text: Vec<Value> = records.iter().map(Record::to_json).collect();
        std::fs::write(&file, Value::from(text).to_string()).expect("a file in a temporary directory");
        Self { records, file }
    }

    /// Everything odd that a record may have, in every size up to 900 kB, as far as `family` can write it.
    pub fn standard(family: Family) -> &'static Self {
        static SETS: OnceLock<BTreeMap<Family, RecordSet>> = OnceLock::new();
        let set_of = |family: Family| {
            let mut records = standard_records();
            match family {
                Family::Kcat => {
                    records.retain(kcat_can_write);
                    records.iter_mut().for_each(|record| record.timestamp = None);
                }
                Family::Aiokafka => records.iter_mut().for_each(with_key_or_value),
                Family::KafkaPython => {
                    records.iter_mut().for_each(with_key_or_value);
                    records.iter_mut().for_each(without_null_headers);
                }
                Family::Kafkajs => records.iter_mut().for_each(without_null_headers),
                Family::ConfluentKafka | Family::Java | Family::FranzGo => {}
            }
            (family, Self::new(&format!("{}.json", family.name()), records))
        };
        &SETS.get_or_init(|| Family::ALL.into_iter().map(set_of).collect())[&family]
    }

    /// A few small records that every codec makes smaller, with the client's own timestamps.
    pub fn small() -> &'static Self {
        static SMALL: OnceLock<RecordSet> = OnceLock::new();
        SMALL.get_or_init(|| {
            let record = |number: u8| Record {
                key: Some(vec![b'k', b'0' + number]),
                value: Some(vec![b'a' + number; 4000]),
                headers: vec![("number".to_owned(), Some(vec![b'0' + number]))],
                timestamp: None,
            };
            Self::new("small.json", (0..4).map(record).collect())
        })
    }
}

impl Record {
    fn to_json(&self) -> Value {
        let headers: Vec<Value> =
            self.headers.iter().map(|(name, value)| json!([name, encode(value.as_deref())])).collect();
        json!({
            "key": encode(self.key.as_deref()),
            "value": encode(self.value.as_deref()),
            "headers": headers,
            "timestamp": self.timestamp,
        })
    }

    /// This record as `writer` sends it.
    pub fn as_written_by(&self, writer: Family) -> Self {
        let mut written = self.clone();
        if writer == Family::Kafkajs {
            // Its headers are a map from names to lists: equal names come together.
            let mut grouped: Vec<(String, Option<Vec<u8>>)> = Vec::new();
            for (name, value) in &self.headers {
                let after = grouped.iter().rposition(|(known, _)| known == name);
                grouped.insert(after.map_or(grouped.len(), |last| last + 1), (name.clone(), value.clone()));
            }
            written.headers = grouped;
        }
        written
    }

    /// This record as `reader` reports it, apart from offset and the type of its timestamp.
    pub fn as_seen_by(&self, reader: Family) -> Value {
        let mut seen = self.to_json();
        let value = self.value.as_deref().unwrap_or_default();
        if value.len() > DIGEST_ABOVE {
            seen.as_object_mut().expect("an object").remove("value");
            seen["digest"] = json!([value.len(), crc32fast::hash(value)]);
        }
        if reader == Family::Kcat {
            seen["headers"] = Value::from(self.headers_as_kcat_prints());
        }
        seen
    }

    /// `name=value,name=NULL`, values cut at their first zero byte.
    fn headers_as_kcat_prints(&self) -> String {
        let print = |(name, value): &(String, Option<Vec<u8>>)| match value {
            None => format!("{name}=NULL"),
            Some(value) => {
                let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
                format!("{name}={}", String::from_utf8_lossy(&value[..end]))
            }
        };
        self.headers.iter().map(print).collect::<Vec<_>>().join(",")
    }
}

/// Bytes as they travel in JSON.
pub fn encode(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::from(STANDARD.encode(bytes)))
}

/// The bytes of a JSON string that [`encode`] made.
pub fn decode(text: &Value) -> Option<Vec<u8>> {
    text.as_str().map(|text| STANDARD.decode(text).expect("base64"))
}

/// kcat takes keys and headers from its command line, and cannot tell empty from null.
fn kcat_can_write(record: &Record) -> bool {
    let text = |bytes: &[u8]| !bytes.is_empty() && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    record.key.as_deref().is_none_or(text)
        && record.value.as_ref().is_some_and(|value| !value.is_empty())
        && record
            .headers
            .iter()
            .all(|(_, value)| value.as_deref().is_none_or(|value| value.is_empty() || text(value)))
}

/// The Python-only clients refuse a record that has neither key nor value.
fn with_key_or_value(record: &mut Record) {
    if record.value.is_none() {
        record.key.get_or_insert_default();
    }
}

/// kafkajs and kafka-python refuse a header without a value.
fn without_null_headers(record: &mut Record) {
    for (_, value) in &mut record.headers {
        value.get_or_insert_default();
    }
}

fn standard_records() -> Vec<Record> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15);
    let noise: Vec<u8> = (0..70_000).map(|_| random.byte()).collect();
    // Half of it noise, half of it nothing new: every codec makes it smaller.
    let mut large: Vec<u8> = (0..450_000).map(|_| random.byte()).collect();
    large.resize(900_000, b'l');
    let record = |key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.map(<[u8]>::to_vec))).collect(),
        timestamp: None,
    };
    let mut records = vec![
        record(Some(b"alpha"), Some(b"first record"), &[("source", Some(b"ketcd"))]),
        record(None, Some(b"no key"), &[]),
        record(Some(b"tombstone"), None, &[("deleted", Some(b"yes"))]),
        record(None, None, &[]),
        record(Some(b""), Some(b""), &[]),
        record(
            Some(b"repeated"),
            Some(b"repeated header keys"),
            &[("a", Some(b"1")), ("b", Some(b"2")), ("a", Some(b"3")), ("a", Some(b"1"))],
        ),
        record(Some(b"odd headers"), Some(b"x"), &[("empty", Some(b"")), ("null", None)]),
        record(Some(&every_byte), Some(&every_byte), &[("bytes", Some(&every_byte))]),
        record(
            Some("schlüssel".as_bytes()),
            Some("größe, 大きさ".as_bytes()),
            &[("überschrift", Some("größe".as_bytes()))],
        ),
        record(Some(b"compressible"), Some(&[b'k'; 20_000]), &[]),
        record(Some(b"noise"), Some(&noise), &[]),
        record(Some(b"large"), Some(&large), &[("size", Some(b"900000"))]),
        record(Some(b"last"), Some(b"last"), &[]),
    ];
    for (record, number) in records.iter_mut().zip(0..) {
        // Number 5 is earlier than the one before it: an index by time must not mind.
        let seconds = if number == 5 { 2 } else { number };
        record.timestamp = Some(FIRST_TIMESTAMP + seconds * 1000);
    }
    records
}

/// A generator that gives the same bytes in every run.
struct XorShift(u64);

impl XorShift {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}
