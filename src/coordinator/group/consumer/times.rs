//! The deadlines of a group, and its configuration: that of the broker, changed for the group within bounds.

use super::ConsumerGroup;
use super::member::{Member, MemberState};
use crate::coordinator::group::command::Name;
use crate::coordinator::group::settings::Bounded;
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::Context;
use crate::metadata::image::ConfigEntity;
use crate::types::Millis;

/// Group configuration (`kafka-configs --entity-type groups`).
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";

/// The heartbeat interval while a member reconciles is this part of the configured one.
const HURRY: i32 = 10;
/// But not less than this, in milliseconds.
const HURRIED_INTERVAL_MIN_MS: i32 = 100;

impl ConsumerGroup {
    /// Begins the session of `member` anew.
    pub(super) fn arm_session(&self, context: &mut Context<'_>, member: &Name) {
        let timeout_ms = match self.members.get(member).and_then(|known| known.metadata.classic.as_ref()) {
            Some(classic) => classic.session_timeout_ms,
            None => self.configured(context, SESSION_TIMEOUT, context.settings.consumer_session_timeout_ms),
        };
        let key = TimerKey::ConsumerSession(self.group.clone(), member.clone());
        context.timers.set(key, context.now.elapsed_ms + Millis::from(timeout_ms.max(0)));
    }

    /// Sets the deadline of `member` for giving up partitions, if it must; drops it if it need not. Classic members have another one.
    pub(super) fn arm_rebalance(&self, context: &mut Context<'_>, member: &Name) {
        let Some(known) = self.members.get(member).filter(|known| !known.is_classic()) else { return };
        let key = TimerKey::ConsumerRebalance(self.group.clone(), member.clone());
        if known.current.state == MemberState::Unrevoked {
            context.timers.set(key, context.now.elapsed_ms + known.rebalance_timeout_ms());
        } else {
            context.timers.cancel(&key);
        }
    }

    /// Sets the deadline at which a classic member must have synced, or joined again.
    pub(super) fn arm_classic(&self, context: &mut Context<'_>, member: &Name) {
        let timeout_ms = self.members.get(member).map_or(0, Member::rebalance_timeout_ms);
        let key = TimerKey::ConsumerClassic(self.group.clone(), member.clone());
        context.timers.set(key, context.now.elapsed_ms + timeout_ms);
    }

    /// As [`ConsumerGroup::arm_classic`], but leaves a deadline that is set already.
    pub(super) fn arm_classic_once(&self, context: &mut Context<'_>, member: &Name) {
        let key = TimerKey::ConsumerClassic(self.group.clone(), member.clone());
        if context.timers.get(&key).is_none() {
            self.arm_classic(context, member);
        }
    }

    /// Drops the deadline of [`ConsumerGroup::arm_classic`].
    pub(super) fn disarm_classic(&self, context: &mut Context<'_>, member: &Name) {
        context.timers.cancel(&TimerKey::ConsumerClassic(self.group.clone(), member.clone()));
    }

    /// Drops every deadline of `member`.
    pub(super) fn disarm(&self, context: &mut Context<'_>, member: &Name) {
        let (group, member) = (&self.group, member);
        context.timers.cancel(&TimerKey::ConsumerSession(group.clone(), member.clone()));
        context.timers.cancel(&TimerKey::ConsumerRebalance(group.clone(), member.clone()));
        self.disarm_classic(context, member);
    }

    /// Sets the deadline at which the next target may be computed, if one is due; drops it if not.
    pub(super) fn arm_assignment(&self, context: &mut Context<'_>) {
        let key = TimerKey::Assignment(self.group.clone());
        if self.epoch > self.assignment_epoch && !self.members.is_empty() {
            let wait_ms = self.assignment_wait_ms(context);
            context.timers.set(key, context.now.elapsed_ms + wait_ms);
        } else {
            context.timers.cancel(&key);
        }
    }

    /// How long the next target must still wait, in milliseconds (KIP-1263).
    pub(super) fn assignment_wait_ms(&self, context: &Context<'_>) -> Millis {
        let bounds = context.settings.consumer_assignment_interval_ms;
        let interval_ms = Millis::from(self.configured(context, ASSIGNMENT_INTERVAL, bounds));
        let passed_ms = context.now.wall_ms.saturating_sub(self.assigned_at);
        // A wall clock that was set back must not hold the group up.
        if self.assigned_at == 0 || passed_ms < 0 { 0 } else { (interval_ms - passed_ms).max(0) }
    }

    /// When `member` should be heard next, in milliseconds: as configured, or a tenth of it (but at least 100 ms) while the member has not
    /// reached its target or the group has no target for its epoch yet. Kafka always answers with the configured interval.
    pub(super) fn heartbeat_interval_ms(&self, context: &Context<'_>, member: &Name) -> i32 {
        let bounds = context.settings.consumer_heartbeat_interval_ms;
        let interval_ms = self.configured(context, HEARTBEAT_INTERVAL, bounds);
        let member = self.members.get(member);
        let settled = member.is_none_or(|member| member.is_reconciled_to(self.assignment_epoch));
        if settled && self.epoch == self.assignment_epoch {
            interval_ms
        } else {
            (interval_ms / HURRY).max(HURRIED_INTERVAL_MIN_MS).min(interval_ms)
        }
    }

    /// A value of the group's configuration, within the bounds of the broker's.
    fn configured(&self, context: &Context<'_>, key: &str, bounds: Bounded) -> i32 {
        if context.image.configs.is_empty() {
            return bounds.default;
        }
        let configs = context.image.config(&ConfigEntity::Group(self.group.to_string()));
        let value = configs.and_then(|configs| configs.get(key)?.trim().parse::<i32>().ok());
        value.map_or(bounds.default, |value| value.max(bounds.min).min(bounds.max))
    }
}
