//! A graceful stop: flags, hand-overs, out of the ISRs, logs synced, the marker, the end of the session (rules U5, B1).

use super::etcd::Request;
use super::process::{Context, Process, Topic, election_of};
use super::topic_id;
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::election::{self, HandOver};
use crate::types::BrokerId;
use crate::types::seeded::{Bug, seeded};

/// How long the others are given to take the leaderships and to drop this broker from the ISRs.
const LEAVE_MAX: u64 = 700;
/// Between the steps of closing: a power failure may come in between.
const STEP: u64 = 40;

/// Where a graceful stop is.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Leaderships go, then the broker says that it stops, and leaves the ISRs.
    Leaving { since: u64, stopping: bool },
    /// Roles have ended; the first of the two writes comes then.
    First { at: u64 },
    /// The second comes then, and the process ends.
    Second { at: u64 },
}

impl Stop {
    /// The registration says so.
    pub const fn is_stopping(&self) -> bool {
        !matches!(self, Self::Leaving { stopping: false, .. })
    }

    /// Roles have ended.
    pub const fn is_closing(&self) -> bool {
        !matches!(self, Self::Leaving { .. })
    }
}

/// The change that hands a leadership of `me` over.
pub fn hand_over(
    image: &ClusterImage,
    partition: i32,
    me: ReplicaEntry,
    to: BrokerId,
    leaving: Option<BrokerId>,
    topic: Topic,
) -> Option<PartitionChange> {
    let hand_over = HandOver {
        to,
        sender: Reliance::Lives(me),
        leaving,
        min_insync_replicas: topic.min_isr,
        why: "stops or drains",
    };
    election::hand_over(image, topic_id(), partition, hand_over)
}

impl Process {
    /// The next step of a stop that is under way.
    pub fn stop_on(&mut self, me: ReplicaEntry, context: &mut Context<'_>) {
        let Some(Stop::Leaving { since, stopping }) = self.stop else { return };
        let late = context.now >= since + LEAVE_MAX;
        if !stopping {
            let draining = self.image.brokers.get(&me.id).is_some_and(|live| live.draining);
            let leads = self.states().any(|state| {
                state.leader == Some(me) && election::successor(&self.image, state, me.id).is_some()
            });
            if late || draining && !leads {
                self.stop = Some(Stop::Leaving { since, stopping: true });
            }
            return;
        }
        let announced = self.image.brokers.get(&me.id).is_some_and(|live| live.stopping);
        let relied_on = self.states().any(|state| {
            let led_elsewhere =
                state.leader.is_some_and(|leader| leader.id != me.id && self.image.lives(leader));
            led_elsewhere && state.isr.iter().any(|entry| entry.id == me.id)
                || state.leader == Some(me) && election::successor(&self.image, state, me.id).is_some()
        });
        if late || announced && !relied_on {
            for replica in self.replicas.values_mut() {
                replica.step_down(context);
                replica.role = super::replica::Role::Idle;
            }
            self.stop = Some(Stop::First { at: context.now + STEP });
        }
    }

    fn states(&self) -> impl Iterator<Item = &std::sync::Arc<crate::metadata::image::PartitionImage>> {
        self.replicas.keys().filter_map(|partition| election_of(&self.image, *partition))
    }

    /// The steps of closing.
    pub fn close_on(&mut self, disk: &mut super::node::Disk, context: &mut Context<'_>) {
        let marker_first = seeded(Bug::B1MarkerFirst);
        match self.stop {
            Some(Stop::First { at }) if at <= context.now => {
                self.close_step(marker_first, disk);
                self.stop = Some(Stop::Second { at: context.now + STEP });
            }
            Some(Stop::Second { at }) if at <= context.now => {
                self.close_step(!marker_first, disk);
                if let Some(held) = self.held() {
                    let lease = held.lease;
                    let id = context.id();
                    context.etcd.push((id, Request::Revoke { lease }));
                }
                context.exit = true;
            }
            _ => {}
        }
    }

    fn close_step(&mut self, marker: bool, disk: &mut super::node::Disk) {
        if marker {
            disk.marker = disk.proof.map(|(_, epoch)| epoch);
        } else {
            for replica in self.replicas.values_mut() {
                replica.log.sync();
                replica.log.checkpoint = replica.high_watermark.get();
            }
        }
    }
}
