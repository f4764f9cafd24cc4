//! What no story of one group tells: crowds, and whatever order things happen in ([`model`]). The stories are in
//! `group/transcripts/classic`.

mod clients;
mod model;

use std::collections::BTreeSet;

use super::{ClassicGroup, Phase, Waiting};
use crate::coordinator::group::command::{
    Answer, Command, JoinGroup, LeaveGroup, Leaver, Name, Protocol, SyncGroup,
};
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::shard::{Group, GroupShard};
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::{Now, Ticket, Turn};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;

/// As many as a client that goes wild may bring.
const CROWD: u64 = 50_000;

/// A shard and the members that ask it.
struct Crowd {
    shard: GroupShard,
    settings: GroupSettings,
    now: Now,
    tickets: u64,
}

impl Crowd {
    fn new(settings: GroupSettings) -> Self {
        let mut shard = GroupShard::default();
        shard.loaded(Now::default(), &settings, &ClusterImage::default());
        Self { shard, settings, now: Now::default(), tickets: 0 }
    }

    fn ask(&mut self, command: Command) -> Vec<Answer> {
        self.tickets += 1;
        let image = ClusterImage::default();
        let turn = self.shard.step(self.now, &self.settings, &image, Ticket(self.tickets), command);
        turn.answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn at(&mut self, ms: i64) -> Turn {
        self.now = Now { wall_ms: ms, elapsed_ms: ms };
        self.shard.tick(self.now, &self.settings, &ClusterImage::default())
    }

    fn joins(&mut self, number: u64, must_know_member: bool) -> Vec<Answer> {
        self.ask(Command::Join(JoinGroup {
            group: "g".into(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Vec::from(*b"\0\0\0\0\0\0").into() }],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            fresh_member: format!("m-{number}").into(),
            must_know_member,
            ..JoinGroup::default()
        }))
    }

    fn group(&self) -> &ClassicGroup {
        match self.shard.groups().get("g") {
            Some(Group::Classic(group)) => group,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_crowd_of_50000_is_a_generation_and_leaves_again() {
    let mut crowd = Crowd::new(GroupSettings::default());
    for number in 0..CROWD {
        assert!(crowd.joins(number, false).is_empty(), "the first wait is over");
    }
    let mut answers = crowd.at(3_000).answers;
    assert_eq!(answers.len() as u64, CROWD, "everybody is told the generation");
    let told: usize = answers
        .iter()
        .map(|(_, a)| matches!(a, Answer::Join(j) if !j.members.is_empty()))
        .map(usize::from)
        .sum();
    assert_eq!(told, 1, "only the leader is told who is there");

    let members: Vec<Name> = crowd.group().members.keys().cloned().collect();
    let leader = crowd.group().leader.clone().unwrap();
    answers.clear();
    let mut synced = 0;
    for member in members.iter().filter(|member| **member != leader).chain([&leader]) {
        let assignments = members.iter().map(|member| (member.clone(), member.as_bytes().to_vec().into()));
        let assignments = if *member == leader { assignments.collect() } else { Vec::new() };
        let sync = SyncGroup {
            group: "g".into(),
            generation: 1,
            member: member.clone(),
            assignments,
            ..SyncGroup::default()
        };
        synced += crowd.ask(Command::Sync(sync)).len() as u64;
    }
    assert_eq!(synced, CROWD);

    for member in members {
        let leaver = Leaver { member, ..Leaver::default() };
        let answer = crowd.ask(Command::Leave(LeaveGroup { group: "g".into(), members: vec![leaver] }));
        assert!(matches!(&answer[..], [Answer::Leave(left)] if left.members[0].1 == ErrorCode::None));
    }
    assert_eq!(crowd.group().phase, Phase::Empty);
    assert_eq!(crowd.shard.timers().iter().count(), 1, "only the look at old offsets is left");
}

#[test]
fn a_crowd_in_front_of_a_full_group_costs_nothing() {
    let settings = GroupSettings { max_size: 100, ..GroupSettings::default() };
    let mut crowd = Crowd::new(settings);
    let refused = |answers: &[Answer]| matches!(answers, [Answer::Join(joined)] if joined.error == ErrorCode::GroupMaxSizeReached);
    for number in 0..CROWD {
        let answers = crowd.joins(number, number.is_multiple_of(2));
        assert_eq!(refused(&answers), number >= 200, "{number}");
    }
    let group = crowd.group();
    assert_eq!((group.members.len(), group.pending.len()), (100, 100));
    assert_eq!(
        crowd.shard.timers().iter().count(),
        100 + 100 + 2,
        "sessions, ids, the join phase, old offsets"
    );
}

#[test]
fn a_group_that_changes_its_kind_leaves_nothing_behind() {
    let mut crowd = Crowd::new(GroupSettings::default());
    crowd.joins(1, false);
    crowd.joins(2, true);
    let mut timers = crate::coordinator::group::timers::Timers::default();
    for (key, at_ms) in crowd.shard.timers().iter() {
        timers.set(key.clone(), at_ms);
    }
    let mut turn = Turn::default();
    let mut group = ClassicGroup::new("g".into(), Now::default());
    group.add("m-1".into(), super::Member { waiting: Waiting::Join(Ticket(1)), ..super::Member::default() });
    group.pending.insert("m-2".into());
    let mut context = crate::coordinator::group::turn::Context {
        now: Now::default(),
        settings: &GroupSettings::default(),
        image: &ClusterImage::default(),
        timers: &mut timers,
        turn: &mut turn,
    };
    group.abandon(&mut context, ErrorCode::RebalanceInProgress);
    assert_eq!(timers.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [TimerKey::Expiry]);
    assert!(matches!(
        &turn.answers[..],
        [(Ticket(1), Answer::Join(joined))] if joined.error == ErrorCode::RebalanceInProgress
    ));
}

impl ClassicGroup {
    /// What holds between any two steps.
    fn assert_consistent(&self) {
        let waiting =
            |wanted: fn(&Waiting) -> bool| self.members.values().filter(|m| wanted(&m.waiting)).count();
        assert_eq!(self.awaiting_join, waiting(|w| matches!(w, Waiting::Join(_))), "joins are counted");
        let joins_wait_only_while_members_join =
            self.awaiting_join == 0 || matches!(self.phase, Phase::Preparing { .. });
        assert!(joins_wait_only_while_members_join, "{:?}", self.phase);
        let syncs = waiting(|w| matches!(w, Waiting::Sync(_)));
        assert!(syncs == 0 || matches!(self.phase, Phase::Completing { .. }), "{:?}", self.phase);
        match &self.leader {
            Some(leader) => assert!(self.members.contains_key(leader), "the leader is a member"),
            None => assert!(self.members.is_empty(), "members without a leader"),
        }
        if self.phase == Phase::Empty {
            assert!(self.members.is_empty());
        }
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &self.phase {
            assert!(!self.members.is_empty());
            assert!(unsynced.iter().all(|member| self.members.contains_key(member)));
        }
        assert!(self.pending.iter().all(|member| !self.members.contains_key(member)));
        let statics: BTreeSet<(&Name, &Name)> = self.static_members.iter().collect();
        let known =
            self.members.iter().filter_map(|(id, member)| Some((member.instance.as_ref()?, id))).collect();
        assert_eq!(statics, known, "instance ids are of members");
        let mut recounted = Self::new(self.group.clone(), Now::default());
        for member in self.members.values() {
            recounted.count_protocols(member, true);
        }
        assert_eq!(self.supported, recounted.supported, "protocols are counted");
        if !self.members.is_empty() {
            assert!(self.most_wanted_protocol().is_some(), "no protocol that everybody has");
        }
    }
}
