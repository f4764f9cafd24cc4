//! A shard with its surroundings. Its log is bytes: what is replayed has been encoded and decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::coordinator::group::command::{
    Answer, Ask, Command, CommitPartition, CommitTopic, ConsumerHeartbeat, JoinAnswer, JoinGroup,
    ListedGroup, Name, OffsetCommit, OffsetFetch, Protocol, SyncGroup,
};
use crate::coordinator::group::records::Record;
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::shard::GroupShard;
use crate::coordinator::group::transcripts::world::subscription;
use crate::coordinator::group::turn::{Now, Ticket, Turn};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::protocol::error::ErrorCode;
use crate::types::{BrokerId, Millis, TopicId, TopicName};

pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) settings: GroupSettings,
    pub(super) image: ClusterImage,
    pub(super) now: Now,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    /// Who has no answer yet.
    pub(super) parked: BTreeSet<Ticket>,
    /// Answers of later turns that nobody has looked at.
    pub(super) answers: BTreeMap<Ticket, Answer>,
    tickets: u64,
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            shard: GroupShard::default(),
            settings: GroupSettings::default(),
            image: ClusterImage::default(),
            now: Now::default(),
            log: Vec::new(),
            parked: BTreeSet::new(),
            answers: BTreeMap::new(),
            tickets: 0,
        };
        world.make_topic("t", 4);
        world.reload();
        world
    }
}

