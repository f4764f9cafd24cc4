//! The partitions of a group in one row, and its members by number: what the assignors reckon with.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Assignment, GroupSpec, Partitions, TopicSpec};
use crate::types::TopicId;

/// A member's place among the group's members, by id.
pub type MemberIndex = usize;
/// A partition's place among all partitions of the group, by topic id and index.
pub type Place = usize;

/// All partitions in one row.
pub struct Layout<'a> {
    /// The topics in order.
    pub topics: Vec<LaidTopic<'a>>,
    places: Vec<(TopicId, i32)>,
    ranges: BTreeMap<TopicId, Range<Place>>,
}

/// A topic in the row.
pub struct LaidTopic<'a> {
    /// Its id.
    pub id: TopicId,
    places: Range<Place>,
    /// As given.
    pub spec: &'a TopicSpec<'a>,
}

impl<'a> Layout<'a> {
    /// Lays out those topics of `spec` that `wanted` names.
    pub fn new(spec: &'a GroupSpec<'a>, wanted: impl Fn(TopicId) -> bool) -> Self {
        let mut layout = Self { topics: Vec::new(), places: Vec::new(), ranges: BTreeMap::new() };
        for (id, topic) in spec.topics.iter().filter(|(id, _)| wanted(**id)) {
            let first = layout.places.len();
            layout.places.extend((0..topic.partitions).map(|partition| (*id, partition)));
            layout.ranges.insert(*id, first..layout.places.len());
            layout.topics.push(LaidTopic { id: *id, places: first..layout.places.len(), spec: topic });
        }
        layout
    }

    /// How many partitions there are.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// The places of `topic`.
    pub fn topic(&self, topic: TopicId) -> Range<Place> {
        self.ranges.get(&topic).cloned().unwrap_or_default()
    }

    /// The places of what a member has, ascending; partitions that do not exist are left out.
    pub fn places_of(&self, owned: &Partitions) -> impl Iterator<Item = Place> {
        owned.iter().flat_map(|(topic, partitions)| {
            let places = self.topic(*topic);
            let place = move |partition: &i32| places.clone().nth(usize::try_from(*partition).ok()?);
            partitions.iter().filter_map(place)
        })
    }

    /// Writes down who owns what: `owned` has the places of each member, in the order of the members.
    pub fn assignment(&self, spec: &GroupSpec<'_>, owned: Vec<Vec<Place>>) -> Assignment {
        let named = |mut places: Vec<Place>| {
            places.sort_unstable();
            let mut topics: Vec<(TopicId, Vec<i32>)> = Vec::new();
            for (topic, partition) in places.iter().filter_map(|place| self.places.get(*place)) {
                match topics.last_mut() {
                    Some((last, partitions)) if last == topic => partitions.push(*partition),
                    _ => topics.push((*topic, vec![*partition])),
                }
            }
            topics.into_iter().map(|(topic, partitions)| (topic, partitions.into_iter().collect())).collect()
        };
        spec.members.keys().cloned().zip(owned.into_iter().map(named)).collect()
    }
}

impl LaidTopic<'_> {
    /// Its places.
    pub fn places(&self) -> Range<Place> {
        self.places.clone()
    }
}
