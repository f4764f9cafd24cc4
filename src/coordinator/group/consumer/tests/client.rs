//! Model clients: what a consumer of either protocol believes, sends and does with an answer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use super::world::{GROUP, topic_id};
use crate::coordinator::group::command::{
    Answer, Command, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Heartbeat, JoinAnswer, JoinGroup,
    JoinedMember, LeaveGroup, Leaver, Name, PartitionsById, Protocol, SyncGroup,
};
use crate::metadata::image::ClusterImage;
use crate::protocol::consumer_protocol as codec;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

pub(super) type Partition = (TopicId, i32);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// It has to join.
    Out,
    /// A classic request waits for its answer.
    Waiting,
    /// Classic: it joined, and brings assignments if it leads.
    MustSync(Vec<JoinedMember>),
    /// It lives on heartbeats.
    In,
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) name: Name,
    pub(super) member: Name,
    pub(super) instance: Option<Name>,
    pub(super) is_classic: bool,
    pub(super) topics: Vec<Name>,
    pub(super) regex: Option<Name>,
    pub(super) epoch: i32,
    pub(super) owned: BTreeSet<Partition>,
    pub(super) is_alive: bool,
    pub(super) phase: Phase,
    /// What it was told to have, and has not acted on yet.
    pub(super) told: Option<BTreeSet<Partition>>,
    /// The coordinator knows what it owns.
    pub(super) is_acknowledged: bool,
    /// The coordinator knows what it subscribes.
    pub(super) is_subscribed: bool,
    /// Cooperative if classic.
    pub(super) is_cooperative: bool,
    /// Lives of it: each has another id.
    lives: u32,
}

impl Client {
    /// Client `number`, the `born`-th of all.
    pub(super) fn new(
        number: usize,
        born: u32,
        is_classic: bool,
        is_static: bool,
        is_cooperative: bool,
    ) -> Self {
        let name: Name = format!("c{number}").into();
        let mut client = Self {
            instance: is_static.then(|| format!("i{number}").into()),
            name,
            member: Name::default(),
            is_classic,
            topics: Vec::new(),
            regex: None,
            epoch: 0,
            owned: BTreeSet::new(),
            is_alive: true,
            phase: Phase::Out,
            told: None,
            is_acknowledged: false,
            is_subscribed: false,
            is_cooperative,
            lives: born * 1000,
        };
        client.begin_anew();
        client
    }

    /// Another life, that knows nothing.
    pub(super) fn begin_anew(&mut self) {
        self.lives += 1;
        self.member =
            if self.is_classic { Name::default() } else { format!("{}-{}", self.name, self.lives).into() };
        self.is_alive = true;
        self.lose_all();
    }

    fn lose_all(&mut self) {
        self.phase = Phase::Out;
        self.epoch = 0;
        self.owned.clear();
        self.told = None;
    }

    /// Does what it was told: gives up, then takes. Returns what it took.
    pub(super) fn carry_out(&mut self) -> Vec<Partition> {
        let Some(told) = self.told.take() else { return Vec::new() };
        let gained: Vec<Partition> = told.difference(&self.owned).copied().collect();
        let gives_up = self.owned.difference(&told).next().is_some();
        if told != self.owned {
            self.is_acknowledged = false;
        }
        self.owned = told;
        if self.is_classic && gives_up && self.phase == Phase::In {
            self.phase = Phase::Out;
        }
        gained
    }

