//! Whatever is asked in whatever order, by members of both protocols, by administrators, by time and by changes of coordinators:
//!
//! - every question is answered once, and none waits for ever;
//! - the log, read back from its bytes, gives what is known ([`invariant_the_log_is_the_state`]);
//! - only members of the present generation commit (rule G1), and committed offsets change only by commits and deletions (rule G3).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{World, commit_of, heartbeat, member_commit};
use crate::coordinator::group::command::{
    Answer, Command, GroupState, Heartbeat, LeaveGroup, Leaver, Name, OffsetDelete, SyncGroup,
};
use crate::coordinator::group::shard::{Group, GroupShard};
use crate::coordinator::group::turn::Ticket;
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

const GROUPS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 7;

#[derive(Debug, Clone)]
enum Act {
    Join { client: usize, must_know_member: bool },
    Sync { client: usize },
    Heartbeat { client: usize },
    Leave { client: usize },
    Consumer { client: usize, join: bool },
    ConsumerLeaves { client: usize },
    Commit { client: usize, stale: bool, offset: i64 },
    CommitAlone { group: usize, offset: i64 },
    DeleteOffsets { group: usize },
    DeleteGroup { group: usize },
    Wait(Millis),
    Topic { exists: bool },
    Reload,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let client = 0..CLIENTS;
    let group = 0..GROUPS.len();
    let offset = 0..1000i64;
    let act = prop_oneof![
        6 => (client.clone(), any::<bool>())
            .prop_map(|(client, must_know_member)| Act::Join { client, must_know_member }),
        6 => client.clone().prop_map(|client| Act::Sync { client }),
        2 => client.clone().prop_map(|client| Act::Heartbeat { client }),
        2 => client.clone().prop_map(|client| Act::Leave { client }),
        6 => (client.clone(), any::<bool>()).prop_map(|(client, join)| Act::Consumer { client, join }),
        1 => client.clone().prop_map(|client| Act::ConsumerLeaves { client }),
        6 => (client, any::<bool>(), offset.clone())
            .prop_map(|(client, stale, offset)| Act::Commit { client, stale, offset }),
        2 => (group.clone(), offset).prop_map(|(group, offset)| Act::CommitAlone { group, offset }),
        1 => group.clone().prop_map(|group| Act::DeleteOffsets { group }),
        1 => group.prop_map(|group| Act::DeleteGroup { group }),
        6 => prop_oneof![Just(10), 1000..4000i64, 9000..50_000i64].prop_map(Act::Wait),
        1 => any::<bool>().prop_map(|exists| Act::Topic { exists }),
        2 => Just(Act::Reload),
    ];
    prop::collection::vec(act, 1..70)
}

/// What a client remembers.
#[derive(Default, Clone)]
struct Client {
    member: Name,
    /// Generation or epoch.
    generation: i32,
    leads: bool,
    members: Vec<Name>,
    waits: Option<Ticket>,
}

#[derive(Default)]
struct Model {
    world: World,
    clients: Vec<Client>,
    /// What was committed and not deleted.
    committed: BTreeMap<&'static str, i64>,
}

fn group_of(client: usize) -> &'static str {
    GROUPS[client % GROUPS.len()]
}

