//! Leaderships handed over: while the configuration says `ketcd.draining`, and before this broker stops (rule U5).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::super::Broker;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::metadata::{MetadataError, PartitionOutcome};
use crate::replication::election::{self, HandOver};
use crate::telemetry::replication::{self as numbers, Won};
use crate::types::BrokerId;

/// Most hand-overs of one batch: after it the newest image is looked at.
const HAND_OVERS_MAX: usize = 4_096;
/// Time until what could not be handed over is looked at again, and flags that could not be set.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two attempts to hand over at the end, when others change the same partitions.
const RETRY_AT_THE_END: Duration = Duration::from_millis(20);
/// How long clients are still answered when all is handed over. Who was between two requests is told where to go: a connection that
/// ends instead leaves a producer in doubt.
const REDIRECTED_WITHIN: Duration = Duration::from_millis(300);

/// Keeps the registration's flag as `ketcd.draining` says, and hands leaderships over while it is set, until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut images = broker.metadata().images();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let busy = follow_configuration(&broker, &image).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = images.changed() => {
                if changed.is_err() {
                    return;
                }
                // While draining, the whole image is looked through: not for every record that changes.
                if busy {
                    tokio::time::sleep(RETRY / 10).await;
                }
            }
            () = tokio::time::sleep(RETRY), if busy => {}
        }
    }
}

/// One round. Gives whether there may be more to do without a new image.
async fn follow_configuration(broker: &Broker, image: &ClusterImage) -> bool {
    let me = broker.lifetime();
    let wanted = broker.config().is_draining(&broker.dynamic(image));
    let Some(live) = image.brokers.get(&me.id).filter(|live| live.epoch == me.epoch) else { return wanted };
    if live.draining != wanted {
        let _turn = broker.elections().flags.lock().await;
        if broker.elections().is_leaving() {
            return false;
        }
        match broker.metadata().set_flags(wanted, false).await {
            Ok(_) if wanted => info!("draining: leaderships are handed over, none are taken"),
            Ok(_) => info!("no longer draining: leaderships are taken again"),
            Err(error) => debug!(%error, "draining is not announced, trying again"),
        }
        return true;
    }
    if wanted && !broker.elections().is_leaving() {
        let changes = hand_overs(broker, image, me, None);
        if !changes.is_empty() {
            send(broker, changes).await;
        }
    }
    wanted
}

/// The configuration says that this broker drains, and its registration does not yet: as after a start. It takes nothing meanwhile.
pub(super) fn is_to_be_announced(broker: &Broker) -> bool {
    let image = broker.image();
    let announced = image.brokers.get(&broker.id()).is_some_and(|live| live.draining);
    !announced && broker.config().is_draining(&broker.dynamic(&image))
}

/// Before the end of this process: leaderships go, then this broker leaves every ISR, and its own image shows it. Clients are answered
/// meanwhile, and told the new leaders. Returns after `limit` in any case; at once if nobody is there to take over.
pub async fn leave(broker: &Broker, limit: Duration) {
    broker.elections().leaving.store(true, Ordering::Release);
    let me = broker.lifetime();
    let image = broker.image();
    let alone = !image.brokers.values().any(|other| other.id != me.id && !other.stopping);
    let enabled = broker.broker_config().replication.controlled_shutdown;
    let reachable = broker.metadata().session().reachable;
    if alone || !enabled || !reachable || broker.metadata().is_fenced() {
        debug!(alone, enabled, reachable, "leaderships are not handed over");
        return;
    }
    let begun = broker.clock().elapsed();
    match tokio::time::timeout(limit, leave_in_order(broker)).await {
        Ok(Ok(handed_over)) => {
            let took_ms = broker.clock().elapsed().saturating_sub(begun).as_millis();
            info!(
                handed_over,
                took_ms, "leaderships are handed over, all in-sync sets go on without this broker"
            );
            if handed_over > 0 {
                tokio::time::sleep(REDIRECTED_WITHIN).await;
            }
        }
        Ok(Err(error)) => warn!(%error, "stopping without having handed over all leaderships"),
        Err(_) => warn!(
            limit_ms = limit.as_millis(),
            partitions = left_behind(&broker.image(), broker.lifetime()),
            "stopping although some partitions still rely on this broker"
        ),
    }
}

