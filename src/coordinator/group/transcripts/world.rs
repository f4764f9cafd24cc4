//! A shard with its surroundings: a clock, topics, settings, the log of its records, and who waits for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::show;
use crate::coordinator::group::command::{Answer, Command, GroupState, Name, OffsetFetch};
use crate::coordinator::group::records::Record;
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::shard::{Group, GroupShard};
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::{Now, Ticket, Turn};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::types::{BrokerId, Millis, TopicId, TopicName};

/// A shard and everything around it.
pub(in crate::coordinator::group) struct World {
    pub(in crate::coordinator::group) shard: GroupShard,
    pub(in crate::coordinator::group) settings: GroupSettings,
    pub(in crate::coordinator::group) image: ClusterImage,
    pub(in crate::coordinator::group) now: Now,
    /// Everything that was written.
    pub(in crate::coordinator::group) log: Vec<Record>,
    /// Requests without an answer, by the name that the transcript gives them.
    waiting: BTreeMap<Ticket, String>,
    tickets: u64,
    members: u64,
    timers: BTreeMap<TimerKey, Millis>,
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            shard: GroupShard::default(),
            settings: GroupSettings::default(),
            image: ClusterImage::default(),
            now: Now::default(),
            log: Vec::new(),
            waiting: BTreeMap::new(),
            tickets: 0,
            members: 0,
            timers: BTreeMap::new(),
        };
        world.shard.loaded(world.now, &world.settings, &world.image);
        world
    }
}

impl World {
    /// The next id that a broker gives out: `<begin>-<n>`.
    pub(super) fn fresh_member(&mut self, begin: &str) -> Name {
        self.members += 1;
        format!("{begin}-{}", self.members).into()
    }

    /// One step, with its effects.
    pub(super) fn ask(&mut self, label: &str, command: Command) -> Vec<String> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, label.to_owned());
        let turn = self.shard.step(self.now, &self.settings, &self.image, ticket, command);
        self.effects(turn)
    }

    /// The time goes on: every deadline up to then, with its effects.
    pub(super) fn advance(&mut self, to_ms: Millis) -> Vec<String> {
        let mut effects = Vec::new();
        while let Some(at_ms) = self.shard.next_deadline().filter(|at_ms| *at_ms <= to_ms) {
            self.set_time(at_ms.max(self.now.elapsed_ms));
            let turn = self.shard.tick(self.now, &self.settings, &self.image);
            let here = self.effects(turn);
            effects.extend(here.into_iter().map(|effect| format!("{at_ms}ms {effect}")));
        }
        self.set_time(to_ms);
        effects
    }

    fn set_time(&mut self, to_ms: Millis) {
        assert!(to_ms >= self.now.elapsed_ms, "the time went back");
        self.now = Now { wall_ms: to_ms, elapsed_ms: to_ms };
    }

    /// The cluster has these topics from now on. A topic that stays keeps its id.
    pub(super) fn set_topics(&mut self, topics: &[(&str, usize)]) -> Vec<String> {
        self.image = ClusterImage { revision: self.image.revision + 1, ..ClusterImage::default() };
        for (name, partitions) in topics {
            let topic = topic_id(name);
            let name = TopicName::new(name).unwrap();
            self.image.topic_names.insert(name.clone(), topic);
            let partition = Arc::new(PartitionImage {
                replicas: vec![BrokerId(1)],
                leader: None,
                isr: Vec::new(),
                ..PartitionImage::assigned(Vec::new())
            });
            let partitions = vec![partition; *partitions];
            let topic_image = TopicImage {
                id: topic,
                name,
                mod_revision: self.image.revision,
                deleting: false,
                partitions,
            };
            self.image.topics.insert(topic, Arc::new(topic_image));
        }
        let turn = self.shard.image_changed(self.now, &self.settings, &self.image);
        self.effects(turn)
    }

    /// Another broker takes over: the log is replayed, and who waits here is told so by the end of the connection.
    pub(in crate::coordinator::group) fn reload(&mut self) -> Vec<String> {
        self.waiting.clear();
        self.shard = self.replayed();
        let turn = self.shard.loaded(self.now, &self.settings, &self.image);
        self.effects(turn)
    }

    fn replayed(&self) -> GroupShard {
        let mut shard = GroupShard::default();
        for record in &self.log {
            shard.replay(record.clone());
        }
        shard
    }

    fn effects(&mut self, turn: Turn) -> Vec<String> {
        let mut effects: Vec<String> =
            turn.records.iter().map(|record| show::record(&self.image, record)).collect();
        self.log.extend(turn.records);
        for (ticket, answer) in turn.answers {
            let label = self.waiting.remove(&ticket).expect("nobody asked, or it was answered before");
            effects.push(format!("{label}< {}", show::answer(&self.image, &answer)));
        }
        let timers: BTreeMap<TimerKey, Millis> =
            self.shard.timers().iter().map(|(key, at_ms)| (key.clone(), at_ms)).collect();
        for (key, at_ms) in &timers {
            if self.timers.get(key) != Some(at_ms)
                && let Some(key) = show::timer(key)
            {
                effects.push(format!("deadline {key} at {at_ms}ms"));
            }
        }
        self.timers = timers;
        effects
    }

    /// Rule: records, replayed on an empty shard, give the state that the turns left behind. What is soft (members of a generation that
    /// has no assignment yet) is not looked at.
    pub(in crate::coordinator::group) fn assert_replayed_is_the_same(&mut self, name: &str) {
        let mut replayed = self.replayed();
        replayed.loaded(self.now, &self.settings, &self.image);
        let lived = self.durable_state(None);
        let lived_shard = std::mem::replace(&mut self.shard, replayed);
        let replayed = self.durable_state(Some(&lived_shard));
        self.shard = lived_shard;
        assert_eq!(lived, replayed, "{name}: replayed, the records give another state");
    }

    /// What a shard knows that is written. Of classic groups in the middle of a rebalance (of `of`, or of this one) nothing is.
    fn durable_state(&mut self, of: Option<&GroupShard>) -> Vec<String> {
        let groups = of.unwrap_or(&self.shard).groups();
        let states: Vec<(Name, GroupState)> =
            groups.iter().map(|(name, group)| (name.clone(), group.listed(name).state)).collect();
        let mut known = Vec::new();
        for (group, state) in states {
            if !matches!(state, GroupState::PreparingRebalance | GroupState::CompletingRebalance) {
                match self.shard.groups().get(&group) {
                    Some(Group::Classic(classic)) => known.push(show::classic_state(classic)),
                    Some(Group::Consumer(_)) => {
                        known.extend(self.quietly(Command::DescribeConsumer(group.clone())));
                    }
                    None => known.push(format!("no group {group}")),
                }
            }
            let fetch = OffsetFetch { group, epoch: -1, ..OffsetFetch::default() };
            known.extend(self.quietly(Command::FetchOffsets(fetch)));
        }
        known
    }

    fn quietly(&mut self, command: Command) -> Option<String> {
        let turn = self.shard.step(self.now, &self.settings, &self.image, Ticket(0), command);
        assert!(turn.records.is_empty(), "a question wrote something");
        let (_, answer): (Ticket, Answer) = turn.answers.into_iter().next()?;
        Some(show::answer(&self.image, &answer))
    }
}

/// The id of the topic `name`: its letters, so that it is the same in every transcript.
pub(super) fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    TopicId::new(Uuid::from_bytes(bytes)).unwrap()
}

/// A `ConsumerProtocolSubscription` of version 0.
pub(in crate::coordinator::group) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}
