//! Clients that follow the classic protocol, or stop following it.

use bytes::Bytes;

use crate::coordinator::group::command::{
    Answer, Command, Heartbeat, JoinAnswer, JoinGroup, LeaveGroup, Leaver, Name, Protocol, SyncGroup,
};
use crate::coordinator::group::transcripts::world::subscription;
use crate::coordinator::group::turn::Ticket;
use crate::protocol::error::ErrorCode;

/// How long members of the model may be silent.
pub(super) const SESSION_MS: i32 = 10_000;

/// How long a rebalance of the model waits.
pub(super) const REBALANCE_MS: i32 = 15_000;

/// The partitions that leaders share out.
pub(super) const PARTITIONS: usize = 12;

/// What a client does next, or waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Doing {
    /// It joins next.
    Outside,
    /// Its join is not answered.
    Joining(Ticket),
    /// It has joined, and syncs next.
    Joined(JoinAnswer),
    /// Its sync is not answered.
    Syncing(Ticket),
    /// It has its assignment, and sends heartbeats.
    Inside(Bytes),
    /// It has stopped.
    Stopped,
}

/// One client.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) number: usize,
    /// It has an instance id.
    pub(super) is_static: bool,
    /// It speaks JoinGroup v4 and later.
    pub(super) is_new: bool,
    pub(super) member: Name,
    pub(super) generation: i32,
    /// Changes when it subscribes something else.
    pub(super) topics: usize,
    pub(super) doing: Doing,
}

impl Client {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            is_static: number % 3 == 2,
            is_new: number.is_multiple_of(2),
            member: Name::default(),
            generation: -1,
            topics: 0,
            doing: Doing::Stopped,
        }
    }

    pub(super) fn instance(&self) -> Option<Name> {
        self.is_static.then(|| format!("i{}", self.number).into())
    }

    /// It begins, or begins again without knowing anything: also its id is lost.
    pub(super) fn start(&mut self) {
        self.member = Name::default();
        self.generation = -1;
        self.doing = Doing::Outside;
    }

    /// What it asks next; `None` while it waits or is stopped. `fresh` is the id that it may get.
    pub(super) fn next(&mut self, ticket: Ticket, fresh: Name) -> Option<Command> {
        match std::mem::replace(&mut self.doing, Doing::Stopped) {
            Doing::Outside => {
                self.doing = Doing::Joining(ticket);
                Some(Command::Join(self.join(fresh)))
            }
            Doing::Joined(joined) => {
                self.doing = Doing::Syncing(ticket);
                Some(Command::Sync(SyncGroup {
                    group: "g".into(),
                    generation: self.generation,
                    member: self.member.clone(),
                    instance: self.instance(),
                    assignments: assignments(&joined),
                    ..SyncGroup::default()
                }))
            }
            Doing::Inside(assignment) => {
                self.doing = Doing::Inside(assignment);
                Some(Command::Heartbeat(Heartbeat {
                    group: "g".into(),
                    generation: self.generation,
                    member: self.member.clone(),
                    instance: self.instance(),
                }))
            }
            waiting => {
                self.doing = waiting;
                None
            }
        }
    }

    fn join(&self, fresh_member: Name) -> JoinGroup {
        let topics = ["orders", "payments", "users"];
        let metadata = subscription(&topics[..self.topics % topics.len()]);
        JoinGroup {
            group: "g".into(),
            member: self.member.clone(),
            instance: self.instance(),
            protocol_type: "consumer".into(),
            // All have one in common, and prefer it: of another one that was chosen, the next coordinator would know no more.
            protocols: [2, self.number % 2]
                .map(|name| Protocol { name: format!("p{name}").into(), metadata: metadata.clone() })
                .to_vec(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            fresh_member,
            must_know_member: self.is_new,
            can_skip_assignment: self.is_new,
            ..JoinGroup::default()
        }
    }

    pub(super) fn leaving(&self) -> Command {
        let leaver = Leaver { member: self.member.clone(), instance: self.instance(), reason: None };
        Command::Leave(LeaveGroup { group: "g".into(), members: vec![leaver] })
    }

    /// An answer to what it asked last. An answer to what it asked in an earlier life must not come here.
    pub(super) fn answered(&mut self, answer: &Answer) {
        let error = match answer {
            Answer::Join(joined) if joined.error == ErrorCode::None => {
                self.member = joined.member.clone();
                self.generation = joined.generation;
                self.doing = Doing::Joined(joined.clone());
                return;
            }
            Answer::Join(joined) => {
                if joined.error == ErrorCode::MemberIdRequired {
                    self.member = joined.member.clone();
                }
                joined.error
            }
            Answer::Sync(synced) if synced.error == ErrorCode::None => {
                self.doing = Doing::Inside(synced.assignment.clone());
                return;
            }
            Answer::Sync(synced) => synced.error,
            Answer::Heartbeat(ErrorCode::None) => return,
            Answer::Heartbeat(error) => *error,
            other => panic!("nobody asked for {other:?}"),
        };
        self.doing = Doing::Outside;
        match error {
            ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress => {}
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => self.start(),
            // Another one with its instance id is there: it gives up.
            ErrorCode::FencedInstanceId => self.doing = Doing::Stopped,
            other => panic!("{other:?} is no answer for a client that follows the protocol"),
        }
    }
}

/// What a leader sends: every partition to somebody. A follower sends nothing, nor does a leader that is told so.
fn assignments(joined: &JoinAnswer) -> Vec<(Name, Bytes)> {
    if joined.leader != joined.member || joined.skip_assignment {
        return Vec::new();
    }
    let everybody = joined.members.len();
    assert!(everybody > 0, "a leader that is to assign is told the members");
    let share = |number: usize| {
        let own = (0..PARTITIONS).filter(|partition| partition % everybody == number);
        own.map(|partition| u8::try_from(partition).unwrap()).collect::<Vec<u8>>()
    };
    let members = joined.members.iter().enumerate();
    members.map(|(number, member)| (member.member.clone(), share(number).into())).collect()
}
