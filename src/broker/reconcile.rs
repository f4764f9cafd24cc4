//! From image to roles: opens the logs of partitions assigned to this broker, gives them the role that the image says, applies
//! configuration, removes what was deleted. One task, images in order; it is the only writer of [`super::Partitions`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Broker, Topic, departed, groups};
use crate::config::TopicConfig;
use crate::controller::housekeeping::{self, Ending};
use crate::log::Step;
use crate::metadata::image::{ClusterImage, ConfigEntity, ReplicaEntry, TopicImage};
use crate::replication::leader::Rules;
use crate::replication::{Applied, Partition};
use crate::types::{BrokerEpoch, BrokerId, TopicId, TopicPartition};

/// Pause before a deletion that etcd refused is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Carries out every image until `stop`. The first one is carried out before this future first waits.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut images = broker.metadata().images();
    let mut reconciler = Reconciler {
        broker: Arc::clone(&broker),
        seen: Arc::default(),
        me: ReplicaEntry { id: BrokerId(-1), epoch: BrokerEpoch(0) },
        endings: Vec::new(),
        unconfirmed: HashSet::new(),
        leftovers: true,
    };
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        reconciler.carry_out(&image).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = images.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = say_endings(&broker, &mut reconciler.endings) => {}
            () = tokio::time::sleep(RETRY_AFTER), if reconciler.is_to_ask_again() => {}
        }
    }
}

struct Reconciler {
    broker: Arc<Broker>,
    seen: Arc<ClusterImage>,
    /// This broker's lifetime when `seen` was carried out.
    me: ReplicaEntry,
    endings: Vec<Ending>,
    /// Topics of which `seen` was not carried out: it would take logs away, and etcd did not confirm it.
    unconfirmed: HashSet<TopicId>,
    /// Logs may be on the disk of partitions that were moved away while this broker was not there.
    leftovers: bool,
}

impl Reconciler {
    /// Brings this broker from the last image to `image`. Topics whose entry did not change cost one pointer comparison.
    async fn carry_out(&mut self, image: &Arc<ClusterImage>) {
        let me = self.broker.lifetime();
        // Who is registered and whose data is refuted decides about every led partition.
        let others_changed =
            me != self.me || self.seen.intact != image.intact || !self.seen.has_same_brokers(image);
        self.me = me;
        self.broker.fetchers().set_brokers(image, me);
        let defaults_changed = self.defaults_changed(image, me);
        if defaults_changed {
            let dynamic = self.broker.dynamic(image);
            self.broker.log_dirs.configure_cleaner(self.broker.config().cleaner(&dynamic));
            self.broker.groups().set_settings((&self.broker.config().groups(&dynamic)).into());
        }
        let mut put = Vec::new();
        let mut removed = Vec::new();
        let mut unconfirmed = HashSet::new();
        let (mut moved_away, mut without) = (Vec::new(), Vec::new());
        for topic in image.topics.values() {
            let unchanged = self.seen.topics.get(&topic.id).is_some_and(|before| Arc::ptr_eq(before, topic))
                && !self.unconfirmed.contains(&topic.id);
            if topic.deleting {
                removed.push(topic.id);
            } else if !unchanged {
                let held = self.broker.partitions.topic_by_id(topic.id);
                if let Some(held) = &held {
                    let Some(away) = departed::of_topic(&self.broker, held, topic, me.id).await else {
                        unconfirmed.insert(topic.id);
                        continue;
                    };
                    moved_away.extend(away);
                }
                match self.open_topic(image, topic, me) {
                    Some(topic) => put.push(topic),
                    None => without.extend(held.map(|held| held.id)),
                }
            }
            let entity = ConfigEntity::Topic(topic.name.clone());
            let config_changed = defaults_changed || !self.seen.has_same_config(image, &entity);
            if unchanged
                && (config_changed || others_changed)
                && let Some(held) = self.broker.partitions.topic_by_id(topic.id)
            {
                if config_changed {
                    held.set_config(&self.config_of(image, topic));
                }
                self.apply(image, topic, &held, me);
            }
        }
        removed.extend(self.seen.topics.keys().filter(|id| !image.topics.contains_key(id)));
        let gone: Vec<Arc<Topic>> =
            removed.iter().filter_map(|id| self.broker.partitions.topic_by_id(*id)).collect();
        removed.append(&mut without);
        self.broker.partitions.change(put, &removed);
        groups::carry_out(&self.broker, image);
        for topic in &gone {
            departed::remove_topic(&self.broker, topic).await;
        }
        departed::remove(&self.broker, moved_away).await;
        self.unconfirmed = unconfirmed;
        if self.leftovers {
            let all = departed::remove_unopened(&self.broker, image).await;
            self.leftovers = !all || image.revision == 0;
        }
        self.endings =
            housekeeping::endings(image, me.id, |id| self.broker.partitions.topic_by_id(id).is_none());
        self.seen = Arc::clone(image);
        self.broker.applied.send_replace(image.revision);
    }

