//! A shard and its surroundings: the clock, the topics, the log of its records.

use std::sync::Arc;

use uuid::Uuid;

use crate::coordinator::group::command::{
    Answer, Command, DescribedConsumerGroup, DescribedGroup, ListedGroup, Name,
};
use crate::coordinator::group::records::Record;
use crate::coordinator::group::settings::{Bounded, GroupSettings};
use crate::coordinator::group::shard::GroupShard;
use crate::coordinator::group::turn::{Now, Ticket, Turn};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::types::{BrokerId, Millis, TopicId, TopicName};

/// The one group.
pub(super) const GROUP: &str = "g";

/// The id of the topic `name`: its letters.
pub(super) fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    TopicId::new(Uuid::from_bytes(bytes)).unwrap()
}

pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) settings: GroupSettings,
    pub(super) image: ClusterImage,
    pub(super) now: Now,
    pub(super) log: Vec<Record>,
    tickets: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let settings = GroupSettings {
            consumer_session_timeout_ms: Bounded { default: 45_000, min: 45_000, max: 60_000 },
            initial_rebalance_delay_ms: 0,
            ..GroupSettings::default()
        };
        let mut world = Self {
            shard: GroupShard::default(),
            settings,
            image: ClusterImage::default(),
            now: Now { wall_ms: 1_000_000, elapsed_ms: 0 },
            log: Vec::new(),
            tickets: 0,
        };
        world.shard.loaded(world.now, &world.settings, &world.image);
        world
    }

    /// Sets how many partitions a topic has; 0 deletes it.
    pub(super) fn set_topic(&mut self, name: &str, partitions: usize) -> Turn {
        let id = topic_id(name);
        self.image.revision += 1;
        let name = TopicName::new(name).unwrap();
        if partitions == 0 {
            self.image.topic_names.remove(&name);
            self.image.topics.remove(&id);
        } else {
            let partition = Arc::new(PartitionImage {
                replicas: vec![BrokerId(1)],
                leader: None,
                isr: Vec::new(),
                ..PartitionImage::assigned(Vec::new())
            });
            let partitions = vec![partition; partitions];
            let mod_revision = self.image.revision;
            let topic = TopicImage { id, name: name.clone(), mod_revision, deleting: false, partitions };
            self.image.topic_names.insert(name, id);
            self.image.topics.insert(id, Arc::new(topic));
        }
        let turn = self.shard.image_changed(self.now, &self.settings, &self.image);
        self.written(turn)
    }

    fn written(&mut self, turn: Turn) -> Turn {
        self.log.extend(turn.records.iter().cloned());
        turn
    }

    pub(super) fn ask(&mut self, command: Command) -> (Ticket, Turn) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let turn = self.shard.step(self.now, &self.settings, &self.image, ticket, command);
        (ticket, self.written(turn))
    }

    /// The time goes on, and deadlines with it.
    pub(super) fn advance(&mut self, by_ms: Millis) -> Vec<Turn> {
        let until = self.now.elapsed_ms + by_ms;
        let mut turns = Vec::new();
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= until) {
            self.go_to(at.max(self.now.elapsed_ms));
            let turn = self.shard.tick(self.now, &self.settings, &self.image);
            turns.push(self.written(turn));
        }
        self.go_to(until);
        turns
    }

    fn go_to(&mut self, elapsed_ms: Millis) {
        self.now.wall_ms += elapsed_ms - self.now.elapsed_ms;
        self.now.elapsed_ms = elapsed_ms;
    }

    /// A shard that has only the log.
    pub(super) fn replayed(&self) -> GroupShard {
        let mut shard = GroupShard::default();
        for record in &self.log {
            shard.replay(record.clone());
        }
        shard
    }

    /// Another broker takes over: what is not written is lost.
    pub(super) fn reload(&mut self) -> Turn {
        self.shard = self.replayed();
        let turn = self.shard.loaded(self.now, &self.settings, &self.image);
        self.written(turn)
    }

    pub(super) fn described(&mut self) -> DescribedConsumerGroup {
        let mut shard = std::mem::take(&mut self.shard);
        let described = described(&mut shard, self);
        self.shard = shard;
        described
    }

    pub(super) fn described_classic(&mut self) -> DescribedGroup {
        match self.ask(Command::DescribeClassic(GROUP.into())).1.answers.remove(0).1 {
            Answer::DescribeClassic(described) => described,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn listed(&mut self) -> Option<ListedGroup> {
        match self.ask(Command::List).1.answers.remove(0).1 {
            Answer::List(mut listed) => listed.pop(),
            other => panic!("{other:?}"),
        }
    }

    /// Rule: the records, replayed on an empty shard, give the state that the turns left behind.
    pub(super) fn assert_replayed_is_the_same(&mut self) {
        let mut replayed = self.replayed();
        let after = described(&mut replayed, self);
        let before = self.described();
        assert_eq!(before, after, "replayed, the records give another state");
    }
}

fn described(shard: &mut GroupShard, world: &World) -> DescribedConsumerGroup {
    let command = Command::DescribeConsumer(Name::from(GROUP));
    let mut turn = shard.step(world.now, &world.settings, &world.image, Ticket(0), command);
    assert_eq!(turn.records, [], "a question wrote something");
    match turn.answers.remove(0).1 {
        Answer::DescribeConsumer(described) => described,
        other => panic!("{other:?}"),
    }
}