impl World {
    /// The ticket of a question, and its answer if that came at once.
    pub(super) fn asks_as(&mut self, command: Command) -> (Ticket, Option<Answer>) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.parked.insert(ticket);
        let turn = self.shard.step(self.now, &self.settings, &self.image, ticket, command);
        self.take(turn);
        (ticket, self.answers.remove(&ticket))
    }

    pub(super) fn asks(&mut self, command: Command) -> Option<Answer> {
        self.asks_as(command).1
    }

    pub(super) fn command(&mut self, command: Command) -> Answer {
        self.asks(command).expect("an answer at once")
    }

    pub(super) fn ask<A: Ask>(&mut self, question: A) -> A::Answer {
        A::from_answer(self.command(question.into_command())).expect("the answer to this question")
    }

    /// Every question is answered once.
    fn take(&mut self, turn: Turn) {
        self.log.extend(turn.records.iter().map(Record::encode));
        self.take_answers(turn.answers);
    }

    fn take_answers(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            assert!(self.parked.remove(&ticket), "{ticket:?} is answered, who does not wait: {answer:?}");
            self.answers.insert(ticket, answer);
        }
    }

    /// The time goes on, deadline by deadline.
    pub(super) fn advance(&mut self, by_ms: Millis) {
        let end = self.now.elapsed_ms + by_ms;
        while self.shard.next_deadline().is_some_and(|at_ms| at_ms <= end) {
            self.next_deadline();
        }
        self.jump(end - self.now.elapsed_ms);
    }

    pub(super) fn next_deadline(&mut self) {
        let at_ms = self.shard.next_deadline().expect("a deadline");
        self.jump((at_ms - self.now.elapsed_ms).max(0));
        let turn = self.tick();
        self.take_answers(turn.answers);
        let next = self.shard.next_deadline();
        assert!(next.is_none_or(|next| next > at_ms), "the deadline at {at_ms} stands still");
    }

    /// The time goes on and nobody looks.
    pub(super) fn jump(&mut self, by_ms: Millis) {
        self.now.elapsed_ms += by_ms;
        self.now.wall_ms += by_ms;
    }

    pub(super) fn tick(&mut self) -> Turn {
        let turn = self.shard.tick(self.now, &self.settings, &self.image);
        self.log.extend(turn.records.iter().map(Record::encode));
        turn
    }

    pub(super) fn make_topic(&mut self, name: &str, partitions: usize) {
        let partition = PartitionImage {
            replicas: vec![BrokerId(1)],
            leader: None,
            isr: Vec::new(),
            ..PartitionImage::assigned(Vec::new())
        };
        let id = TopicId::new(Uuid::from_u128(self.image.topics.len() as u128 + 1)).unwrap();
        let name = TopicName::new(name).unwrap();
        self.image.revision += 1;
        self.image.topic_names.insert(name.clone(), id);
        let partition = Arc::new(partition);
        let partitions = vec![partition; partitions];
        let topic = TopicImage { id, name, mod_revision: self.image.revision, deleting: false, partitions };
        self.image.topics.insert(id, Arc::new(topic));
    }

    pub(super) fn begin_deletion(&mut self, name: &str) {
        self.image.revision += 1;
        if let Some(id) = self.image.topic_names.remove(name) {
            Arc::make_mut(self.image.topics.get_mut(&id).unwrap()).deleting = true;
        }
    }

    pub(super) fn image_changed(&mut self) {
        let turn = self.shard.image_changed(self.now, &self.settings, &self.image);
        self.take(turn);
    }

    /// Another coordinator: who waits here hears nothing any more.
    pub(super) fn reload(&mut self) {
        self.parked.clear();
        self.answers.clear();
        self.shard = self.replayed();
        let turn = self.shard.loaded(self.now, &self.settings, &self.image);
        self.take(turn);
    }

    /// What the log says.
    pub(super) fn replayed(&self) -> GroupShard {
        let mut shard = GroupShard::default();
        for (key, value) in &self.log {
            let record = Record::decode(key, value.as_deref()).expect("a record of ours");
            shard.replay(record.expect("of a kind that we know"));
        }
        shard
    }

    pub(super) fn join(&mut self, group: &str, member: &str) -> JoinGroup {
        self.tickets += 1;
        JoinGroup {
            group: group.into(),
            member: member.into(),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription(&["t"]) }],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            fresh_member: format!("m-{}", self.tickets).into(),
            ..JoinGroup::default()
        }
    }

    pub(super) fn joins(&mut self, group: &str, member: &str) -> JoinAnswer {
        let join = self.join(group, member);
        self.ask(join)
    }

    /// Joins, and waits as long as it takes.
    pub(super) fn joins_until_answered(&mut self, group: &str) -> JoinAnswer {
        let join = self.join(group, "");
        let (ticket, answer) = self.asks_as(Command::Join(join));
        if let Some(answer) = answer {
            self.answers.insert(ticket, answer);
        }
        loop {
            match self.answers.remove(&ticket) {
                Some(Answer::Join(joined)) => return joined,
                Some(other) => panic!("{other:?}"),
                None => self.next_deadline(),
            }
        }
    }

    /// A classic group of one stable member: its id and generation.
    pub(super) fn lone_member(&mut self, group: &str) -> (Name, i32) {
        let joined = self.joins_until_answered(group);
        assert_eq!((joined.error, &joined.leader), (ErrorCode::None, &joined.member));
        let sync = SyncGroup {
            group: group.into(),
            generation: joined.generation,
            member: joined.member.clone(),
            ..SyncGroup::default()
        };
        assert_eq!(self.ask(sync).error, ErrorCode::None);
        (joined.member, joined.generation)
    }

    /// A member of the new protocol joins: its epoch.
    pub(super) fn consumer_joins(&mut self, group: &str, member: &str) -> i32 {
        let answer = self.ask(heartbeat(group, member, 0));
        assert_eq!(answer.error, ErrorCode::None, "{:?}", answer.message);
        answer.epoch
    }

    /// Commits, and tells the error of the first partition.
    pub(super) fn commit(&mut self, commit: OffsetCommit) -> ErrorCode {
        let commit = OffsetCommit { topics: self.with_ids(commit.topics), ..commit };
        self.ask(commit)[0].1[0].1
    }

    fn with_ids(&self, topics: Vec<CommitTopic>) -> Vec<CommitTopic> {
        let id = |name: &str| self.image.topic_names.get(name).copied().unwrap_or_default();
        topics.into_iter().map(|topic| CommitTopic { id: id(&topic.name), ..topic }).collect()
    }

    /// The committed offset of partition 0.
    pub(super) fn committed(&mut self, group: &str) -> i64 {
        let topics = Some(vec![("t".into(), vec![0])]);
        let fetch = OffsetFetch { group: group.into(), epoch: -1, topics, ..OffsetFetch::default() };
        let answer = self.ask(fetch);
        assert_eq!(answer.error, ErrorCode::None);
        answer.topics[0].1[0].offset
    }

    pub(super) fn delete_group(&mut self, group: &str) -> ErrorCode {
        match self.command(Command::DeleteGroup(group.into())) {
            Answer::DeleteGroup(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn listed(&mut self) -> Vec<ListedGroup> {
        match self.command(Command::List) {
            Answer::List(listed) => listed,
            other => panic!("{other:?}"),
        }
    }
}

/// A heartbeat that tells all.
pub(super) fn heartbeat(group: &str, member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group.into(),
        member: member.into(),
        epoch,
        rebalance_timeout_ms: 20_000,
        topic_names: Some(vec!["t".into()]),
        owned: Some(Vec::new()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        ..ConsumerHeartbeat::default()
    }
}

/// A commit of nobody, to partition 0.
pub(super) fn commit_of(group: &str, offset: i64) -> OffsetCommit {
    let partition = CommitPartition { index: 0, offset, leader_epoch: 0, metadata: Name::default() };
    OffsetCommit {
        group: group.into(),
        generation: -1,
        topics: vec![CommitTopic { name: "t".into(), id: TopicId::ZERO, partitions: vec![partition] }],
        ..OffsetCommit::default()
    }
}

/// A commit of a member, to partition 0, in the version that members of the new protocol need.
pub(super) fn member_commit(group: &str, member: &str, generation: i32, offset: i64) -> OffsetCommit {
    OffsetCommit { member: member.into(), generation, knows_stale_epoch: true, ..commit_of(group, offset) }
}
