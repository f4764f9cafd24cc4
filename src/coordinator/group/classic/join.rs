//! JoinGroup: who may join, as whom, and whether that begins a rebalance (Kafka's `classicGroupJoinToClassicGroup`).

use super::member::{Member, Waiting};
use super::rebalance::Reason;
use super::{ClassicGroup, Phase};
use crate::coordinator::group::command::{Answer, JoinAnswer, JoinGroup, JoinedMember, Name, Protocol};
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::{Context, Ticket};
use crate::protocol::error::ErrorCode;

/// What is wrong with a join whatever the group is: checked before the group is looked up, for groups of both kinds.
pub(in crate::coordinator::group) fn refused_outright(
    settings: &GroupSettings,
    request: &JoinGroup,
) -> Option<ErrorCode> {
    if request.group.is_empty() {
        return Some(ErrorCode::InvalidGroupId);
    }
    let allowed = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
    (!allowed.contains(&request.session_timeout_ms)).then_some(ErrorCode::InvalidSessionTimeout)
}

impl JoinGroup {
    /// It is only told its id, and has to join again (KIP-394). Static members are known by their instance id.
    fn needs_an_id(&self) -> bool {
        self.must_know_member && self.member.is_empty() && self.instance.is_none()
    }
}

impl ClassicGroup {
    /// JoinGroup. Answered at once, or when the join phase ends. A group that comes to be by it is written, as Kafka does, unless the
    /// join was refused.
    pub fn join(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {
        if let Err((error, member)) = self.try_join(context, request, ticket) {
            context.answer(ticket, Answer::Join(JoinAnswer::refused(error, member)));
        }
    }

    /// # Errors
    /// The error of the answer, and the member id that it tells.
    fn try_join(
        &mut self,
        context: &mut Context<'_>,
        request: JoinGroup,
        ticket: Ticket,
    ) -> Result<(), (ErrorCode, Name)> {
        if !self.has_room_for(&request, context.settings.max_size) {
            // One that did not come back in time before the group was full: its place is gone.
            self.remove(context, &request.member);
            self.complete_if_all_joined(context);
            return Err((ErrorCode::GroupMaxSizeReached, Name::default()));
        }
        if !self.has_bytes_for(&request, context.settings) {
            return Err((ErrorCode::GroupMaxSizeReached, Name::default()));
        }
        if !self.can_do_one_of(&request.protocol_type, &request.protocols) {
            return Err((ErrorCode::InconsistentGroupProtocol, request.member));
        }
        if request.member.is_empty() {
            return self.join_new(context, request, ticket);
        }
        if self.pending.contains(&request.member) && request.instance.is_none() {
            let member = request.member.clone();
            self.join_as(context, member, request, ticket);
            return Ok(());
        }
        match self.check_member(&request.member, request.instance.as_deref()) {
            ErrorCode::None => {
                self.join_again(context, request, ticket);
                Ok(())
            }
            error => Err((error, request.member)),
        }
    }

    /// Whether `group.max.size` leaves a place. While members join, those that wait are counted and not the members: the last ones that
    /// come back find no place if the limit was lowered. Ids that were given out and not used are bounded by the same number.
    fn has_room_for(&self, request: &JoinGroup, max_size: usize) -> bool {
        let known = self.members.get(&request.member);
        let pending_full = request.needs_an_id() && self.pending.len() >= max_size;
        match self.phase {
            Phase::Empty => !pending_full,
            Phase::Preparing { .. } => {
                known.is_some_and(Member::awaits_join) || (self.awaiting_join < max_size && !pending_full)
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {
                known.is_some() || (self.members.len() < max_size && !pending_full)
            }
        }
    }

    /// Whether a member of this type with these protocols has one in common with all members.
    fn can_do_one_of(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everybody = self.members.len();
        let has_everybody = |protocol: &Protocol| {
            self.supported.get(&protocol.name).copied().unwrap_or_default() == everybody
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(has_everybody)
    }

    /// Whether `member` is one, and is who `instance` is: NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID (KIP-345).
    pub(super) fn check_member(&self, member: &str, instance: Option<&str>) -> ErrorCode {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return ErrorCode::UnknownMemberId,
                Some(known) if &**known != member => return ErrorCode::FencedInstanceId,
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { ErrorCode::None } else { ErrorCode::UnknownMemberId }
    }

    /// A member without an id.
    fn join_new(
        &mut self,
        context: &mut Context<'_>,
        request: JoinGroup,
        ticket: Ticket,
    ) -> Result<(), (ErrorCode, Name)> {
        if self.unwritten {
            // The group comes to be: the log has it from now on, so that it is listed after a change of coordinators, too.
            self.write(context);
        }
        let fresh = request.fresh_member.clone();
        let before =
            request.instance.as_ref().and_then(|instance| self.static_members.get(instance)).cloned();
        if let Some(before) = before {
            self.replace_static(context, before, request, ticket);
        } else if request.needs_an_id() {
            // KIP-394: a client that never saw its id would come again and again as another member.
            self.pending.insert(fresh.clone());
            let key = TimerKey::PendingMember(self.group.clone(), fresh.clone());
            context.timers.set(key, context.now.elapsed_ms + i64::from(request.session_timeout_ms));
            self.another_newcomer(context);
            let answer = JoinAnswer::refused(ErrorCode::MemberIdRequired, fresh);
            context.answer(ticket, Answer::Join(answer));
        } else {
            self.join_as(context, fresh, request, ticket);
        }
        Ok(())
    }

    /// Adds a member and begins a rebalance, or joins the one under way.
    fn join_as(&mut self, context: &mut Context<'_>, id: Name, request: JoinGroup, ticket: Ticket) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let reason = request.reason.clone();
        context.timers.cancel(&TimerKey::PendingMember(self.group.clone(), id.clone()));
        self.add(id.clone(), Member::joining(request, ticket));
        self.arm_session(context, &id);
        self.another_newcomer(context);
        self.rebalance(context, &Reason::by("a member joins", &id, reason.as_deref()));
    }

    /// A member that is known joins.
    fn join_again(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {
        let id = request.member.clone();
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let what = match self.phase {
            // It asks again because it lost the answer.
            Phase::Completing { .. } if unchanged => None,
            // A follower that fell out of step is told where the group is, and goes on to sync.
            Phase::Stable { .. } if unchanged && !self.is_leader(&id) => None,
            // The leader may know of changes that do not show in its metadata: partitions of a topic.
            Phase::Stable { .. } if self.is_leader(&id) => Some("the leader joins again"),
            Phase::Completing { .. } | Phase::Stable { .. } => Some("a member changes its metadata"),
            Phase::Preparing { .. } | Phase::Empty => Some("a member joins again"),
        };
        if let Some(what) = what {
            let reason = request.reason.clone();
            self.update(context, &id, request, ticket);
            self.rebalance(context, &Reason::by(what, &id, reason.as_deref()));
        } else {
            let with_members = self.is_leader(&id) && matches!(self.phase, Phase::Completing { .. });
            let answer = self.joined(&id, with_members);
            context.answer(ticket, Answer::Join(answer));
        }
    }

    /// Takes over what a known member says of itself, and parks its join.
    fn update(&mut self, context: &mut Context<'_>, id: &Name, request: JoinGroup, ticket: Ticket) {
        // An earlier join of it is not answered yet: its client has given that one up, or sends both at once.
        self.release(context, id, ErrorCode::RebalanceInProgress);
        let Some(mut member) = self.members.remove(id) else { return };
        self.count_protocols(&member, false);
        member.protocols = request.protocols;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.waiting = Waiting::Join(ticket);
        self.awaiting_join += 1;
        self.count_protocols(&member, true);
        self.members.insert(id.clone(), member);
    }

    /// A static member comes back without its id (KIP-345): it gets a new one and all else of the old one, whose parked requests are
    /// fenced. Under a stable generation that needs no rebalance, as long as it leaves the choice of protocol as it is.
    fn replace_static(
        &mut self,
        context: &mut Context<'_>,
        before: Name,
        request: JoinGroup,
        ticket: Ticket,
    ) {
        let id = request.fresh_member.clone();
        let reason = request.reason.clone();
        let can_skip_assignment = request.can_skip_assignment;
        let old_leader = self.leader.clone();
        tracing::info!(group = %self.group, %before, member = %id, "static member comes back with a new id");
        self.release(context, &before, ErrorCode::FencedInstanceId);
        context.timers.cancel(&TimerKey::Session(self.group.clone(), before.clone()));
        let Some(mut member) = self.members.remove(&before) else { return };
        member.is_new = false;
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        if self.is_leader(&before) {
            self.leader = Some(id.clone());
        }
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &mut self.phase {
            unsynced.remove(&before);
        }
        self.arm_session(context, &id);
        self.update(context, &id, request, ticket);
        let why = Reason::by("a static member comes back", &id, reason.as_deref());
        match self.phase {
            Phase::Stable { .. } if self.most_wanted_protocol() == self.protocol => {
                let is_leader = self.is_leader(&id);
                let mut answer = self.joined(&id, is_leader && can_skip_assignment);
                answer.skip_assignment = is_leader && can_skip_assignment;
                if !can_skip_assignment {
                    // KIP-814's reason: it must not believe that it leads, or it would assign again while nobody else joins.
                    answer.leader = old_leader.unwrap_or_default();
                }
                if let Some(member) = self.members.get_mut(&id) {
                    member.waiting = Waiting::No;
                    self.awaiting_join -= 1;
                }
                self.topics = self.read_topics();
                self.write(context);
                context.answer(ticket, Answer::Join(answer));
            }
            // The leader may be assigning to the old id: its answer would leave the new one with nothing.
            Phase::Stable { .. } | Phase::Completing { .. } | Phase::Empty => {
                self.prepare_rebalance(context, &why);
            }
            Phase::Preparing { .. } => self.complete_if_all_joined(context),
        }
    }

    /// The answer that tells `id` the present generation.
    pub(super) fn joined(&self, id: &Name, with_members: bool) -> JoinAnswer {
        let protocol = self.protocol.as_deref();
        let seen = |(id, member): (&Name, &Member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: id.clone(),
            members: if with_members { self.members.iter().map(seen).collect() } else { Vec::new() },
        }
    }
}
