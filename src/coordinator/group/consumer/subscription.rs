//! What a group reads: the topics that its members name, and those that their patterns match. A change bumps the group epoch.

use std::collections::BTreeSet;

use super::ConsumerGroup;
use super::member::Member;
use crate::coordinator::group::command::Name;
use crate::coordinator::group::records::{
    ConsumerGroupValue, ConsumerMemberValue, Record, RegularExpressionValue,
};
use crate::coordinator::group::regex::{TopicPattern, metadata_hash};
use crate::coordinator::group::turn::Context;
use crate::metadata::image::ClusterImage;
use crate::types::{Millis, TopicId};

/// Patterns are matched again at most this often (Kafka's constant).
const REFRESH_MIN_MS: Millis = 10_000;

impl ConsumerGroup {
    /// Writes what is new of a member, and what the pattern it brings has `matched`. Says whether it subscribes something else than before.
    pub(super) fn set_metadata(
        &mut self,
        context: &mut Context<'_>,
        id: &Name,
        metadata: ConsumerMemberValue,
        matched: Option<Vec<Name>>,
    ) -> bool {
        let before = self.members.get(id).cloned().unwrap_or_else(|| Member::new(id.clone()));
        let names_changed = before.metadata.topic_names != metadata.topic_names;
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::ConsumerMember { group, member, value: Some(metadata) });
        let after = self.members.get(id).and_then(Member::pattern).cloned();
        let pattern_changed = before.pattern() != after.as_ref();
        if pattern_changed && let Some(pattern) = before.pattern() {
            self.forget_pattern(context, pattern);
        }
        if let Some(pattern) = after
            && let Some(topics) = matched
        {
            self.write_matches(context, pattern, topics);
        }
        names_changed || pattern_changed
    }

    /// Writes that a pattern is forgotten if nobody subscribes it any more.
    pub(super) fn forget_pattern(&mut self, context: &mut Context<'_>, pattern: &Name) {
        if !self.index.patterns.contains_key(pattern) && self.matches.contains_key(pattern) {
            let (group, regex) = (self.group.clone(), pattern.clone());
            self.write(context, Record::RegularExpression { group, regex, value: None });
        }
    }

    /// Looks at the subscribed topics if the image or the subscriptions changed; a difference bumps the group epoch. So does
    /// `subscription_changed` in any case, and the first member of a group.
    pub(super) fn follow_topics(&mut self, context: &mut Context<'_>, subscription_changed: bool) {
        let matches_changed = self.refresh_patterns(context);
        let bump = subscription_changed || matches_changed || self.epoch == 0;
        if !bump && !self.is_stale {
            return;
        }
        self.is_stale = false;
        let hash = self.hash_topics(context.image);
        if bump || hash != self.metadata_hash {
            self.bump_epoch(context, hash);
        }
    }

    /// The next group epoch.
    pub(super) fn bump_epoch(&mut self, context: &mut Context<'_>, metadata_hash: i64) {
        let value = ConsumerGroupValue { epoch: self.epoch.saturating_add(1), metadata_hash };
        let group = self.group.clone();
        self.write(context, Record::ConsumerGroup { group, value: Some(value) });
    }

    /// Hash of what is known of the topics that are read.
    pub(super) fn hash_topics(&self, image: &ClusterImage) -> i64 {
        metadata_hash(image, self.index.topics.keys().map(AsRef::as_ref))
    }

    /// The ids of the topics that `member` subscribes and that exist.
    pub(super) fn subscribed(&self, image: &ClusterImage, member: &Member) -> BTreeSet<TopicId> {
        let matched = member.pattern().and_then(|pattern| self.matches.get(pattern));
        let names = member.metadata.topic_names.iter().chain(matched.iter().flat_map(|found| &found.topics));
        names.filter_map(|name| image.topic(name)).map(|topic| topic.id).collect()
    }

    /// Matches the patterns again if the topics may have changed or it is long ago, but not too often. Says whether any matches other
    /// topics than before.
    ///
    /// # Cost
    /// When it is done: one match for each pattern of the group and topic of the cluster.
    fn refresh_patterns(&mut self, context: &mut Context<'_>) -> bool {
        if self.index.patterns.is_empty() {
            return false;
        }
        let revision = context.image.revision;
        let last = self.matches.values().map(|found| found.timestamp).max().unwrap_or(0);
        let since_ms = context.now.wall_ms.saturating_sub(last);
        let missing = self.index.patterns.len() != self.matches.len();
        let due = missing
            || since_ms > context.settings.consumer_regex_refresh_interval_ms
            || (self.patterns_are_stale && self.matches.values().any(|found| found.version != revision));
        if !due || (!missing && since_ms.saturating_abs() <= REFRESH_MIN_MS) {
            return false;
        }
        self.patterns_are_stale = false;
        let mut changed = false;
        let patterns: Vec<Name> = self.index.patterns.keys().cloned().collect();
        for pattern in patterns {
            let known = self.matches.get(&pattern).map(|found| found.topics.clone());
            // What can no longer be resolved matches what it did.
            let compiled = TopicPattern::new(&pattern).ok();
            let found = compiled.and_then(|compiled| compiled.resolve(context.image).ok());
            let topics = found.or_else(|| known.clone()).unwrap_or_default();
            changed |= known.is_none_or(|known| known != topics);
            self.write_matches(context, pattern, topics);
        }
        changed
    }

    fn write_matches(&mut self, context: &mut Context<'_>, regex: Name, topics: Vec<Name>) {
        let value = RegularExpressionValue {
            topics,
            version: context.image.revision,
            timestamp: context.now.wall_ms,
        };
        let group = self.group.clone();
        self.write(context, Record::RegularExpression { group, regex, value: Some(value) });
    }
}