    /// What it sends next, if it has anything to say.
    pub(super) fn request(&mut self, image: &ClusterImage) -> Option<Command> {
        if !self.is_alive {
            return None;
        }
        if !self.is_classic {
            return Some(Command::ConsumerHeartbeat(self.heartbeat()));
        }
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Waiting => None,
            Phase::Out => Some(Command::Join(self.join())),
            Phase::MustSync(members) => Some(Command::Sync(SyncGroup {
                group: GROUP.into(),
                generation: self.epoch,
                member: self.member.clone(),
                instance: self.instance.clone(),
                assignments: assign(image, &members, self.is_cooperative),
                ..SyncGroup::default()
            })),
            Phase::In => Some(Command::Heartbeat(Heartbeat {
                group: GROUP.into(),
                generation: self.epoch,
                member: self.member.clone(),
                instance: self.instance.clone(),
            })),
        }
    }

    fn heartbeat(&mut self) -> ConsumerHeartbeat {
        let joins = self.phase == Phase::Out;
        let says_subscription = joins || !self.is_subscribed;
        let regex = self.regex.clone().unwrap_or_default();
        ConsumerHeartbeat {
            group: GROUP.into(),
            member: self.member.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rebalance_timeout_ms: if says_subscription { 60_000 } else { -1 },
            topic_names: says_subscription.then(|| self.topics.clone()),
            topic_regex: says_subscription.then_some(regex),
            owned: (joins || !self.is_acknowledged).then(|| by_topic(&self.owned)),
            client_id: self.name.clone(),
            client_host: "/127.0.0.1".into(),
            fresh_member: "fresh".into(),
            ..ConsumerHeartbeat::default()
        }
    }

    fn join(&mut self) -> JoinGroup {
        if !self.is_cooperative {
            self.owned.clear();
            self.told = None;
        }
        self.is_subscribed = true;
        self.is_acknowledged = true;
        self.lives += 1;
        JoinGroup {
            group: GROUP.into(),
            member: self.member.clone(),
            instance: self.instance.clone(),
            client_id: self.name.clone(),
            client_host: "/127.0.0.1".into(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "p".into(), metadata: subscription(&self.topics, &self.owned) }],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            reason: None,
            fresh_member: format!("{}-{}", self.name, self.lives).into(),
            must_know_member: true,
            can_skip_assignment: true,
        }
    }

    /// How it says goodbye; `for_a_while` if it is static and will be back.
    pub(super) fn goodbye(&self, for_a_while: bool) -> Option<Command> {
        if !self.is_classic {
            return Some(Command::ConsumerHeartbeat(ConsumerHeartbeat {
                group: GROUP.into(),
                member: self.member.clone(),
                epoch: if for_a_while && self.instance.is_some() { -2 } else { -1 },
                instance: self.instance.clone(),
                rebalance_timeout_ms: -1,
                ..ConsumerHeartbeat::default()
            }));
        }
        // Static classic members do not say goodbye.
        let leaver = Leaver { member: self.member.clone(), ..Leaver::default() };
        let leave = LeaveGroup { group: GROUP.into(), members: vec![leaver] };
        self.instance.is_none().then_some(Command::Leave(leave))
    }

    /// An answer did not arrive.
    pub(super) fn lost(&mut self) {
        self.is_acknowledged = false;
        self.is_subscribed = false;
        if self.is_classic {
            self.phase = Phase::Out;
        }
    }

    pub(super) fn receive(&mut self, answer: Answer) {
        match answer {
            Answer::ConsumerHeartbeat(answer) if !self.is_classic => self.receive_heartbeat(answer),
            Answer::Join(answer) if self.is_classic => self.receive_join(answer),
            Answer::Sync(answer) if self.is_classic => match answer.error {
                ErrorCode::None => {
                    self.phase = Phase::In;
                    let (assigned, _) = codec::assignment(&answer.assignment).unwrap_or_default();
                    let told = assigned
                        .into_iter()
                        .flat_map(|(topic, indexes)| indexes.into_iter().map(move |i| (topic_id(&topic), i)));
                    self.told = Some(told.collect());
                }
                error => self.refused(error),
            },
            Answer::Heartbeat(ErrorCode::None) => self.phase = Phase::In,
            Answer::Heartbeat(error) => self.refused(error),
            Answer::Leave(_) | Answer::ConsumerHeartbeat(_) | Answer::Join(_) | Answer::Sync(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn receive_heartbeat(&mut self, answer: ConsumerHeartbeatAnswer) {
        match answer.error {
            ErrorCode::None => {
                assert!(answer.epoch >= self.epoch, "the epoch of {} went back", self.name);
                self.phase = Phase::In;
                self.epoch = answer.epoch;
                self.is_acknowledged = true;
                self.is_subscribed = true;
                if let Some(assignment) = answer.assignment {
                    self.told = Some(
                        assignment
                            .into_iter()
                            .flat_map(|(t, ps)| ps.into_iter().map(move |p| (t, p)))
                            .collect(),
                    );
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                self.lose_all();
            }
            ErrorCode::UnreleasedInstanceId => {}
            error => panic!("{} is told {error:?} {:?}", self.name, answer.message),
        }
    }

    fn receive_join(&mut self, answer: JoinAnswer) {
        match answer.error {
            ErrorCode::None => {
                assert!(answer.generation >= 0);
                self.epoch = answer.generation;
                self.member = answer.member;
                self.phase = Phase::MustSync(answer.members);
            }
            ErrorCode::MemberIdRequired => {
                self.member = answer.member;
                self.phase = Phase::Out;
            }
            error => self.refused(error),
        }
    }

    fn refused(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::RebalanceInProgress => self.phase = Phase::Out,
            ErrorCode::IllegalGeneration => self.lose_all(),
            ErrorCode::UnknownMemberId => {
                self.lose_all();
                self.member = Name::default();
            }
            ErrorCode::FencedInstanceId => self.is_alive = false,
            error => panic!("{} is told {error:?}", self.name),
        }
    }

    /// The topics of the image that it subscribes.
    pub(super) fn subscribed<'a>(&self, image: &'a ClusterImage) -> Vec<(TopicId, &'a str, usize)> {
        let topics =
            image.topics.values().map(|topic| (topic.id, topic.name.as_str(), topic.partitions.len()));
        topics
            .filter(|(_, name, _)| {
                self.topics.iter().any(|topic| &**topic == *name)
                    || (!self.is_classic && self.regex.is_some() && name.starts_with('t'))
            })
            .collect()
    }
}

fn by_topic(owned: &BTreeSet<Partition>) -> PartitionsById {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in owned {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics.into_iter().collect()
}

fn topic_name(id: TopicId) -> String {
    String::from_utf8_lossy(id.uuid().as_bytes()).trim_end_matches('\0').to_owned()
}

/// A `ConsumerProtocolSubscription` of version 1.
pub(super) fn subscription(topics: &[Name], owned: &BTreeSet<Partition>) -> Bytes {
    fn text(bytes: &mut BytesMut, text: &str) {
        bytes.put_i16(i16::try_from(text.len()).unwrap());
        bytes.put_slice(text.as_bytes());
    }
    fn count(bytes: &mut BytesMut, count: usize) {
        bytes.put_i32(i32::try_from(count).unwrap());
    }
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    count(&mut bytes, topics.len());
    topics.iter().for_each(|topic| text(&mut bytes, topic));
    bytes.put_i32(-1);
    let owned = by_topic(owned);
    count(&mut bytes, owned.len());
    for (topic, partitions) in owned {
        text(&mut bytes, &topic_name(topic));
        count(&mut bytes, partitions.len());
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.freeze()
}

/// What a leader assigns: the n-th partition to the n-th subscriber; among cooperative members not what another one still has.
fn assign(image: &ClusterImage, members: &[JoinedMember], is_cooperative: bool) -> Vec<(Name, Bytes)> {
    let members: Vec<_> =
        members.iter().map(|m| (&m.member, codec::subscription(&m.metadata).unwrap())).collect();
    let mut assigned: BTreeMap<&Name, BTreeMap<Name, Vec<i32>>> =
        members.iter().map(|(member, _)| (*member, BTreeMap::new())).collect();
    for topic in image.topics.values() {
        let name: Name = topic.name.as_str().into();
        let readers: Vec<_> = members.iter().filter(|(_, s)| s.topics.contains(&name)).collect();
        for index in 0..i32::try_from(topic.partitions.len()).unwrap() {
            let Some((reader, _)) = readers.get(usize::try_from(index).unwrap() % readers.len().max(1))
            else {
                continue;
            };
            let has =
                |owned: &[(Name, Vec<i32>)]| owned.iter().any(|(t, ps)| *t == name && ps.contains(&index));
            let other_has_it = members.iter().any(|(member, s)| member != reader && has(&s.owned));
            if !(is_cooperative && other_has_it) {
                assigned.get_mut(*reader).unwrap().entry(name.clone()).or_default().push(index);
            }
        }
    }
    let encoded = |partitions: BTreeMap<Name, Vec<i32>>| {
        codec::encode_assignment(1, &partitions.into_iter().collect::<Vec<_>>())
    };
    assigned.into_iter().map(|(member, partitions)| (member.clone(), encoded(partitions))).collect()
}
