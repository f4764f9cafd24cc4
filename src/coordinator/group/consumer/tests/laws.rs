//! What must hold whatever the members do: joining, leaving, dying, coming back under their instance id, subscribing something else, losing
//! answers, in both protocols, while topics come and grow and coordinators change.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::client::{Client, Partition, Phase};
use super::world::World;
use crate::coordinator::group::command::{Answer, GroupKind, GroupState, Name};
use crate::coordinator::group::turn::{Ticket, Turn};
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

const TOPICS: [&str; 3] = ["ta", "tb", "u"];
const CLIENTS: usize = 7;
/// Simulated time within which a group settles when nothing changes: a dead member's session and rebalance timeout come first.
const SETTLES_WITHIN_MS: Millis = 180_000;
const ROUND_MS: Millis = 500;
/// By then the sessions and the rebalance timeouts of those who are gone are over.
const ALL_ARE_IN_AFTER_MS: Millis = 90_000;

#[derive(Debug, Clone)]
enum Op {
    Start { client: usize, subscription: usize },
    Act { client: usize, answer_is_lost: bool },
    Leave { client: usize },
    Die { client: usize },
    Restart { client: usize, switches: bool, crashes: bool },
    Subscribe { client: usize, subscription: usize },
    SetTopic { topic: usize, partitions: usize },
    Advance { by_ms: Millis },
    Round,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let client = || 0..CLIENTS;
    prop_oneof![
        6 => (client(), 0..8_usize).prop_map(|(client, subscription)| Op::Start { client, subscription }),
        6 => (client(), any::<bool>())
            .prop_map(|(client, answer_is_lost)| Op::Act { client, answer_is_lost }),
        2 => client().prop_map(|client| Op::Leave { client }),
        1 => client().prop_map(|client| Op::Die { client }),
        2 => (client(), any::<bool>(), any::<bool>())
            .prop_map(|(client, switches, crashes)| Op::Restart { client, switches, crashes }),
        2 => (client(), 0..8_usize).prop_map(|(client, subscription)| Op::Subscribe { client, subscription }),
        1 => (0..TOPICS.len(), 0..6_usize).prop_map(|(topic, partitions)| Op::SetTopic { topic, partitions }),
        2 => (0..20_000_i64).prop_map(|by_ms| Op::Advance { by_ms }),
        6 => Just(Op::Round),
        1 => Just(Op::Reload),
    ]
}

struct Model {
    world: World,
    clients: Vec<Option<Client>>,
    parked: BTreeMap<Ticket, usize>,
    /// Which clients begin with the classic protocol, and which are static: by bit.
    classic: usize,
    statics: usize,
    cooperative: bool,
    epoch: i32,
    /// Clients that ever were: no two have an id in common.
    born: u32,
}

