//! Every key, declared once, by what it is about.
//!
//! The names, types, defaults, rules and update modes are Kafka's; `tests` below compares them with what Apache Kafka's own
//! definitions print, and lists the few deliberate differences. Documentation texts are ketcd's.

pub(super) mod group;
mod groups;
mod kraft;
mod listeners;
mod log;
mod node;
mod ours;
mod remote;
mod replication;
mod retired;
mod sasl;
mod security;
mod share;
#[cfg(test)]
mod tests;
mod topic;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::key::{Key, Tier, Update};

/// Keys of one subject and one tier.
struct Section {
    /// Heading for users.
    title: &'static str,
    /// What ketcd does with all of them.
    tier: Tier,
    /// The keys.
    keys: &'static [Key],
}

/// Reasons of keys that wait for a feature.
mod later {
    use super::Tier;

    pub(super) const FOLLOWER_READS: Tier =
        Tier::NoEffect("consumers read from leaders; reading from followers comes in a later version");
    pub(super) const STREAMS_GROUPS: Tier = Tier::NoEffect("streams groups come in a later version");
    pub(super) const TRANSACTIONS: Tier = Tier::NoEffect("transactions come in a later version");
    pub(super) const SHARE_GROUPS: Tier = Tier::NoEffect("share groups come in a later version");
    pub(super) const SECURITY: Tier =
        Tier::NoEffect("TLS, SASL and access control come in a later version; every listener is PLAINTEXT");
    pub(super) const QUOTAS: Tier = Tier::NoEffect("quotas come in a later version");
}

const BROKER: &[&[Section]] = &[
    node::SECTIONS,
    ours::SECTIONS,
    listeners::SECTIONS,
    topics::SECTIONS,
    log::SECTIONS,
    replication::SECTIONS,
    groups::SECTIONS,
    share::SECTIONS,
    transactions::SECTIONS,
    security::SECTIONS,
    sasl::SECTIONS,
    remote::SECTIONS,
    kraft::SECTIONS,
    retired::SECTIONS,
];

/// The keys of one scope with their headings, in the order of the documentation.
pub struct Scope {
    /// Heading and key, in order.
    pub listed: Vec<(&'static str, &'static Key)>,
    by_name: BTreeMap<&'static str, &'static Key>,
}

impl Scope {
    fn new(groups: &[&[Section]], update: Option<Update>) -> Self {
        let mut listed = Vec::new();
        for section in groups.iter().flat_map(|sections| sections.iter()) {
            for key in section.keys {
                let update = update.unwrap_or(key.update);
                // Built once per process: the keys live as long as it.
                let key: &'static Key = Box::leak(Box::new(Key { tier: section.tier, update, ..*key }));
                listed.push((section.title, key));
            }
        }
        let by_name = listed.iter().map(|(_, key)| (key.name, *key)).collect();
        Self { listed, by_name }
    }

    /// The key called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.by_name.get(name).copied()
    }

    /// The keys, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Key> {
        self.by_name.values().copied()
    }

    /// The known name most like `name`, if one is near enough to be what was meant.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.by_name.keys().copied())
    }
}

/// Broker keys: Kafka's, ketcd's, and those that Kafka once had.
pub static BROKER_KEYS: LazyLock<Scope> = LazyLock::new(|| Scope::new(BROKER, None));

/// Topic keys.
pub static TOPIC_KEYS: LazyLock<Scope> =
    LazyLock::new(|| Scope::new(&[topic::SECTIONS, ours::TOPIC_SECTIONS], Some(Update::Topic)));

/// Keys of a single group.
pub static GROUP_KEYS: LazyLock<Scope> =
    LazyLock::new(|| Scope::new(&[group::SECTIONS], Some(Update::Group)));

/// The topic key whose value `broker_key` gives where a topic has none of its own.
#[must_use]
pub fn topic_twin_of(broker_key: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.twins.iter().any(|twin| twin.name == broker_key))
}

/// The candidate with the fewest edits from `name`, at most a third of its length.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 3).clamp(1, 6);
    candidates
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many single-character changes and swaps of neighbours lead from `left` to `right` (optimal string alignment).
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut older: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut before = None;
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut right_before = None;
        for (j, b) in right.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut cost =
                (at(&row, j) + usize::from(a != *b)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            if j > 0 && before == Some(*b) && right_before == Some(a) {
                cost = cost.min(at(&older, j - 1) + 1);
            }
            next.push(cost);
            right_before = Some(*b);
        }
        before = Some(a);
        older = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}