impl Model {
    fn act(&mut self, act: &Act) {
        let world = &mut self.world;
        match *act {
            Act::Join { client, must_know_member } => {
                let mut join = world.join(group_of(client), &self.clients[client].member);
                join.must_know_member = must_know_member;
                // One client is static.
                join.instance = (client == 0).then(|| "static".into());
                self.asks(client, Command::Join(join));
            }
            Act::Sync { client } => {
                let known = &self.clients[client];
                let sync = SyncGroup {
                    group: group_of(client).into(),
                    generation: known.generation,
                    member: known.member.clone(),
                    assignments: if known.leads {
                        known.members.iter().map(|member| (member.clone(), vec![7; 3].into())).collect()
                    } else {
                        Vec::new()
                    },
                    ..SyncGroup::default()
                };
                self.asks(client, Command::Sync(sync));
            }
            Act::Heartbeat { client } => {
                let known = &self.clients[client];
                let heartbeat = Heartbeat {
                    group: group_of(client).into(),
                    generation: known.generation,
                    member: known.member.clone(),
                    instance: None,
                };
                self.asks(client, Command::Heartbeat(heartbeat));
            }
            Act::Leave { client } => {
                let leaver = Leaver { member: self.clients[client].member.clone(), ..Leaver::default() };
                let leave = LeaveGroup { group: group_of(client).into(), members: vec![leaver] };
                self.asks(client, Command::Leave(leave));
            }
            Act::Consumer { client, join } => {
                let known = &self.clients[client];
                let member =
                    if known.member.is_empty() { format!("k-{client}").into() } else { known.member.clone() };
                let epoch = if join { 0 } else { known.generation };
                self.asks(client, Command::ConsumerHeartbeat(heartbeat(group_of(client), &member, epoch)));
            }
            Act::ConsumerLeaves { client } => {
                let member = self.clients[client].member.clone();
                self.asks(client, Command::ConsumerHeartbeat(heartbeat(group_of(client), &member, -1)));
            }
            Act::Commit { client, stale, offset } => self.commits(client, stale, offset),
            Act::CommitAlone { group, offset } => {
                let group = GROUPS[group];
                let is_free = members_of(&world.shard, group) == 0;
                let error = world.commit(commit_of(group, offset));
                assert_eq!(error == ErrorCode::None, is_free, "a commit of nobody: {error:?}");
                if error == ErrorCode::None {
                    self.committed.insert(group, offset);
                }
            }
            Act::DeleteOffsets { group } => {
                let group = GROUPS[group];
                let delete = OffsetDelete { group: group.into(), topics: vec![("t".into(), vec![0])] };
                let answer = world.ask(delete);
                if answer.topics.first().is_some_and(|(_, errors)| errors[0].1 == ErrorCode::None) {
                    self.committed.remove(group);
                }
            }
            Act::DeleteGroup { group } => {
                let group = GROUPS[group];
                let has_members = members_of(&world.shard, group) > 0;
                let error = world.delete_group(group);
                if error == ErrorCode::None {
                    assert!(!has_members, "a group with members was deleted");
                    self.committed.remove(group);
                }
            }
            Act::Wait(ms) => world.advance(ms),
            Act::Topic { exists } => {
                world.begin_deletion("u");
                if exists {
                    world.make_topic("u", 3);
                }
                world.image_changed();
            }
            Act::Reload => {
                world.reload();
                self.clients.iter_mut().for_each(|client| client.waits = None);
            }
        }
        self.hear();
        for group in GROUPS {
            let expected = self.committed.get(group).copied().unwrap_or(-1);
            assert_eq!(self.world.committed(group), expected, "the offset of {group} after {act:?}");
        }
    }

    fn asks(&mut self, client: usize, command: Command) {
        let (ticket, answer) = self.world.asks_as(command);
        self.clients[client].waits = Some(ticket);
        if let Some(answer) = answer {
            self.world.answers.insert(ticket, answer);
        }
    }