impl Model {
    fn new(classic: usize, statics: usize, cooperative: bool) -> Self {
        let mut world = World::new();
        for (topic, partitions) in TOPICS.iter().zip([3, 4, 2]) {
            world.set_topic(topic, partitions);
        }
        let clients = vec![None; CLIENTS];
        Self { world, clients, parked: BTreeMap::new(), classic, statics, cooperative, epoch: 0, born: 0 }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Start { client, subscription } => {
                if self.clients[client].is_none() {
                    let is_classic = self.classic >> client & 1 == 1;
                    let is_static = self.statics >> client & 1 == 1;
                    self.born += 1;
                    let mut new = Client::new(client, self.born, is_classic, is_static, self.cooperative);
                    subscribe(&mut new, subscription);
                    self.clients[client] = Some(new);
                    self.act(client, false);
                }
            }
            Op::Act { client, answer_is_lost } => self.act(client, answer_is_lost),
            Op::Leave { client } => {
                self.goodbye(client, false);
                self.bury(client);
            }
            Op::Die { client } => self.bury(client),
            Op::Restart { client, switches, crashes } => {
                if !crashes {
                    self.goodbye(client, true);
                }
                let Some(mut back) = self.clients[client].take() else { return };
                self.bury(client);
                back.is_classic ^= switches;
                back.begin_anew();
                self.clients[client] = Some(back);
                self.act(client, false);
            }
            Op::Subscribe { client, subscription } => {
                if let Some(client) = &mut self.clients[client] {
                    subscribe(client, subscription);
                    client.is_subscribed = false;
                    if client.is_classic && client.phase == Phase::In {
                        client.phase = Phase::Out;
                    }
                }
            }
            Op::SetTopic { topic, partitions } => {
                // Topics grow or go; one that is made anew would be another, with another id.
                let known =
                    self.world.image.topic(TOPICS[topic]).map_or(usize::MAX, |it| it.partitions.len());
                if partitions != 0 && partitions < known {
                    return;
                }
                let turn = self.world.set_topic(TOPICS[topic], partitions);
                self.deliver(turn, None);
            }
            Op::Advance { by_ms } => self.advance(by_ms),
            Op::Round => self.round(),
            Op::Reload => {
                self.parked.clear();
                for client in self.clients.iter_mut().flatten() {
                    if client.phase == Phase::Waiting {
                        client.lost();
                    }
                }
                let turn = self.world.reload();
                self.deliver(turn, None);
            }
        }
        self.assert_laws();
    }

    /// It is gone, and with it its connection.
    fn bury(&mut self, client: usize) {
        self.clients[client] = None;
        self.parked.values_mut().filter(|of| **of == client).for_each(|of| *of = usize::MAX);
    }

    fn goodbye(&mut self, client: usize, for_a_while: bool) {
        let command = self.clients[client].as_ref().and_then(|known| known.goodbye(for_a_while));
        if let Some(command) = command {
            let (ticket, turn) = self.world.ask(command);
            self.parked.insert(ticket, usize::MAX);
            self.deliver(turn, None);
            self.assert_epoch_goes_on();
        }
    }

    fn act(&mut self, client: usize, answer_is_lost: bool) {
        let Some(known) = &mut self.clients[client] else { return };
        let gained = known.carry_out();
        let request = known.request(&self.world.image);
        self.assert_gained_from_nobody(client, &gained);
        if let Some(request) = request {
            let (ticket, turn) = self.world.ask(request);
            self.parked.insert(ticket, client);
            self.deliver(turn, answer_is_lost.then_some(ticket));
            self.assert_epoch_goes_on();
        }
    }

    fn deliver(&mut self, turn: Turn, lost: Option<Ticket>) {
        for (ticket, answer) in turn.answers {
            let of = self.parked.remove(&ticket).expect("nobody asked, or it was answered before");
            let Some(Some(client)) = self.clients.get_mut(of) else { continue };
            if lost == Some(ticket) { client.lost() } else { client.receive(answer) }
        }
    }

    fn advance(&mut self, by_ms: Millis) {
        for turn in self.world.advance(by_ms) {
            self.deliver(turn, None);
        }
    }

    fn round(&mut self) {
        for client in 0..CLIENTS {
            self.act(client, false);
        }
        self.advance(ROUND_MS);
    }

    /// The ids that the coordinator knows as members.
    fn members(&mut self) -> BTreeSet<Name> {
        if self.kind() == Some(GroupKind::Consumer) {
            return self.world.described().members.into_iter().map(|member| member.member).collect();
        }
        self.world.described_classic().members.into_iter().map(|member| member.member).collect()
    }

    fn kind(&mut self) -> Option<GroupKind> {
        self.world.listed().map(|listed| listed.kind)
    }

    /// Law: who gets a partition gets it from nobody that is still a member and still has it (rule G3).
    fn assert_gained_from_nobody(&mut self, client: usize, gained: &[Partition]) {
        let members = self.members();
        let is_member = |client: &Client| members.contains(&client.member);
        let Some(winner) = self.clients[client].as_ref().filter(|winner| is_member(winner)) else { return };
        for (number, loser) in self.clients.iter().enumerate() {
            let Some(loser) = loser else { continue };
            if number == client || !loser.is_alive || !is_member(loser) {
                continue;
            }
            for partition in gained {
                assert!(
                    !loser.owned.contains(partition),
                    "{} got {partition:?}, which {} still has",
                    winner.name,
                    loser.name
                );
            }
        }
    }

    /// Law: group epochs do not go back. Who comes to an empty group may begin one of its own.
    fn assert_epoch_goes_on(&mut self) {
        if self.members().is_empty() {
            self.epoch = 0;
        } else if self.kind() == Some(GroupKind::Consumer) {
            let epoch = self.world.described().epoch;
            assert!(epoch >= self.epoch, "the group epoch went back");
            self.epoch = epoch;
        }
    }

    fn assert_laws(&mut self) {
        self.assert_epoch_goes_on();
        if self.kind() != Some(GroupKind::Consumer) {
            return;
        }
        self.world.assert_replayed_is_the_same();
        let described = self.world.described();
        assert!(described.assignment_epoch <= described.epoch);
        let mut owned = BTreeSet::new();
        let mut targeted = BTreeSet::new();
        for member in &described.members {
            assert!(member.epoch <= described.assignment_epoch, "{} is ahead of its target", member.member);
            for (topic, _, partitions) in &member.assignment {
                for partition in partitions {
                    assert!(owned.insert((*topic, *partition)), "{topic} {partition} has two owners");
                }
            }
            for (topic, _, partitions) in &member.target {
                for partition in partitions {
                    assert!(targeted.insert((*topic, *partition)), "{topic} {partition} is aimed at twice");
                }
            }
        }
    }

    /// Why the group has not settled; `None` if it has.
    fn unsettled(&mut self) -> Option<String> {
        let state = self.world.listed().map(|listed| listed.state);
        if !matches!(state, None | Some(GroupState::Stable | GroupState::Empty)) {
            return Some(format!("the group is {state:?}"));
        }
        if self.parked.values().any(|of| *of != usize::MAX) {
            return Some(format!("requests wait: {:?}", self.parked));
        }
        let clients: Vec<&Client> = self.clients.iter().flatten().filter(|client| client.is_alive).collect();
        for client in &clients {
            if client.phase != Phase::In
                || client.told.is_some()
                || !(client.is_acknowledged || client.is_classic)
            {
                return Some(format!("{} is on its way: {client:?}", client.name));
            }
        }
        let mut wanted = BTreeSet::new();
        for client in &clients {
            for (topic, _, partitions) in client.subscribed(&self.world.image) {
                wanted.extend((0..i32::try_from(partitions).unwrap()).map(|partition| (topic, partition)));
            }
        }
        let mut owned = BTreeSet::new();
        for client in &clients {
            for partition in &client.owned {
                if !owned.insert(*partition) {
                    return Some(format!("{partition:?} has two owners"));
                }
            }
        }
        (wanted != owned).then(|| format!("wanted {wanted:?}\nowned {owned:?}"))
    }

    fn classic_members_join_again(&mut self) {
        for client in self.clients.iter_mut().flatten() {
            if client.is_classic && client.phase == Phase::In {
                client.is_subscribed = false;
                client.phase = Phase::Out;
            }
        }
    }

    /// Law: when nothing changes any more the group settles, and every subscribed partition has one owner.
    fn assert_settles(&mut self) {
        let mut why = None;
        for round in 0..SETTLES_WITHIN_MS / ROUND_MS {
            // A classic leader sees topics that grow by its own metadata: here everybody looks at them now, and once more when who was
            // on the way is in. A static member that came back began no rebalance (KIP-345), also if it had something to give up.
            if round == 0 || round == ALL_ARE_IN_AFTER_MS / ROUND_MS {
                self.classic_members_join_again();
            }
            self.round();
            self.assert_laws();
            why = self.unsettled();
            if why.is_none() {
                break;
            }
        }
        if let Some(why) = why {
            let (kind, described) = (self.kind(), self.world.described());
            panic!("{why}\n{kind:?}\n{described:#?}\n{:#?}", self.world.described_classic());
        }
    }
}

