//! One replica: its log, its role, and the real core of the role. As thin as the broker's own shell, with the same decisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::log::Log;
use super::message::{Body, ClientAnswer, ClientKind, ClientRequest, Fetch, Fetched, Refusal};
use super::process::{Context, Fact};
use super::{at, duration, topic_id};
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::replication::follower::{self, EpochLog, OutOfRange};
use crate::replication::leader::{Leader, Rules};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// Records in one answer.
const FETCH_MAX: usize = 4;
/// How long a fetch waits at the leader for something new.
const FETCH_WAIT: u64 = 150;
/// How long a follower waits for an answer.
const FETCH_TIMEOUT: u64 = 350;
/// How long a follower rests after an error.
const FETCH_BACKOFF: u64 = 30;

/// One replica of this broker.
#[derive(Debug)]
pub struct Replica {
    pub partition: i32,
    pub log: Log,
    pub high_watermark: Offset,
    pub role: Role,
    /// The newest state of the record that was applied (rule E14).
    pub seen: (LeaderEpoch, PartitionEpoch),
    /// When its local recovery is done (rule B3).
    pub ready_at: u64,
    pub campaign: Campaign,
    /// Produces of an earlier epoch: what the fault [`Bug::L11LateAck`] still answers.
    late: Vec<Parked>,
}

#[derive(Debug, Default)]
pub struct Campaign {
    pub under_way: bool,
    pub vacant_since: Option<u64>,
    pub not_before: u64,
}

#[derive(Debug)]
pub enum Role {
    Idle,
    Leader(Box<Leading>),
    Follower(Following),
}

#[derive(Debug)]
pub struct Leading {
    pub core: Leader,
    pub produces: Vec<Parked>,
    pub fetches: BTreeMap<BrokerId, (Fetch, u64)>,
    /// No change of the ISR is proposed before.
    pub not_before: u64,
    pub handing_over: bool,
}

/// A produce that waits for the high watermark.
#[derive(Debug, Clone)]
pub struct Parked {
    pub request: ClientRequest,
    pub offset: Offset,
}

#[derive(Debug)]
pub struct Following {
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
    /// The fetch under way, and when it is given up.
    fetch: Option<(u64, u64)>,
    next_at: u64,
}

/// What the image and the session say, for one application.
pub struct Applied<'a> {
    pub state: &'a Arc<PartitionImage>,
    pub image: &'a ClusterImage,
    pub me: ReplicaEntry,
    pub rules: Rules,
    /// Epochs older than the log's are taken: an operator accepted that etcd went back (rule E13).
    pub accepts: bool,
    pub now: Duration,
}

impl Replica {
    pub fn new(partition: i32, log: Log, ready_at: u64) -> Self {
        let high_watermark = Offset::new(log.checkpoint).unwrap().min(log.end());
        Self {
            partition,
            log,
            high_watermark,
            role: Role::Idle,
            seen: (LeaderEpoch(-1), PartitionEpoch(-1)),
            ready_at,
            campaign: Campaign::default(),
            late: Vec::new(),
        }
    }