async fn leave_in_order(broker: &Broker) -> Result<usize, MetadataError> {
    let _turn = broker.elections().flags.lock().await;
    // Both flags at once, and first: nobody hands anything to this broker, all other leaders drop it from their ISRs meanwhile, and no
    // new leader takes it back in (KIP-841).
    broker.metadata().set_flags(true, true).await?;
    let mut handed_over = 0;
    loop {
        let me = broker.lifetime();
        let changes = hand_overs(broker, &broker.image(), me, Some(me));
        if changes.is_empty() {
            break;
        }
        let asked = changes.len();
        let written = send(broker, changes).await;
        handed_over += written;
        if written < asked {
            tokio::time::sleep(RETRY_AT_THE_END).await;
        }
    }
    let mut images = broker.metadata().images();
    let gone = images.wait_for(|image| left_behind(image, broker.lifetime()) == 0);
    gone.await.map_err(|_| MetadataError::Closed)?;
    let revision = broker.image().revision;
    // Until the roles have ended here too, so that every parked request was answered with where to go.
    broker.wait_until_applied(revision, RETRY).await?;
    Ok(handed_over)
}

/// The changes that hand over what `me` leads and somebody else can take. `leaving`: it also leaves those ISRs.
fn hand_overs(
    broker: &Broker,
    image: &ClusterImage,
    me: ReplicaEntry,
    leaving: Option<ReplicaEntry>,
) -> Vec<PartitionChange> {
    let mut changes = Vec::new();
    let why = match leaving {
        Some(_) => format!("broker {} is stopping", me.id),
        None => format!("broker {} is draining", me.id),
    };
    for topic in image.topics.values().filter(|topic| !topic.deleting) {
        let mut min_insync_replicas = None;
        for (index, state) in (0..).zip(&topic.partitions) {
            let Some(to) = successor(image, state, me) else { continue };
            if changes.len() == HAND_OVERS_MAX {
                return changes;
            }
            let min_insync_replicas = *min_insync_replicas
                .get_or_insert_with(|| broker.election_rules(image, topic).min_insync_replicas);
            let hand_over = HandOver {
                to,
                sender: Reliance::Lives(me),
                leaving: leaving.map(|entry| entry.id),
                min_insync_replicas,
                why: &why,
            };
            changes.extend(election::hand_over(image, topic.id, index, hand_over));
        }
    }
    changes
}

/// Who takes a partition over from `me`, if `me` leads it in this lifetime.
fn successor(image: &ClusterImage, state: &PartitionImage, me: ReplicaEntry) -> Option<BrokerId> {
    (state.leader == Some(me)).then(|| election::successor(image, state, me.id)).flatten()
}

/// Sends hand-overs and counts those that were taken.
async fn send(broker: &Broker, changes: Vec<PartitionChange>) -> usize {
    let asked = changes.len();
    let outcomes = broker.change_partitions(changes).await;
    let written = outcomes.iter().filter(|outcome| matches!(outcome, PartitionOutcome::Written(_))).count();
    (0..written).for_each(|_| numbers::elected(Won::HandOver));
    if written > 0 {
        info!(partitions = written, asked, "handed leaderships over");
    }
    written
}

/// How many partitions still rely on `me` although they need not: it leads and somebody else could, or it is in the ISR of a living
/// leader.
pub(super) fn left_behind(image: &ClusterImage, me: ReplicaEntry) -> usize {
    let topics = image.topics.values().filter(|topic| !topic.deleting);
    let states = topics.flat_map(|topic| &topic.partitions);
    let relies = |state: &&Arc<PartitionImage>| {
        let led_elsewhere = state.leader.is_some_and(|leader| leader.id != me.id && image.lives(leader));
        (led_elsewhere && state.isr.iter().any(|entry| entry.id == me.id))
            || successor(image, state, me).is_some()
    };
    states.filter(relies).count()
}