/// One of the subscriptions: each bit a topic; none is by pattern.
fn subscribe(client: &mut Client, subscription: usize) {
    let topics = TOPICS.iter().enumerate().filter(|(bit, _)| subscription >> bit & 1 == 1);
    client.topics = topics.map(|(_, topic)| Name::from(*topic)).collect();
    client.regex = client.topics.is_empty().then(|| "t.*".into());
    if client.is_classic && client.topics.is_empty() {
        client.topics = vec!["ta".into()];
        client.regex = None;
    }
}

fn obeys(classic: usize, statics: usize, cooperative: bool, ops: &[Op]) {
    let mut model = Model::new(classic, statics, cooperative);
    for op in ops {
        model.perform(op);
    }
    model.assert_settles();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::property_cases(64), max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_of_the_new_protocol_share_what_they_subscribe(
        statics in 0..128_usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let stays = |op: &Op| !matches!(op, Op::Restart { switches: true, .. });
        obeys(0, statics, false, &ops.into_iter().filter(stays).collect::<Vec<_>>());
    }

    #[test]
    fn members_of_both_protocols_share_what_they_subscribe(
        classic in 0..128_usize,
        statics in 0..128_usize,
        cooperative: bool,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        obeys(classic, statics, cooperative, &ops);
    }
}

#[test]
fn a_rolling_restart_takes_a_group_to_the_new_protocol_and_back() {
    for (cooperative, statics) in [(false, 0), (true, 0), (false, 127), (true, 127)] {
        let mut model = Model::new(127, statics, cooperative);
        for client in 0..4 {
            model.perform(&Op::Start { client, subscription: 7 });
        }
        model.assert_settles();
        assert_eq!(model.kind(), Some(GroupKind::Classic));
        for kind in [GroupKind::Consumer, GroupKind::Classic] {
            for client in 0..4 {
                model.perform(&Op::Restart { client, switches: true, crashes: false });
                for _ in 0..4 {
                    model.perform(&Op::Round);
                }
            }
            model.assert_settles();
            assert_eq!(model.kind(), Some(kind), "static: {statics}, cooperative: {cooperative}");
        }
    }
}

#[test]
fn a_topic_that_grew_before_a_static_member_changed_its_protocol_is_read_whole() {
    let mut model = Model::new(127, 127, false);
    for client in 0..2 {
        model.perform(&Op::Start { client, subscription: 1 });
    }
    model.assert_settles();
    model.perform(&Op::SetTopic { topic: 0, partitions: 5 });
    model.perform(&Op::Restart { client: 1, switches: true, crashes: false });
    model.assert_settles();
    assert_eq!(model.kind(), Some(GroupKind::Consumer));
}

#[test]
fn errors_do_not_change_a_group() {
    let mut model = Model::new(0, 0, false);
    model.perform(&Op::Start { client: 0, subscription: 7 });
    model.assert_settles();
    let written = model.world.log.len();
    let mut stale = model.clients[0].clone().unwrap();
    stale.epoch += 5;
    let (_, turn) = model.world.ask(stale.request(&model.world.image).unwrap());
    assert!(
        matches!(&turn.answers[0].1, Answer::ConsumerHeartbeat(a) if a.error == ErrorCode::FencedMemberEpoch)
    );
    assert_eq!(model.world.log.len(), written);
}
