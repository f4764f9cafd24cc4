//! `audit/<n>`: who changed what, in the order of the numbers. Bounded: the oldest go.

use serde::{Deserialize, Serialize};

use super::{Key, decode_number};
use crate::types::BrokerId;

/// Prefix of the entries, after the cluster's prefix.
pub(super) const ENTRIES: &str = "audit/";

/// Digits of an entry's number, so that key order is number order.
const NUMBER_DIGITS: usize = 20;

/// Value of `audit/<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditValue {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The broker that made the change.
    pub broker: BrokerId,
    /// On whose behalf: principal, client id or address.
    pub who: String,
    /// What was changed, for people.
    pub what: String,
    /// The revision of the change; 0 if it is not known.
    pub revision: i64,
}

pub(super) fn entry(n: u64) -> String {
    format!("{ENTRIES}{n:0>NUMBER_DIGITS$}")
}

pub(super) fn parse(tail: &str) -> Result<Key, &'static str> {
    decode_number(tail, NUMBER_DIGITS).map(Key::Audit).ok_or("a number of 20 digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    #[test]
    fn an_audit_entry_reads_what_it_writes() {
        let record = Record::new(AuditValue {
            at_ms: 1,
            broker: BrokerId(2),
            who: "User:a".into(),
            what: "created topic t".into(),
            revision: 9,
        });
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}
