//! Who subscribes which topics, without a list per topic: members of equal subscriptions are one class, and topics that the same classes
//! subscribe are one kind. Ten thousand members of ten thousand topics would else be a hundred million entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::MemberSpec;
use super::layout::MemberIndex;
use crate::types::TopicId;

/// The subscriptions of a group.
pub struct Audience {
    /// The members of each class, by their place in the order given.
    classes: Vec<Vec<MemberIndex>>,
    /// Topics by the classes that subscribe them.
    kinds: BTreeMap<Vec<usize>, Vec<TopicId>>,
    topics: BTreeSet<TopicId>,
}

impl Audience {
    /// Numbers `members` as they come.
    ///
    /// # Cost
    /// O(members + size of all different subscriptions), logarithms aside.
    pub fn new<'a, 'b: 'a>(members: impl Iterator<Item = &'a MemberSpec<'b>>) -> Self {
        let mut classes: Vec<Vec<MemberIndex>> = Vec::new();
        let mut subscriptions: BTreeMap<&BTreeSet<TopicId>, usize> = BTreeMap::new();
        let mut shared: BTreeMap<*const BTreeSet<TopicId>, usize> = BTreeMap::new();
        for (index, member) in members.enumerate() {
            let next = classes.len();
            let class = *shared
                .entry(Arc::as_ptr(&member.subscribed))
                .or_insert_with(|| *subscriptions.entry(&member.subscribed).or_insert(next));
            match classes.get_mut(class) {
                Some(members) => members.push(index),
                None => classes.push(vec![index]),
            }
        }
        let mut by_topic: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (topics, class) in subscriptions {
            for topic in topics {
                by_topic.entry(*topic).or_default().push(class);
            }
        }
        let topics = by_topic.keys().copied().collect();
        let mut kinds: BTreeMap<Vec<usize>, Vec<TopicId>> = BTreeMap::new();
        for (topic, classes) in by_topic {
            kinds.entry(classes).or_default().push(topic);
        }
        Self { classes, kinds, topics }
    }

    /// Whether anybody subscribes `topic`.
    pub fn reads(&self, topic: TopicId) -> bool {
        self.topics.contains(&topic)
    }

    /// Whether all members subscribe the same topics.
    pub const fn is_alike(&self) -> bool {
        self.classes.len() == 1
    }

    /// The kinds of topics: the subscribers of each, ascending, made for each call, and its topics. Kinds of few subscribers come first.
    pub fn kinds(&self) -> impl Iterator<Item = (Vec<MemberIndex>, &[TopicId])> {
        let of = |class: &usize| self.classes.get(*class).map(Vec::as_slice).unwrap_or_default();
        let size = move |classes: &[usize]| classes.iter().map(|class| of(class).len()).sum::<usize>();
        let mut order: Vec<_> = self.kinds.iter().collect();
        order.sort_by_key(|(classes, topics)| (size(classes), topics.first().copied()));
        order.into_iter().map(move |(classes, topics)| {
            let mut members: Vec<_> = classes.iter().flat_map(of).copied().collect();
            members.sort_unstable();
            (members, topics.as_slice())
        })
    }
}
