//! The `range` assignor: of every topic each subscriber gets one range, the first ones a partition more.
//!
//! Subscribers are in the order of their instance ids, those without one after them by member id, so that a static member that comes back
//! under another id gets the same range. Topics with as many partitions and the same subscribers are cut alike (co-partitioning). What
//! members have now does not count. As `org.apache.kafka.coordinator.group.assignor.RangeAssignor` of Kafka 4.3.

use super::audience::Audience;
use super::{Assignment, GroupSpec, NOTHING, Partitions};

/// Its name in `group.consumer.assignors` and `group.remote.assignor`.
pub const NAME: &str = "range";

/// Assigns the group.
///
/// # Cost
/// O(partitions + members + size of all different subscriptions), logarithms aside.
#[must_use]
pub fn assign(spec: &GroupSpec<'_>) -> Assignment {
    let mut order: Vec<_> = spec.members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance, *id));
    let mut owned: Vec<Partitions> = vec![NOTHING.clone(); order.len()];
    let audience = Audience::new(order.iter().map(|(_, member)| *member));
    for (members, topics) in audience.kinds() {
        let Ok(count) = i32::try_from(members.len()) else { continue };
        for topic in topics {
            let partitions = spec.topics.get(topic).map_or(0, |topic| topic.partitions.max(0));
            let (least, mut extra) = (partitions / count, partitions % count);
            let mut next = 0;
            for member in &members {
                if next == partitions {
                    break;
                }
                let end = next + least + i32::from(extra > 0);
                extra -= i32::from(extra > 0);
                if let Some(owned) = owned.get_mut(*member) {
                    owned.insert(*topic, (next..end).collect());
                }
                next = end;
            }
        }
    }
    order.into_iter().map(|(id, _)| id.clone()).zip(owned).collect()
}
