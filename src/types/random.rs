//! Randomness: the one place that asks the system for it.

use uuid::Uuid;

/// A new random UUID for a topic, a cluster, a directory or one lifetime of a process. Never the zero id, and never one whose text
/// form starts with `-`, which tools would take for an option (as `org.apache.kafka.common.Uuid.randomUuid`).
#[must_use]
pub fn uuid() -> Uuid {
    loop {
        let uuid = Uuid::new_v4();
        if !super::ids::encode_uuid(uuid).starts_with('-') {
            return uuid;
        }
    }
}

/// A random number below `bound`; 0 if `bound` is 0. For jitter, not for secrets.
#[must_use]
pub fn below(bound: u64) -> u64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    high.checked_rem(bound).unwrap_or(0)
}
