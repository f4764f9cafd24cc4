//! Which partitions have lost their leader, and when this broker tries to lead them: pure, by images, times and outcomes.
//!
//! Cost: an image looks only at topics that it changed, and in them only at partitions that it changed; all partitions are looked at
//! when a broker came, went or changed its flags, or data was lost. A ballot is made once per try, only for what is vacant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, ConfigEntity, PartitionImage, ReplicaEntry, TopicImage};
use crate::replication::election::{self, Ballot, ElectionRules};
use crate::types::{LeaderEpoch, TopicId};

/// How long each better placed candidate is waited for.
pub(super) const RANK_STEP: Duration = Duration::from_millis(400);
/// Time until a partition is looked at again whose log is not recovered or not open yet.
const NOT_READY_RETRY: Duration = Duration::from_millis(100);
/// Time until the next try after a lost answer: the same compares, so that at most one of both ballots is taken.
const UNKNOWN_RETRY: Duration = Duration::from_millis(200);
/// Time until the next try after etcd could not be asked.
const NOT_SENT_RETRY: Duration = Duration::from_millis(500);
/// Time until a ballot that was sent or won is looked for again, should nothing be heard of it.
const OUTCOME_RETRY: Duration = Duration::from_secs(5);
/// Most ballots of one batch: after it the newest image is looked at.
pub(super) const BALLOTS_MAX: usize = 4_096;

/// The partitions without a leader of which this broker is a replica.
#[derive(Debug, Default)]
pub(super) struct Vacancies {
    seen: Arc<ClusterImage>,
    me: Option<ReplicaEntry>,
    vacant: BTreeMap<TopicId, BTreeMap<i32, Vacancy>>,
}

#[derive(Debug)]
struct Vacancy {
    /// The epoch that ended.
    epoch: LeaderEpoch,
    since: Duration,
    /// When to look at it; `None`: not before something changes.
    look_at: Option<Duration>,
    /// Not before this, whatever changes.
    put_off: Duration,
    /// How often in a row somebody or something was faster.
    losses: u32,
}

impl Vacancies {
    /// Takes a newer image, and this broker's lifetime by its own session.
    pub fn observe(&mut self, image: &Arc<ClusterImage>, me: ReplicaEntry, now: Duration) {
        let seen = std::mem::replace(&mut self.seen, Arc::clone(image));
        let everywhere =
            self.me.replace(me) != Some(me) || !seen.has_same_brokers(image) || seen.intact != image.intact;
        let defaults = [ConfigEntity::ClusterDefault, ConfigEntity::Broker(me.id)];
        let defaults_changed = defaults.iter().any(|entity| !seen.has_same_config(image, entity));
        self.vacant.retain(|id, _| image.topics.get(id).is_some_and(|topic| !topic.deleting));
        for topic in image.topics.values().filter(|topic| !topic.deleting) {
            let before = seen.topics.get(&topic.id);
            if everywhere || before.is_none_or(|before| !Arc::ptr_eq(before, topic)) {
                self.look_at_topic(topic, before.filter(|_| !everywhere), now);
            }
            let again = defaults_changed
                || (self.vacant.contains_key(&topic.id)
                    && !seen.has_same_config(image, &ConfigEntity::Topic(topic.name.clone())));
            if again && let Some(vacant) = self.vacant.get_mut(&topic.id) {
                vacant.values_mut().for_each(|vacancy| vacancy.look_at = Some(now));
            }
        }
    }

    /// `before`: partitions that are the same there need no look.
    fn look_at_topic(&mut self, topic: &TopicImage, before: Option<&Arc<TopicImage>>, now: Duration) {
        let Some(me) = self.me else { return };
        let mut vacant = self.vacant.remove(&topic.id).unwrap_or_default();
        for (place, (index, state)) in (0..).zip(&topic.partitions).enumerate() {
            let unchanged = before.and_then(|before| before.partitions.get(place));
            if unchanged.is_some_and(|before| Arc::ptr_eq(before, state)) {
                continue;
            }
            if !state.replicas.contains(&me.id) || !election::is_vacant(&self.seen, state) {
                vacant.remove(&index);
                continue;
            }
            look_again(&mut vacant, index, state, now);
        }
        if !vacant.is_empty() {
            self.vacant.insert(topic.id, vacant);
        }
    }