    fn is_to_ask_again(&self) -> bool {
        self.leftovers || !self.unconfirmed.is_empty()
    }

    fn defaults_changed(&self, image: &ClusterImage, me: ReplicaEntry) -> bool {
        [ConfigEntity::ClusterDefault, ConfigEntity::Broker(me.id)]
            .iter()
            .any(|entity| !self.seen.has_same_config(image, entity))
    }

    fn config_of(&self, image: &ClusterImage, topic: &TopicImage) -> Arc<TopicConfig> {
        Arc::new(self.broker.topic_config(image, &topic.name))
    }

    /// The topic as this broker holds it now: partitions already held are kept, new ones are opened, roles are applied.
    /// `None` if this broker holds none of its partitions.
    fn open_topic(
        &self,
        image: &Arc<ClusterImage>,
        source: &Arc<TopicImage>,
        me: ReplicaEntry,
    ) -> Option<Arc<Topic>> {
        let held = self.broker.partitions.topic_by_id(source.id);
        let config = self.config_of(image, source);
        let mut partitions = Vec::with_capacity(source.partitions.len());
        for (index, state) in (0..).zip(&source.partitions) {
            if !state.replicas.contains(&me.id) {
                partitions.push(None);
                continue;
            }
            let known = held.as_ref().and_then(|held| held.partition(index)).cloned();
            let opened = known.or_else(|| {
                let name = TopicPartition::new(source.name.clone(), index);
                match self.broker.log_dirs.open_log(&name, source.id, Arc::clone(&config)) {
                    Ok(log) => {
                        let clock = self.broker.clock().clone();
                        let attention = Arc::clone(self.broker.attention());
                        let partition = Partition::new(name, source.id, log, clock, attention);
                        if self.broker.broker_config().etcd.accept_rollback {
                            partition.accept_rollback();
                        }
                        Some(partition)
                    }
                    Err(cause) => {
                        error!(partition = %name, %cause, "partition cannot be opened: it is offline here");
                        None
                    }
                }
            });
            partitions.push(opened);
        }
        if partitions.iter().all(Option::is_none) {
            return None;
        }
        let topic = Arc::new(Topic::new(source.name.clone(), source.id, Arc::clone(&config), partitions));
        topic.set_config(&config);
        self.apply(image, source, &topic, me);
        Some(topic)
    }

    /// Gives the held partitions of `topic` their roles.
    fn apply(&self, image: &Arc<ClusterImage>, topic: &TopicImage, held: &Topic, me: ReplicaEntry) {
        let rules = Rules {
            min_insync_replicas: usize::try_from(held.config().min_insync_replicas).unwrap_or(usize::MAX),
            lag_max: self.broker.broker_config().replication.lag_max,
        };
        for (index, state) in (0..).zip(&topic.partitions) {
            let Some(partition) = held.partition(index) else { continue };
            if partition.apply(&Applied { state, image, me, rules }) {
                begin_in_background(partition);
            }
            self.broker.fetchers().look(partition, state);
        }
    }
}

/// A role that cannot begin at once does so before anybody asks for it: a log that was not closed in order is recovered, what an
/// earlier role left under way ends. A request that comes first waits for it.
fn begin_in_background(partition: &Arc<Partition>) {
    if let Step::Pending(recovered) = partition.ready() {
        let name = partition.name().clone();
        tokio::spawn(async move {
            if let Err(cause) = recovered.await {
                error!(partition = %name, %cause, "log cannot be recovered: the partition is offline here");
            }
        });
    }
}

/// Says what is due about deleted topics: that their logs are gone here and, as controller, everywhere. Never returns.
async fn say_endings(broker: &Broker, endings: &mut Vec<Ending>) {
    while let Some(ending) = endings.last().copied() {
        let said = match ending {
            Ending::Removed(id) => broker.metadata().note_topic_removed(id).await,
            Ending::Finish(id) => broker.metadata().finish_topic_deletion(id).await,
        };
        match said {
            Ok(_) => {
                endings.pop();
            }
            Err(cause) => {
                warn!(?ending, %cause, "deletion of a topic could not be finished: trying again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    std::future::pending().await
}