    /// Clients take what they were told.
    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(answer) = client.waits.and_then(|ticket| self.world.answers.remove(&ticket)) else {
                continue;
            };
            client.waits = None;
            match answer {
                Answer::Join(joined) => {
                    client.leads = joined.error == ErrorCode::None && joined.leader == joined.member;
                    client.members = joined.members.into_iter().map(|one| one.member).collect();
                    client.member = joined.member;
                    client.generation = joined.generation;
                }
                Answer::ConsumerHeartbeat(told) if told.error == ErrorCode::None => {
                    client.member = told.member.unwrap_or_else(|| client.member.clone());
                    client.generation = told.epoch;
                }
                Answer::ConsumerHeartbeat(_) => {}
                Answer::Sync(told) if told.error == ErrorCode::UnknownMemberId => *client = Client::default(),
                _ => {}
            }
        }
        // What nobody hears any more, because its client has asked something else since.
        self.world.answers.clear();
    }

    fn commits(&mut self, client: usize, stale: bool, offset: i64) {
        let known = self.clients[client].clone();
        let group = group_of(client);
        let generation = known.generation - i32::from(stale);
        if generation < 0 || known.member.is_empty() {
            return;
        }
        let present = generation_of(&mut self.world, group, &known.member);
        let error = self.world.commit(member_commit(group, &known.member, generation, offset));
        if error == ErrorCode::None {
            let present = present.expect("only members commit");
            assert!(generation <= present, "a generation of the future commits");
            if let Some(Group::Classic(_)) = self.world.shard.groups().get(group) {
                assert_eq!(generation, present, "a generation of the past commits");
            }
            self.committed.insert(group, offset);
        }
    }

    fn invariant_the_log_is_the_state(&mut self) {
        let world = &mut self.world;
        let mut replayed = world.replayed();
        replayed.loaded(world.now, &world.settings, &world.image);
        assert_eq!(offsets_of(&replayed), offsets_of(&world.shard), "committed offsets");
        for name in replayed.groups().keys() {
            assert!(world.shard.groups().contains_key(name), "{name} lives on in the log only");
        }
        let lived = std::mem::take(&mut world.shard);
        for (name, group) in lived.groups() {
            let Some(again) = replayed.groups().get(name) else {
                assert!(
                    group.state() == GroupState::Empty && !lived.offsets().has_group(name),
                    "{name} is not in the log"
                );
                continue;
            };
            match (group, again) {
                (Group::Classic(classic), Group::Classic(again)) => {
                    if matches!(group.state(), GroupState::Stable | GroupState::Empty) {
                        let again = again.described();
                        let is_to_rebalance = again.state == GroupState::PreparingRebalance;
                        assert!(is_to_rebalance || classic.described() == again, "{classic:?}\n{again:?}");
                    }
                }
                (Group::Consumer(_), Group::Consumer(_)) => {}
                _ => panic!("{name} is of another kind in the log"),
            }
        }
        let describe = |shard: &mut GroupShard, world: &World, name: &Name| {
            let command = Command::DescribeConsumer(name.clone());
            let turn = shard.step(world.now, &world.settings, &world.image, Ticket(0), command);
            turn.answers
        };
        let names: Vec<Name> = replayed.groups().keys().cloned().collect();
        let mut lived = lived;
        for name in names {
            let (ours, theirs) = (describe(&mut lived, world, &name), describe(&mut replayed, world, &name));
            assert_eq!(theirs, ours, "{name}");
        }
        world.shard = lived;
    }
}

fn offsets_of(shard: &GroupShard) -> Vec<(Name, Name, i32, i64)> {
    let mut all: Vec<_> =
        shard.offsets().iter().map(|(g, t, partition, o)| (g.clone(), t.clone(), partition, o)).collect();
    all.sort();
    all
}

fn members_of(shard: &GroupShard, group: &str) -> usize {
    shard.groups().get(group).map_or(0, |group| usize::from(group.state() != GroupState::Empty))
}

/// The generation or epoch of a member, if it is one.
fn generation_of(world: &mut World, group: &str, member: &str) -> Option<i32> {
    match world.shard.groups().get(group)? {
        Group::Classic(group) => group.members.contains_key(member).then_some(group.generation),
        Group::Consumer(_) => {
            let Answer::DescribeConsumer(described) = world.command(Command::DescribeConsumer(group.into()))
            else {
                panic!("another answer")
            };
            described.members.iter().find(|one| &*one.member == member).map(|one| one.epoch)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::property_cases(96), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_of_both_protocols_keep_their_laws_whatever_comes(acts in acts()) {
        let mut model = Model { clients: vec![Client::default(); CLIENTS], ..Model::default() };
        for (number, act) in acts.iter().enumerate() {
            model.act(act);
            if number % 4 == 0 || matches!(act, Act::Wait(_)) {
                model.invariant_the_log_is_the_state();
            }
        }
        model.invariant_the_log_is_the_state();
        model.world.advance(7_200_000);
        assert!(model.world.parked.is_empty(), "without an answer: {:?}", model.world.parked);
        model.invariant_the_log_is_the_state();
    }
}