    /// The core, while it leads.
    pub fn leading(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leading) => Some(&leading.core),
            _ => None,
        }
    }

    /// Local recovery is done; with the fault [`Bug::B3TooEarly`] it is taken for done, with what is known so far.
    pub fn is_ready(&mut self, now: u64) -> bool {
        if now >= self.ready_at {
            return true;
        }
        if seeded(Bug::B3TooEarly) {
            self.ready_at = now;
            self.log.truncate(at(self.log.synced));
            self.high_watermark = self.high_watermark.min(self.log.end());
            return true;
        }
        false
    }

    /// The log has a newer epoch than the record: etcd has forgotten what it said (rule E13).
    pub fn is_rolled_back(&self, now: LeaderEpoch) -> bool {
        let newer = self.log.latest_epoch().is_some_and(|seen| LeaderEpoch(0) <= now && now < seen);
        newer && !seeded(Bug::E13Believes) && !seeded(Bug::F7OldEpoch)
    }

    /// Takes the role that the image gives this broker.
    pub fn apply(&mut self, applied: &Applied<'_>, context: &mut Context<'_>) {
        let Applied { state, image, me, rules, accepts, now } = applied;
        let newer = (state.leader_epoch, state.partition_epoch) >= self.seen;
        if !newer && !seeded(Bug::F7OldEpoch) {
            return; // rule E14
        }
        self.seen = (state.leader_epoch, state.partition_epoch);
        let leads = state.leader.is_some_and(|leader| {
            let alone = state.replicas.as_slice() == [me.id];
            leader == *me || (leader.id == me.id && (alone || seeded(Bug::E3LeadsOn)))
        });
        let followed = state.leader.filter(|leader| leader.id != me.id);
        if !accepts && self.is_rolled_back(state.leader_epoch) {
            // To lead would give out an epoch twice, to follow would cut off what was acknowledged.
            return self.step_down(context);
        }
        match (&mut self.role, followed) {
            (Role::Leader(leading), _) if leads && leading.core.epoch() == state.leader_epoch => {
                leading.core.observe(state, image, *rules, *now);
            }
            _ if leads => {
                self.step_down(context);
                self.log.begin_epoch(state.leader_epoch); // rule L1
                let (end, high_watermark) = (self.log.end(), self.high_watermark);
                let core = Leader::new(*me, state, image, *rules, end, high_watermark, *now);
                self.role = Role::Leader(Box::new(Leading {
                    core,
                    produces: Vec::new(),
                    fetches: BTreeMap::new(),
                    not_before: 0,
                    handing_over: false,
                }));
            }
            (Role::Follower(following), Some(leader))
                if following.leader == leader.id && following.epoch == state.leader_epoch => {}
            (_, Some(leader)) => {
                self.step_down(context);
                self.role = Role::Follower(Following {
                    leader: leader.id,
                    epoch: state.leader_epoch,
                    fetch: None,
                    next_at: 0,
                });
            }
            (_, None) => self.step_down(context),
        }
    }

    /// Ends the role: nothing of the old epoch is answered after that (rule L11).
    pub fn step_down(&mut self, context: &mut Context<'_>) {
        let role = std::mem::replace(&mut self.role, Role::Idle);
        let Role::Leader(leading) = role else { return };
        let leading = *leading;
        for (_, (fetch, _)) in leading.fetches {
            answer(context, &fetch, Body::Error);
        }
        if seeded(Bug::L11LateAck) {
            self.late.extend(leading.produces);
        } else {
            for parked in leading.produces {
                context.reply(parked.request, ClientAnswer::Failed(Refusal::NotLeader));
            }
        }
    }

    fn move_high_watermark(&mut self, context: &mut Context<'_>) {
        let Role::Leader(leading) = &mut self.role else { return };
        let before = self.high_watermark;
        self.high_watermark = leading.core.advance(duration(context.now));
        if self.high_watermark > before {
            let from = usize::try_from(before.get()).unwrap();
            let to = usize::try_from(self.high_watermark.get()).unwrap();
            context.facts.push(Fact::Advanced {
                partition: self.partition,
                epoch: leading.core.epoch(),
                from,
                values: self.log.values[from..to].to_vec(),
            });
        }
    }

    /// Moves the high watermark, and answers whoever waited for that.
    pub fn advance(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        self.move_high_watermark(context);
        if let Role::Leader(leading) = &mut self.role {
            let high_watermark = self.high_watermark;
            let enough = leading.core.has_min_isr();
            let ready = leading.produces.iter().take_while(|parked| parked.offset < high_watermark).count();
            for parked in leading.produces.drain(..ready) {
                // rule L7
                let said = if enough {
                    ClientAnswer::Acked { offset: parked.offset }
                } else {
                    ClientAnswer::Failed(Refusal::NotEnoughReplicasAfterAppend)
                };
                context.reply_of(&leading.core, parked.request, said);
            }
            let end = self.log.end();
            let over: Vec<BrokerId> = leading
                .fetches
                .iter()
                .filter(|(_, (fetch, until))| {
                    fetch.position.offset < end || fetch.high_watermark < high_watermark || *until <= now
                })
                .map(|(id, _)| *id)
                .collect();
            for id in over {
                if let Some((fetch, _)) = leading.fetches.remove(&id) {
                    let base = fetch.position.offset;
                    let records = self.log.read(base, end, FETCH_MAX);
                    answer(context, &fetch, Body::Records { base, records, high_watermark });
                }
            }
        }
        if !self.late.is_empty() {
            let high_watermark = self.high_watermark;
            let (acked, still) =
                std::mem::take(&mut self.late).into_iter().partition(|parked| parked.offset < high_watermark);
            self.late = still;
            let acked: Vec<Parked> = acked;
            for parked in acked {
                context.reply(parked.request, ClientAnswer::Acked { offset: parked.offset });
            }
        }
    }

    /// Rule L8: the epoch that the sender knows against mine.
    fn check_epoch(&self, got: Option<LeaderEpoch>) -> Result<(), Refusal> {
        let mine = self.seen.0;
        match got {
            _ if seeded(Bug::L8NoEpochCheck) => Ok(()),
            Some(got) if got < mine => Err(Refusal::FencedLeaderEpoch),
            Some(got) if got > mine => Err(Refusal::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// A follower fetches.
    pub fn on_fetch(&mut self, fetch: Fetch, context: &mut Context<'_>) {
        let checked = self.check_epoch(Some(fetch.epoch));
        let end = self.log.end();
        let diverging = follower::divergence(&self.log, fetch.position);
        let Role::Leader(leading) = &mut self.role else {
            return answer(context, &fetch, Body::Error);
        };
        if checked.is_err() {
            return answer(context, &fetch, Body::Error);
        }
        // rule L10: no records, and the position does not count.
        if let Some((epoch, end)) = diverging {
            return answer(context, &fetch, Body::Diverging { epoch, end });
        }
        if fetch.position.offset > end {
            return answer(context, &fetch, Body::OutOfRange { start: Offset::ZERO, end });
        }
        match leading.core.fetched(fetch.from, fetch.position.offset, duration(context.now)) {
            Ok(_) => {}
            // rule L9
            Err(_) => return answer(context, &fetch, Body::Error),
        }
        let until = context.now + FETCH_WAIT;
        if let Some((older, _)) = leading.fetches.insert(fetch.from.id, (fetch, until)) {
            answer(context, &older, Body::Error);
        }
        self.advance(context);
    }

    /// Sends the next fetch if one is due.
    pub fn follow(&mut self, me: ReplicaEntry, context: &mut Context<'_>) {
        let now = context.now;
        let Role::Follower(following) = &mut self.role else { return };
        if following.fetch.is_some_and(|(_, until)| until > now) || following.next_at > now {
            return;
        }
        let id = context.id();
        let position = follower::position(&self.log);
        following.fetch = Some((id, now + FETCH_TIMEOUT));
        let fetch = Fetch {
            id,
            partition: self.partition,
            from: me,
            epoch: following.epoch,
            position,
            high_watermark: self.high_watermark,
        };
        context.send(following.leader, super::message::Message::Fetch(fetch));
    }

    /// The leader has answered.
    pub fn on_fetched(&mut self, fetched: Fetched, context: &mut Context<'_>) {
        let now = context.now;
        let Role::Follower(following) = &mut self.role else { return };
        // rule F1: only the leader epoch that is followed now.
        if following.epoch != fetched.epoch && !seeded(Bug::F1OtherEpoch) {
            return;
        }
        let awaited = following.fetch.is_some_and(|(id, _)| id == fetched.id);
        let other_epoch = following.epoch != fetched.epoch;
        if awaited {
            following.fetch = None;
            following.next_at = 0;
        } else if !other_epoch && !matches!(fetched.body, Body::Records { .. }) {
            // An answer that nobody waits for any more. Records get as far as the log's own check.
            return;
        }
        match fetched.body {
            Body::Error => following.next_at = now + FETCH_BACKOFF,
            Body::Diverging { epoch, end } => {
                let cut = follower::truncation(&self.log, self.high_watermark, (epoch, end));
                self.cut(cut.to, cut.below_high_watermark, context);
            }
            Body::OutOfRange { start, end } => match follower::out_of_range(self.log.end(), start, end) {
                OutOfRange::TruncateTo(to) => self.cut(to, to < self.high_watermark, context),
                OutOfRange::StartAt(_) | OutOfRange::Retry => following.next_at = now + FETCH_BACKOFF,
            },
            Body::Records { base, records, high_watermark } => {
                // rule F5
                let mut last = self.log.stamps.last().copied().unwrap_or(-1);
                let ascending = records.iter().all(|(epoch, _)| {
                    let fits = *epoch >= last && *epoch <= following.epoch.get();
                    last = *epoch;
                    fits
                });
                let contiguous = base == self.log.end();
                let known = records.is_empty() && base <= self.log.end();
                let fits = contiguous && ascending;
                if !fits && !known && !seeded(Bug::F5Blind) {
                    return;
                }
                for (epoch, value) in records {
                    self.log.append(LeaderEpoch(epoch), value);
                    context.stored(self.partition, self.log.values.len() - 1, value);
                }
                if base <= self.log.end() {
                    // Never back: what was committed once stays so.
                    let believed = follower::high_watermark(high_watermark, self.log.end());
                    self.high_watermark = self.high_watermark.max(believed);
                }
            }
        }
    }

    fn cut(&mut self, to: Offset, below_high_watermark: bool, context: &mut Context<'_>) {
        let old_end = self.log.end();
        self.log.truncate(to);
        self.high_watermark = self.high_watermark.min(self.log.end());
        context.cut(self.partition, old_end, to, below_high_watermark);
    }

    /// A client asks. `fenced`: the session's deadline has passed (rule E6); `unclean`: the topic allows unclean elections.
    pub fn on_client(
        &mut self,
        request: ClientRequest,
        fenced: bool,
        unclean: bool,
        context: &mut Context<'_>,
    ) {
        let refuse = |context: &mut Context<'_>, request, why| {
            context.reply(request, ClientAnswer::Failed(why));
        };
        let produces = matches!(request.kind, ClientKind::Produce { .. });
        let checked = if produces { Ok(()) } else { self.check_epoch(request.epoch) };
        let end = self.log.end();
        let Role::Leader(leading) = &mut self.role else {
            return refuse(context, request, Refusal::NotLeader);
        };
        if let Err(refusal) = checked {
            return refuse(context, request, refusal);
        }
        let core = &mut leading.core;
        let alone_at_risk = core.is_alone() && unclean;
        match request.kind {
            ClientKind::Produce { acks_all } => {
                let replicated = core.committed().replicas.len() > 1;
                if fenced && replicated && (!acks_all || alone_at_risk) && !seeded(Bug::E6NoDeadline) {
                    return refuse(context, request, Refusal::NotLeader); // rule L12
                }
                if acks_all && !core.has_min_isr() {
                    return refuse(context, request, Refusal::NotEnoughReplicas); // rule L7
                }
                if acks_all {
                    let isr = (core.isr_size(), core.min_isr());
                    context.facts.push(Fact::Taken { partition: self.partition, isr });
                }
                let offset = self.log.append(core.epoch(), request.op);
                context.stored(self.partition, self.log.values.len() - 1, request.op);
                core.appended(self.log.end());
                if acks_all {
                    leading.produces.push(Parked { request, offset });
                } else {
                    context.reply_of(core, request, ClientAnswer::Acked { offset });
                }
                self.advance(context);
            }
            ClientKind::Read { from } => {
                let beyond = from > self.high_watermark && seeded(Bug::C3OutOfRange);
                if from > end || beyond {
                    let answer = ClientAnswer::Failed(Refusal::OffsetOutOfRange);
                    return context.reply_of(core, request, answer); // rule C3
                }
                // rule C1
                let records = self.log.read(from, self.high_watermark, FETCH_MAX);
                let values = records.into_iter().map(|(_, value)| value).collect();
                context.reply_of(core, request, ClientAnswer::Read { from, values });
            }
            ClientKind::Latest => {
                if self.high_watermark < core.epoch_start() && !seeded(Bug::C2Early) {
                    return refuse(context, request, Refusal::OffsetNotAvailable); // rule C2
                }
                let epoch = core.epoch();
                let answer = ClientAnswer::Latest { offset: self.high_watermark, epoch };
                context.reply_of(core, request, answer);
            }
        }
    }

    /// The next change of the ISR, if it is time.
    pub fn propose(
        &mut self,
        image: &ClusterImage,
        context: &mut Context<'_>,
    ) -> Option<crate::metadata::txn::partitions::PartitionChange> {
        let (partition, now) = (self.partition, context.now);
        let Role::Leader(leading) = &mut self.role else { return None };
        if leading.not_before > now {
            return None;
        }
        let change = leading.core.propose(topic_id(), partition, image, duration(now))?;
        leading.core.sent(&change);
        leading.not_before = now + 20;
        // A proposed member counts at once (rule L4).
        self.move_high_watermark(context);
        Some(change)
    }
}

fn answer(context: &mut Context<'_>, fetch: &Fetch, body: Body) {
    let fetched = Fetched { id: fetch.id, partition: fetch.partition, epoch: fetch.epoch, body };
    context.send(fetch.from.id, super::message::Message::Fetched(fetched));
}