    /// How many partitions are vacant.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.vacant.values().map(BTreeMap::len).sum()
    }

    /// When [`Vacancies::ballots`] has something to do next; `None`: not before something changes.
    pub fn next_look(&self) -> Option<Duration> {
        let all = self.vacant.values().flat_map(BTreeMap::values);
        all.filter_map(|vacancy| vacancy.look_at.map(|at| at.max(vacancy.put_off))).min()
    }

    /// The ballots to send now, by the image that was observed last; rank k waits for its turn. `rules` is asked once per topic,
    /// `may` per partition: whether its log is recovered and its directory works (rule B3).
    pub fn ballots(
        &mut self,
        now: Duration,
        rules: impl Fn(&ClusterImage, &TopicImage) -> ElectionRules,
        may: impl Fn(TopicId, i32) -> bool,
    ) -> Vec<Ballot> {
        let mut ballots = Vec::new();
        let Some(me) = self.me else { return ballots };
        for (id, partitions) in &mut self.vacant {
            let Some(topic) = self.seen.topics.get(id) else { continue };
            let mut rules_here = None;
            for (index, vacancy) in partitions {
                let due = vacancy.look_at.is_some_and(|at| at.max(vacancy.put_off) <= now);
                if !due || ballots.len() == BALLOTS_MAX {
                    continue;
                }
                if !may(*id, *index) {
                    vacancy.look_at = Some(now + NOT_READY_RETRY);
                    continue;
                }
                let rules = *rules_here.get_or_insert_with(|| rules(&self.seen, topic));
                match election::ballot(&self.seen, *id, *index, me, rules) {
                    None => vacancy.look_at = None,
                    Some(ballot) => {
                        let turn = vacancy.since + rank_delay(ballot.rank);
                        if turn <= now {
                            vacancy.look_at = Some(now + OUTCOME_RETRY);
                            ballots.push(ballot);
                        } else {
                            vacancy.look_at = Some(turn);
                        }
                    }
                }
            }
        }
        ballots
    }

    /// What came of a ballot. `chance` is anything from 0 to 1: who lost tries again at different times.
    pub fn outcome(&mut self, ballot: &Ballot, outcome: &PartitionOutcome, now: Duration, chance: f64) {
        let partitions = self.vacant.get_mut(&ballot.change.topic);
        let Some(vacancy) = partitions.and_then(|partitions| partitions.get_mut(&ballot.change.partition))
        else {
            return;
        };
        let pause = match outcome {
            PartitionOutcome::Written(_) => OUTCOME_RETRY,
            PartitionOutcome::Rejected => {
                vacancy.losses = vacancy.losses.saturating_add(1);
                conflict_pause(vacancy.losses).mul_f64(chance.clamp(0.0, 1.0))
            }
            PartitionOutcome::Unknown { .. } => UNKNOWN_RETRY,
            PartitionOutcome::NotSent(_) => NOT_SENT_RETRY,
        };
        vacancy.put_off = now + pause;
        vacancy.look_at = Some(now + pause);
    }
}

fn look_again(vacant: &mut BTreeMap<i32, Vacancy>, index: i32, state: &PartitionImage, now: Duration) {
    let fresh = || Vacancy {
        epoch: state.leader_epoch,
        since: now,
        look_at: None,
        put_off: Duration::ZERO,
        losses: 0,
    };
    let vacancy = vacant.entry(index).or_insert_with(fresh);
    if vacancy.epoch != state.leader_epoch {
        // Somebody led meanwhile, and is gone too.
        *vacancy = fresh();
    }
    vacancy.look_at = Some(now);
}

/// How long a candidate of `rank` waits for those ahead of it.
fn rank_delay(rank: usize) -> Duration {
    RANK_STEP.saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX))
}

/// The longest pause after so many losses: 20 ms, doubling to 640 ms.
fn conflict_pause(losses: u32) -> Duration {
    Duration::from_millis(10_u64 << losses.min(6))
}

#[cfg(test)]
#[path = "vacant_tests.rs"]
mod tests;
