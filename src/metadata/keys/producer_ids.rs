//! `producer-ids`: one key per cluster, changed only under a compare of its `mod_revision` (rule T11).

use serde::{Deserialize, Serialize};

/// The key after the prefix.
pub(super) const KEY: &str = "producer-ids";

/// Value of `producer-ids`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdsValue {
    /// The first id that no block holds.
    pub next: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    #[test]
    fn the_next_block_reads_what_it_writes() {
        let record = Record::new(ProducerIdsValue { next: 3000 });
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}
