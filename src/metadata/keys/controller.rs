//! `controller/<lease id>`, leased: one key per candidate. The smallest `create_revision` is the controller and its epoch.

use serde::{Deserialize, Serialize};

use super::Key;
use crate::types::{BrokerEpoch, BrokerId};

/// Value of `controller/<lease id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateValue {
    /// The candidate.
    pub broker: BrokerId,
    /// Its lifetime.
    pub broker_epoch: BrokerEpoch,
}

/// The lease id as etcd's tools print it: 16 hexadecimal digits.
pub(super) fn candidate(lease: i64) -> String {
    format!("controller/{lease:016x}")
}

pub(super) fn parse(tail: &str) -> Result<Key, &'static str> {
    u64::from_str_radix(tail, 16)
        .ok()
        .map(u64::cast_signed)
        .filter(|lease| format!("{lease:016x}") == tail)
        .map(Key::Candidate)
        .ok_or("a lease id of 16 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    #[test]
    fn a_candidacy_reads_what_it_writes() {
        let record = Record::new(CandidateValue { broker: BrokerId(1), broker_epoch: BrokerEpoch(9) });
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}
