//! The `range` assignor: of every topic each subscriber gets one range, the first ones a partition more.
//!
//! Subscribers are in the order of their instance ids, those without one after them by member id, so that a static member that comes back
//! under another id gets the same range. Topics with as many partitions and the same subscribers are cut alike (co-partitioning). What
//! members have now does not count. As `org.apache.kafka.coordinator.group.assignor.RangeAssignor` of Kafka 4.3.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, GroupSpec, Partitions};
use crate::types::TopicId;

/// Its name in `group.consumer.assignors` and `group.remote.assignor`.
pub const NAME: &str = "range";

/// Assigns the group.
///
/// # Cost
/// O(subscriptions log topics + partitions).
#[must_use]
pub fn assign(spec: &GroupSpec<'_>) -> Assignment {
    let mut order: Vec<_> = spec.members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance, *id));
    let mut subscribers: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in order.iter().flat_map(|(_, member)| member.subscribed.iter()) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let mut cuts: BTreeMap<TopicId, Cut> = BTreeMap::new();
    for (topic, members) in subscribers {
        if let (Some(spec), Ok(members)) = (spec.topics.get(&topic), i32::try_from(members)) {
            let partitions = spec.partitions.max(0);
            cuts.insert(topic, Cut { next: 0, least: partitions / members, extra: partitions % members });
        }
    }
    let assigned = order.into_iter().map(|(id, member)| {
        let ranges = member.subscribed.iter().filter_map(|topic| Some((*topic, cuts.get_mut(topic)?.take())));
        let owned: Partitions = ranges.filter(|(_, range)| !range.is_empty()).collect();
        (id.clone(), owned)
    });
    assigned.collect()
}

/// How far a topic is cut.
struct Cut {
    next: i32,
    least: i32,
    extra: i32,
}

impl Cut {
    fn take(&mut self) -> BTreeSet<i32> {
        let from = self.next;
        self.next += self.least + i32::from(self.extra > 0);
        self.extra -= i32::from(self.extra > 0);
        (from..self.next).collect()
    }
}
