//! Whatever clients do and in whatever order, the laws of the protocol hold, and clients that follow it end up in a stable group.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::clients::{Client, Doing, PARTITIONS, SESSION_MS};
use crate::coordinator::group::classic::{ClassicGroup, Waiting};
use crate::coordinator::group::command::{
    Answer, Command, CommitPartition, CommitTopic, GroupState, JoinGroup, LeaveGroup, Leaver, Name,
    OffsetCommit, Protocol, SyncGroup,
};
use crate::coordinator::group::shard::Group;
use crate::coordinator::group::transcripts::world::World;
use crate::coordinator::group::turn::{Now, Ticket, Turn};
use crate::protocol::error::ErrorCode;

const CLIENTS: usize = 7;

/// Something happens.
#[derive(Debug, Clone)]
enum Op {
    /// The client does what comes next.
    Acts(usize),
    /// It starts, or stops without a word and starts again.
    Restarts(usize),
    /// It stops without a word.
    Dies(usize),
    /// It leaves.
    Leaves(usize),
    /// It subscribes something else, or as a leader sees a change: it joins again.
    JoinsAgain(usize, bool),
    /// It commits, as of a generation that is so much older.
    Commits(usize, i32),
    /// Time goes on.
    Passes(i64),
    /// Another broker takes over.
    Reloads,
    /// Somebody sends what no client would, with the id of a client and a generation that is so much off.
    Disturbs(Disturbance, usize, i32),
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    JoinsAsThem,
    SyncsAsThem,
    JoinsAndForgets,
    SendsThemAway,
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    prop_oneof![
        24 => client.clone().prop_map(Op::Acts),
        4 => client.clone().prop_map(Op::Restarts),
        2 => client.clone().prop_map(Op::Dies),
        1 => client.clone().prop_map(Op::Leaves),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, other)| Op::JoinsAgain(client, other)),
        3 => (client.clone(), 0..3).prop_map(|(client, older)| Op::Commits(client, older)),
        6 => prop_oneof![1i64..400, 1000i64..20_000].prop_map(Op::Passes),
        1 => Just(Op::Reloads),
        2 => (
            prop_oneof![
                Just(Disturbance::JoinsAsThem),
                Just(Disturbance::SyncsAsThem),
                Just(Disturbance::JoinsAndForgets),
                Just(Disturbance::SendsThemAway),
            ],
            client,
            -1..2
        )
            .prop_map(|(what, whom, off)| Op::Disturbs(what, whom, off)),
    ]
}

/// Clients, the group, and what was seen of it.
struct Model {
    world: World,
    clients: Vec<Client>,
    tickets: u64,
    /// Requests that are not answered, and who asked.
    open: BTreeMap<Ticket, Option<usize>>,
    /// The largest generation seen since the last change of coordinators.
    generation: i32,
    /// By generation and member, the assignment told.
    told: BTreeMap<(i32, Name), Bytes>,
}

