//! Leaderships of this broker: won by ballots when their leader is gone, handed over when this broker drains or stops.
//!
//! [`run`] campaigns: it watches the images for partitions without a leader ([`vacant`], pure), and sends the ballots that
//! [`crate::replication::election`] decides. No controller is needed (rule E10): the first valid ballot wins in etcd, and the role is
//! taken from the image that shows it, never from the answer (rule E5). [`evidence`] finds out that a process is dead before its
//! lease ends; [`drain`] hands leaderships over.

pub mod drain;
pub mod evidence;
mod vacant;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Broker;
use crate::log::Step;
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, ReplicaEntry, TopicImage};
use crate::replication::election::{Ballot, ElectionRules, Grounds};
use crate::telemetry::replication::{self as numbers, Won};
use crate::types::{TopicId, random};
use vacant::Vacancies;

/// Time until a broker that may not campaign now (fenced, leaving, without etcd) asks itself again.
const HELD_BACK_RETRY: Duration = Duration::from_millis(200);
/// Steps of the random part of a pause.
const CHANCES: u32 = 1_000;

/// Whether this broker is about to end, and who speaks for it.
#[derive(Debug, Default)]
pub struct Elections {
    /// This process stops: it campaigns no more, and its flags are no longer those of the configuration.
    leaving: AtomicBool,
    /// Who changes the flags of the registration: one at a time.
    flags: tokio::sync::Mutex<()>,
}

impl Elections {
    /// This process is about to end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }
}

const fn won_by(grounds: Grounds) -> Won {
    match grounds {
        Grounds::InSync => Won::InSync,
        Grounds::Eligible => Won::Eligible,
        Grounds::LastKnownLeader => Won::LastKnownLeader,
        Grounds::Unclean => Won::Unclean,
    }
}

/// Campaigns until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut images = broker.metadata().images();
    let mut vacancies = Vacancies::default();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        vacancies.observe(&image, broker.lifetime(), broker.clock().elapsed());
        let pause = campaign(&broker, &mut vacancies).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = images.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep_for(pause) => {}
        }
    }
}

/// For ever, if there is nothing to wait for.
async fn sleep_for(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause.max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

/// Sends the ballots whose time has come. Gives the time until the next ones, if nothing changes before.
async fn campaign(broker: &Broker, vacancies: &mut Vacancies) -> Option<Duration> {
    let now = broker.clock().elapsed();
    let next = vacancies.next_look()?;
    if next > now {
        return Some(next - now);
    }
    // Rule E6: a fenced broker is as good as dead; and an outage of etcd is not the time for elections.
    let reachable = broker.metadata().session().reachable;
    let held_back = broker.metadata().is_fenced() || broker.elections().is_leaving() || !reachable;
    if held_back || drain::is_to_be_announced(broker) {
        return Some(HELD_BACK_RETRY);
    }
    let ballots = vacancies.ballots(
        now,
        |image, topic| broker.election_rules(image, topic),
        |topic, partition| broker.can_serve(topic, partition),
    );
    if !ballots.is_empty() {
        let changes = ballots.iter().map(|ballot| ballot.change.clone()).collect();
        let outcomes = broker.change_partitions(changes).await;
        let then = broker.clock().elapsed();
        for (ballot, outcome) in ballots.iter().zip(&outcomes) {
            let chance =
                f64::from(u32::try_from(random::below(CHANCES.into())).unwrap_or(0)) / f64::from(CHANCES);
            vacancies.outcome(ballot, outcome, then, chance);
        }
        tell(broker, &ballots, &outcomes, then.saturating_sub(now));
    }
    let now = broker.clock().elapsed();
    vacancies.next_look().map(|at| at.saturating_sub(now))
}

/// Counts and logs what came of ballots: one line for all that went as usual, one per topic where records may be lost (rule U1).
fn tell(broker: &Broker, ballots: &[Ballot], outcomes: &[PartitionOutcome], took: Duration) {
    let mut won = 0_usize;
    let mut lost = 0_usize;
    let mut failed: Option<String> = None;
    let mut doubtful: BTreeMap<(Grounds, TopicId), Vec<i32>> = BTreeMap::new();
    for (ballot, outcome) in ballots.iter().zip(outcomes) {
        match outcome {
            PartitionOutcome::Written(_) => {
                won += 1;
                numbers::elected(won_by(ballot.grounds));
                if ballot.grounds >= Grounds::LastKnownLeader {
                    let topic = doubtful.entry((ballot.grounds, ballot.change.topic)).or_default();
                    topic.push(ballot.change.partition);
                }
            }
            PartitionOutcome::Rejected => {
                lost += 1;
                numbers::ballot_lost();
            }
            PartitionOutcome::Unknown { why } => failed = Some(why.clone()),
            PartitionOutcome::NotSent(error) => failed = Some(error.to_string()),
        }
    }
    if won > 0 {
        info!(won, lost, took_ms = took.as_millis(), "elected leader of partitions whose leader is gone");
    } else if lost > 0 {
        debug!(lost, "ballots lost: others were faster");
    }
    if let Some(why) = failed {
        warn!(why, "ballots did not come through, trying again");
    }
    for ((grounds, topic), partitions) in doubtful {
        let image = broker.image();
        let topic = image.topics.get(&topic).map_or_else(String::new, |topic| topic.name.to_string());
        match grounds {
            Grounds::LastKnownLeader => warn!(
                topic,
                ?partitions,
                "elected as the last known leader: all in-sync replicas may have lost data"
            ),
            _ => warn!(topic, ?partitions, "UNCLEAN election: records may be lost"),
        }
    }
}

impl Broker {
    /// This broker's lifetime by its own session. The image may show another one, or none.
    #[must_use]
    pub fn lifetime(&self) -> ReplicaEntry {
        let session = self.metadata().session();
        ReplicaEntry { id: session.broker_id, epoch: session.broker_epoch }
    }

    /// What elections of a topic go by, under `image`.
    #[must_use]
    pub fn election_rules(&self, image: &ClusterImage, topic: &TopicImage) -> ElectionRules {
        let config = self.topic_config(image, &topic.name);
        ElectionRules {
            min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX),
            unclean: config.unclean_leader_election_enable,
        }
    }

    /// This broker holds the partition, its log is recovered and its directory works (rule B3).
    fn can_serve(&self, topic: TopicId, partition: i32) -> bool {
        let Some(topic) = self.partitions().topic_by_id(topic) else { return false };
        topic.partition(partition).is_some_and(|partition| {
            let log = partition.log();
            let accepts = self.broker_config().etcd.accept_rollback;
            log.is_recovered()
                && matches!(log.ready(), Step::Ready(Ok(())))
                && (accepts || partition.rolled_back().is_none())
        })
    }
}
