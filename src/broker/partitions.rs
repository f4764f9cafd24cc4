//! The partitions that this broker holds, looked up by topic name or topic id on every request without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::TopicConfig;
use crate::replication::Partition;
use crate::types::{TopicId, TopicName};

/// A topic with the partitions of it that this broker holds.
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Its effective configuration; replaced when it changes.
    config: ArcSwap<TopicConfig>,
    /// By partition index; `None` where another broker holds the partition.
    partitions: Vec<Option<Arc<Partition>>>,
}

impl Topic {
    /// A topic with its partitions by index.
    #[must_use]
    pub fn new(
        name: TopicName,
        id: TopicId,
        config: Arc<TopicConfig>,
        partitions: Vec<Option<Arc<Partition>>>,
    ) -> Self {
        Self { name, id, config: ArcSwap::new(config), partitions }
    }

    /// The partition `index`, if this broker holds it.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// All partitions that this broker holds.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().flatten()
    }

    /// The effective configuration.
    #[must_use]
    pub fn config(&self) -> Guard<Arc<TopicConfig>> {
        self.config.load()
    }

    /// Replaces the configuration, here and in the logs.
    pub fn set_config(&self, config: &Arc<TopicConfig>) {
        self.config.store(Arc::clone(config));
        for partition in self.partitions() {
            partition.log().update_config(Arc::clone(config));
        }
    }
}

#[derive(Default, Clone)]
struct Table {
    by_name: HashMap<TopicName, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

/// All topics of which this broker holds partitions.
#[derive(Default)]
pub struct Partitions(ArcSwap<Table>);

impl Partitions {
    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.0.load().by_name.get(name).cloned()
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.0.load().by_id.get(&id).cloned()
    }

    /// Every topic, in no order.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.0.load().by_id.values().cloned().collect()
    }

    /// Applies a set of changes at once: topics to put (by id) and ids to take out. One writer only: reconcile.
    pub(super) fn change(&self, put: Vec<Arc<Topic>>, removed: &[TopicId]) {
        if put.is_empty() && removed.is_empty() {
            return;
        }
        let mut table = Table::clone(&self.0.load());
        for id in removed {
            if let Some(topic) = table.by_id.remove(id)
                && table.by_name.get(&topic.name).is_some_and(|named| named.id == *id)
            {
                table.by_name.remove(&topic.name);
            }
        }
        for topic in put {
            table.by_id.insert(topic.id, Arc::clone(&topic));
            table.by_name.insert(topic.name.clone(), topic);
        }
        self.0.store(Arc::new(table));
    }
}