impl Model {
    fn new() -> Self {
        Self {
            world: World::default(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            tickets: 0,
            open: BTreeMap::new(),
            generation: 0,
            told: BTreeMap::new(),
        }
    }

    fn group(&self) -> Option<&ClassicGroup> {
        match self.world.shard.groups().get("g") {
            Some(Group::Classic(group)) => Some(group),
            _ => None,
        }
    }

    fn fresh(&mut self) -> (Ticket, Name) {
        self.tickets += 1;
        (Ticket(self.tickets), format!("m-{}", self.tickets).into())
    }

    fn happens(&mut self, op: &Op) {
        match *op {
            Op::Acts(client) => self.acts(client),
            Op::Restarts(client) => {
                self.forget(client);
                self.clients[client].start();
                self.acts(client);
            }
            Op::Dies(client) => {
                self.forget(client);
                self.clients[client].doing = Doing::Stopped;
            }
            Op::Leaves(client) => {
                if !self.clients[client].member.is_empty() {
                    let command = self.clients[client].leaving();
                    self.forget(client);
                    self.clients[client].doing = Doing::Stopped;
                    self.ask(None, command);
                }
            }
            Op::JoinsAgain(client, other) => {
                if matches!(self.clients[client].doing, Doing::Inside(_)) {
                    self.clients[client].topics += usize::from(other);
                    self.clients[client].doing = Doing::Outside;
                    self.acts(client);
                }
            }
            Op::Commits(client, older) => self.commits(client, older),
            Op::Passes(ms) => self.passes(ms),
            Op::Reloads => {
                self.world.reload();
                self.generation = 0;
                self.told.clear();
                self.open.clear();
                // Connections end; who waited for an answer asks anew.
                for client in &mut self.clients {
                    if matches!(client.doing, Doing::Joining(_) | Doing::Syncing(_)) {
                        client.doing = Doing::Outside;
                    }
                }
            }
            Op::Disturbs(what, whom, off) => self.disturbs(what, whom, off),
        }
        self.assert_laws();
    }

    /// What it asked is nobody's any more.
    fn forget(&mut self, client: usize) {
        for asked in self.open.values_mut().filter(|asked| **asked == Some(client)) {
            *asked = None;
        }
    }

    fn acts(&mut self, client: usize) {
        let (ticket, fresh) = self.fresh();
        if let Some(command) = self.clients[client].next(ticket, fresh) {
            self.step(ticket, Some(client), command);
        }
    }

    fn ask(&mut self, client: Option<usize>, command: Command) {
        let (ticket, _) = self.fresh();
        self.step(ticket, client, command);
    }

    fn step(&mut self, ticket: Ticket, client: Option<usize>, command: Command) {
        self.open.insert(ticket, client);
        let world = &mut self.world;
        let turn = world.shard.step(world.now, &world.settings, &world.image, ticket, command);
        self.turn(turn);
    }

    fn passes(&mut self, ms: i64) {
        let to_ms = self.world.now.elapsed_ms + ms;
        while let Some(at_ms) = self.world.shard.next_deadline().filter(|at_ms| *at_ms <= to_ms) {
            let at_ms = at_ms.max(self.world.now.elapsed_ms);
            self.world.now = Now { wall_ms: at_ms, elapsed_ms: at_ms };
            let world = &mut self.world;
            let turn = world.shard.tick(world.now, &world.settings, &world.image);
            self.turn(turn);
            self.assert_laws();
        }
        self.world.now = Now { wall_ms: to_ms, elapsed_ms: to_ms };
    }

    fn turn(&mut self, turn: Turn) {
        self.world.log.extend(turn.records);
        for (ticket, answer) in turn.answers {
            let asked = self.open.remove(&ticket).expect("answered twice, or nobody asked");
            let Some(client) = asked else { continue };
            let client = &mut self.clients[client];
            if let Answer::Sync(synced) = &answer
                && synced.error == ErrorCode::None
            {
                let place = (client.generation, client.member.clone());
                let before = self.told.insert(place, synced.assignment.clone());
                assert!(before.is_none_or(|before| before == synced.assignment), "a second assignment");
            }
            if !matches!(answer, Answer::Leave(_) | Answer::CommitOffsets(_)) {
                client.answered(&answer);
            }
        }
    }

    fn commits(&mut self, client: usize, older: i32) {
        let committing = &self.clients[client];
        if committing.member.is_empty() || committing.generation < older {
            return;
        }
        let generation = committing.generation - older;
        let member = committing.member.clone();
        let commit = Command::CommitOffsets(OffsetCommit {
            group: "g".into(),
            member: member.clone(),
            instance: committing.instance(),
            generation,
            topics: vec![CommitTopic {
                name: "orders".into(),
                partitions: vec![CommitPartition { offset: generation.into(), ..CommitPartition::default() }],
                ..CommitTopic::default()
            }],
            ..OffsetCommit::default()
        });
        let (ticket, _) = self.fresh();
        let world = &mut self.world;
        let turn = world.shard.step(world.now, &world.settings, &world.image, ticket, commit);
        let Some((_, Answer::CommitOffsets(topics))) = turn.answers.first() else { panic!("{turn:?}") };
        if topics[0].1[0].1 == ErrorCode::None {
            let group = self.group().expect("a commit to a group that is not there");
            assert_eq!(group.generation, generation, "a commit of an old generation was accepted");
            assert!(group.members.contains_key(&member), "a commit of nobody was accepted");
        }
        self.world.log.extend(turn.records);
    }

    fn disturbs(&mut self, what: Disturbance, whom: usize, off: i32) {
        let member = self.clients[whom].member.clone();
        let generation = self.clients[whom].generation + off;
        let (ticket, fresh_member) = self.fresh();
        let join = |member: Name| {
            Command::Join(JoinGroup {
                group: "g".into(),
                member,
                protocol_type: "consumer".into(),
                protocols: vec![
                    Protocol { name: "p2".into(), ..Protocol::default() },
                    Protocol { name: "p2".into(), ..Protocol::default() },
                ],
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: 0,
                fresh_member,
                must_know_member: off == 0,
                ..JoinGroup::default()
            })
        };
        let command = match what {
            Disturbance::JoinsAsThem => join(member),
            Disturbance::JoinsAndForgets => join(Name::default()),
            Disturbance::SyncsAsThem => {
                Command::Sync(SyncGroup { group: "g".into(), generation, member, ..SyncGroup::default() })
            }
            Disturbance::SendsThemAway => {
                let leaver = Leaver { member, ..Leaver::default() };
                Command::Leave(LeaveGroup { group: "g".into(), members: vec![leaver] })
            }
        };
        // A leader in whose name somebody syncs has assigned.
        let assigned = matches!(what, Disturbance::SyncsAsThem).then(|| generation);
        self.step(ticket, None, command);
        if let Some(generation) = assigned {
            self.told.retain(|(of, _), _| *of != generation);
        }
    }

    fn assert_laws(&mut self) {
        let Some(group) = self.group() else {
            assert!(self.open.is_empty(), "requests of a group that is gone");
            return;
        };
        group.assert_consistent();
        let parked: BTreeSet<Ticket> = group
            .members
            .values()
            .filter_map(|member| match member.waiting {
                Waiting::No => None,
                Waiting::Join(ticket) | Waiting::Sync(ticket) => Some(ticket),
            })
            .collect();
        let open: BTreeSet<Ticket> = self.open.keys().copied().collect();
        assert_eq!(parked, open, "what is not answered is parked, and nothing else");
        assert!(group.generation >= self.generation, "the generation went back");
        self.generation = group.generation;
    }

    /// From now on everybody follows the protocol. Panics if that does not lead to a stable group of those who live.
    fn settles(&mut self) {
        for round in 0.. {
            for client in 0..CLIENTS {
                self.acts(client);
                self.assert_laws();
            }
            self.passes(500);
            if self.is_settled() {
                return;
            }
            // Session, rebalance and sync timeouts, one after the other, twice.
            assert!(round < 2 * 2 * (10 + 15 + 15), "stuck: {:#?} {:#?}", self.group(), self.clients);
        }
    }

    fn is_settled(&self) -> bool {
        let living: Vec<&Client> =
            self.clients.iter().filter(|client| client.doing != Doing::Stopped).collect();
        let Some(group) = self.group() else { return living.is_empty() };
        if living.is_empty() {
            return group.state() == GroupState::Empty;
        }
        let members: BTreeSet<&Name> = group.members.keys().collect();
        group.state() == GroupState::Stable
            && living.iter().all(|client| matches!(client.doing, Doing::Inside(_)))
            && living.iter().all(|client| client.generation == group.generation)
            && members == living.iter().map(|client| &client.member).collect()
    }

    fn assert_everything_is_shared_out(&self) {
        let mut owned = Vec::new();
        for client in &self.clients {
            if let Doing::Inside(assignment) = &client.doing {
                owned.extend(assignment.iter().map(|partition| usize::from(*partition)));
            }
        }
        owned.sort_unstable();
        assert!(owned.windows(2).all(|two| two[0] != two[1]), "a partition with two owners: {owned:?}");
        assert!(owned.is_empty() || owned.len() == PARTITIONS, "a partition without an owner: {owned:?}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_laws_hold_and_the_group_settles(
        ops in prop::collection::vec(op(), 1..120),
        delay_ms in prop_oneof![Just(0i64), Just(3000)],
    ) {
        let mut model = Model::new();
        model.world.settings.initial_rebalance_delay_ms = delay_ms;
        for op in &ops {
            model.happens(op);
        }
        model.settles();
        model.assert_everything_is_shared_out();
        model.world.assert_replayed_is_the_same("model");
    }
}
