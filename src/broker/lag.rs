//! How far groups are behind: what they committed against the ends of the partitions that this broker leads.

use std::collections::BTreeMap;

use super::Broker;
use crate::coordinator::group::command::{GroupKind, GroupState, Name};

/// Most committed offsets that are told at a time: a scrape must stay small however many groups there are.
pub const OFFSETS_MAX: usize = 10_000;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Group.
    pub group: Name,
    /// Topic.
    pub topic: Name,
    /// Partition.
    pub partition: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// Records behind the high watermark; `None` if the partition is led elsewhere.
    pub lag: Option<i64>,
}

/// The groups that this broker coordinates.
#[derive(Debug, Clone, Default)]
pub struct GroupNumbers {
    /// How many there are of a kind in a state.
    pub states: BTreeMap<(GroupKind, GroupState), usize>,
    /// Their committed offsets, at most [`OFFSETS_MAX`].
    pub committed: Vec<Committed>,
    /// There are more.
    pub cut: bool,
}

impl Broker {
    /// Looks at every group once. Costs nothing where there are none.
    #[must_use]
    pub fn group_numbers(&self) -> GroupNumbers {
        let mut numbers = GroupNumbers::default();
        self.groups().look(|shard| {
            for group in shard.listed() {
                *numbers.states.entry((group.kind, group.state)).or_default() += 1;
            }
            for (group, topic, partition, offset) in shard.offsets().iter() {
                if numbers.committed.len() == OFFSETS_MAX {
                    numbers.cut = true;
                    return;
                }
                let (group, topic) = (group.clone(), topic.clone());
                numbers.committed.push(Committed { group, topic, partition, offset, lag: None });
            }
        });
        // Outside of the shards' locks.
        for committed in &mut numbers.committed {
            committed.lag = self.lag(committed);
        }
        numbers
    }

    fn lag(&self, committed: &Committed) -> Option<i64> {
        let topic = self.partitions().topic(&committed.topic)?;
        let partition = topic.partition(committed.partition)?;
        partition.check_leader(None).ok()?;
        let end = partition.log().high_watermark().get();
        Some(end.saturating_sub(committed.offset).max(0))
    }
}
