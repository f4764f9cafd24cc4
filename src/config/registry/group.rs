//! Keys of a single group (`GroupConfig`): those of consumer groups.

use super::Section;
use crate::config::key::{Key, Tier, twin};

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Group keys",
    tier: Tier::Effective,
    keys: &[
        Key::int(
            "consumer.session.timeout.ms",
            "45000",
            "How long a member of a consumer-protocol group may be silent.",
        )
        .at_least(1)
        .twins(&[twin("group.consumer.session.timeout.ms")]),
        Key::int(
            "consumer.heartbeat.interval.ms",
            "5000",
            "Heartbeat interval given to members of a consumer-protocol group.",
        )
        .at_least(1)
        .twins(&[twin("group.consumer.heartbeat.interval.ms")]),
        Key::int(
            "consumer.assignment.interval.ms",
            "1000",
            "Least time between two assignments of a consumer-protocol group.",
        )
        .at_least(0)
        .twins(&[twin("group.consumer.assignment.interval.ms")]),
    ],
}];

/// Each key with the broker keys that bound it: the least, the most.
pub(in crate::config) const BOUNDS: [(&str, &str, &str); 3] = [
    (
        "consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    (
        "consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ),
];
