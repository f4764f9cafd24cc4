//! `brokers/..`: registrations (leased), what outlives them, and automatic node ids.
//!
//! Scope: one key per broker in each of `live`, `intact`, `last` and `meta`; one per automatic id in `ids`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Key, decode_number};
use crate::metadata::image::Endpoint;
use crate::types::BrokerId;
use crate::types::seeded::{Bug, seeded};

/// Prefix of the automatic ids, after the cluster's prefix.
pub(super) const AUTO_IDS: &str = "brokers/ids/";

/// Digits of an automatic id, so that key order is number order.
const AUTO_ID_DIGITS: usize = 10;

/// Value of `brokers/live/<id>`. Its `create_revision` is the broker epoch (rule E3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerLiveValue {
    /// Names one process lifetime before its epoch is known.
    pub incarnation: Uuid,
    /// `/proc/sys/kernel/random/boot_id` of its host.
    pub boot_id: String,
    /// Host name, for people and for rule B7.
    pub host: String,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Directory ids of its `log.dirs`.
    pub directories: Vec<Uuid>,
    /// Version of ketcd.
    pub version: String,
    /// It hands its leaderships over and takes no new ones.
    #[serde(default)]
    pub draining: bool,
    /// It is about to end: it leaves every ISR and enters none (KIP-841, rule U5).
    #[serde(default)]
    pub stopping: bool,
}

impl BrokerLiveValue {
    /// Whether this registration, under `lease`, is of an earlier process on the directories of `now`, whose last lease was `ours`
    /// (0: none is known). A copied disk carries the lease too, but neither boot nor host, and in another directory it counts for
    /// nothing (rule B7, N40).
    #[must_use]
    pub fn is_past_of(&self, now: &Self, lease: i64, ours: i64) -> bool {
        let same_host = self.boot_id == now.boot_id && self.host == now.host;
        let our_past = same_host && lease == ours && lease != 0;
        self.incarnation == now.incarnation || our_past || seeded(Bug::B7AnyLease)
    }
}

/// Value of `brokers/last/<id>`. A broker whose disks do not know the lifetime that stands here missed it: they are old (rule B2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerLastValue {
    /// The lifetime.
    pub incarnation: Uuid,
}

/// Value of `brokers/meta/<id>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerMetaValue {
    /// No new replicas here (KIP-1066).
    #[serde(default)]
    pub cordoned: bool,
    /// Ids of log directories that failed.
    #[serde(default)]
    pub offline_directories: Vec<Uuid>,
    /// Where the broker was last seen: its advertised listeners.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Its rack when it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
}

/// Value of `brokers/ids/<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoIdValue {
    /// The lifetime that took the id.
    pub incarnation: Uuid,
    /// Its host.
    pub host: String,
}

pub(super) fn live(id: BrokerId) -> String {
    format!("brokers/live/{id}")
}

pub(super) fn intact(id: BrokerId) -> String {
    format!("brokers/intact/{id}")
}

pub(super) fn last(id: BrokerId) -> String {
    format!("brokers/last/{id}")
}

pub(super) fn meta(id: BrokerId) -> String {
    format!("brokers/meta/{id}")
}

pub(super) fn auto_id(id: BrokerId) -> String {
    format!("{AUTO_IDS}{:0>AUTO_ID_DIGITS$}", id.get())
}

/// Reads what follows `brokers/`; `None` for a family that is not known.
pub(super) fn parse(tail: &str) -> Option<Result<Key, &'static str>> {
    const ID: &str = "a broker id";
    let (family, id) = tail.split_once('/')?;
    let plain = |key: fn(BrokerId) -> Key| decode_number(id, 0).map(|id| key(BrokerId(id))).ok_or(ID);
    match family {
        "live" => Some(plain(Key::BrokerLive)),
        "intact" => Some(plain(Key::BrokerIntact)),
        "last" => Some(plain(Key::BrokerLast)),
        "meta" => Some(plain(Key::BrokerMeta)),
        "ids" => Some(
            decode_number(id, AUTO_ID_DIGITS)
                .map(|id| Key::BrokerAutoId(BrokerId(id)))
                .ok_or("a node id of 10 digits"),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    fn endpoint() -> Endpoint {
        Endpoint {
            listener: "PLAINTEXT".into(),
            host: "h".into(),
            port: 9092,
            security_protocol: "PLAINTEXT".into(),
        }
    }

    #[test]
    fn a_registration_reads_what_it_writes() {
        let value = BrokerLiveValue {
            incarnation: Uuid::from_u128(1),
            boot_id: "b".into(),
            host: "h".into(),
            endpoints: vec![endpoint()],
            rack: Some("r".into()),
            directories: vec![Uuid::from_u128(2)],
            version: "0.1.0".into(),
            draining: true,
            stopping: true,
        };
        let record = Record::new(value);
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_registration_without_optional_fields_is_read() {
        let stored =
            br#"{"v":1,"incarnation":"00000000-0000-0000-0000-000000000001","boot_id":"b","host":"h",
            "endpoints":[],"directories":[],"version":"x"}"#;
        let record = Record::<BrokerLiveValue>::decode(stored).unwrap();
        assert_eq!((record.value.rack, record.value.draining), (None, false));
    }

    #[test]
    fn other_broker_values_read_what_they_write() {
        let meta = Record::new(BrokerMetaValue {
            cordoned: true,
            offline_directories: vec![Uuid::from_u128(3)],
            endpoints: vec![endpoint()],
            rack: Some("r".into()),
        });
        assert_eq!(Record::decode(&meta.encode()), Ok(meta));
        let last = Record::new(BrokerLastValue { incarnation: Uuid::from_u128(4) });
        assert_eq!(Record::decode(&last.encode()), Ok(last));
        let id = Record::new(AutoIdValue { incarnation: Uuid::from_u128(1), host: "h".into() });
        assert_eq!(Record::decode(&id.encode()), Ok(id));
    }
}
