//! Topics: created, extended, deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::{ATTEMPTS, Admin};
use crate::metadata::error::MetadataError;
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::metadata::keys::{ConfigValue, EpochsFrom, Key, Record, TopicNameValue, TopicValue};
use crate::metadata::txn::{Outcome, Stored, shapes};
use crate::types::{BrokerId, TopicId, TopicName};

/// A topic to be created, already placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id: new, never used before (rule E12).
    pub id: TopicId,
    /// Replicas of each partition, in preference order; none of the lists is empty.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Its dynamic configuration.
    pub configs: BTreeMap<String, String>,
}

impl Admin {
    /// Creates a topic. Returns the revision.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<i64, MetadataError> {
        let what = format!("topic {}", topic.name);
        check_assignment(&what, &topic.assignment)?;
        let by_name = Key::TopicByName(topic.name.clone());
        // Also finds out, before anything is sent that could land later, whether etcd answers.
        if let Some(stored) = self.read(&by_name).await? {
            return self.exists(&topic, &what, &stored).await;
        }
        let configs =
            (!topic.configs.is_empty()).then(|| Record::new(ConfigValue { entries: topic.configs.clone() }));
        for attempt in 0..ATTEMPTS {
            let brokers = self.lifetimes(&topic.assignment, attempt).await?;
            let value = Record::new(TopicValue {
                name: topic.name.clone(),
                created_ms: self.clock.now_ms(),
                assignment: topic.assignment.clone(),
                epochs: vec![EpochsFrom { from: 0, brokers: brokers.clone() }],
                deleting: false,
                remaining: Vec::new(),
            });
            let txn = shapes::create_topic(&self.keys, topic.id, &value, &brokers, configs.as_ref());
            match self.submit(txn).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { found, revision } => {
                    if let Some(stored) = found.first() {
                        return self.exists(&topic, &what, stored).await;
                    }
                    // A broker lives in another lifetime than this image knows.
                    self.visible(revision).await?;
                    self.back_off(attempt).await;
                }
                Outcome::Unknown { why } => {
                    let ours = |stored: Option<&Stored>| stored.and_then(id_of) == Some(topic.id);
                    return match self.look_back(&by_name, ours).await {
                        Some(revision) => self.visible(revision).await,
                        None => {
                            Err(MetadataError::UnknownOutcome { what: format!("creation of {what}"), why })
                        }
                    };
                }
            }
        }
        Err(MetadataError::Conflict { what, attempts: ATTEMPTS })
    }

    /// The name is taken; by this very call if the id is ours.
    async fn exists(&self, topic: &NewTopic, what: &str, stored: &Stored) -> Result<i64, MetadataError> {
        if id_of(stored) == Some(topic.id) {
            return self.visible(stored.mod_revision).await;
        }
        Err(MetadataError::AlreadyExists { what: what.to_owned() })
    }

    /// The live lifetimes of all brokers in an assignment, by this broker's image. Who was there at the first attempt and is not now
    /// is about to register anew, and is waited for.
    async fn lifetimes(
        &self,
        assignment: &[Vec<BrokerId>],
        attempt: u32,
    ) -> Result<Vec<ReplicaEntry>, MetadataError> {
        let ids: BTreeSet<BrokerId> = assignment.iter().flatten().copied().collect();
        let mut looks = attempt;
        loop {
            let image = self.image();
            let live = |id: &BrokerId| match image.brokers.get(id) {
                Some(broker) => Ok(ReplicaEntry { id: *id, epoch: broker.epoch }),
                None => Err(MetadataError::BrokerNotLive { id: *id }),
            };
            let found = ids.iter().map(live).collect();
            looks += 1;
            if attempt == 0 || looks >= ATTEMPTS || Result::is_ok(&found) {
                return found;
            }
            self.back_off(looks).await;
        }
    }

    /// Adds partitions `expected..` with the replicas given. Fails with a conflict if there are not exactly `expected` now.
    pub async fn create_partitions(
        &self,
        id: TopicId,
        expected: usize,
        added: Vec<Vec<BrokerId>>,
    ) -> Result<i64, MetadataError> {
        for attempt in 0..ATTEMPTS {
            let (mut record, read_revision) = self.topic(id).await?;
            let what = format!("topic {}", record.value.name);
            check_assignment(&what, &added)?;
            if record.value.assignment.len() != expected {
                return Err(MetadataError::Conflict { what, attempts: attempt + 1 });
            }
            let brokers = self.lifetimes(&added, attempt).await?;
            let from = i32::try_from(expected).unwrap_or(i32::MAX);
            // Earlier partitions keep the lifetimes they were assigned to: a newer one did not hold their records.
            record.value.epochs.push(EpochsFrom { from, brokers: brokers.clone() });
            record.value.assignment.extend(added.iter().cloned());
            let wanted = record.value.assignment.clone();
            match self.submit(shapes::change_topic(&self.keys, id, &record, read_revision, &brokers)).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { revision, .. } => {
                    self.visible(revision).await?;
                    self.back_off(attempt).await;
                }
                Outcome::Unknown { why } => {
                    let done = |stored: Option<&Stored>| {
                        stored
                            .and_then(|stored| Record::<TopicValue>::decode(&stored.value).ok())
                            .is_some_and(|record| record.value.assignment == wanted)
                    };
                    return match self.look_back(&Key::TopicById(id), done).await {
                        Some(revision) => self.visible(revision).await,
                        None => {
                            Err(MetadataError::UnknownOutcome { what: format!("extension of {what}"), why })
                        }
                    };
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("topic {id}"), attempts: ATTEMPTS })
    }

    /// Begins a topic's deletion: its name is free at once.
    pub async fn delete_topic(&self, id: TopicId) -> Result<i64, MetadataError> {
        for attempt in 0..ATTEMPTS {
            let (mut record, id_revision) = self.topic(id).await?;
            record.value.remaining = holders(&self.image(), id, &record.value);
            let name = record.value.name.clone();
            let what = format!("deletion of topic {name}");
            let by_name = Key::TopicByName(name);
            let name_revision = match self.read_value::<TopicNameValue>(&by_name).await? {
                Some((named, revision)) if named.value.id == id => revision,
                _ => return Err(MetadataError::NotFound { what: format!("topic {id}") }),
            };
            let txn = shapes::delete_topic(&self.keys, id, record, name_revision, id_revision);
            match self.submit(txn).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { .. } => self.back_off(attempt).await,
                Outcome::Unknown { why } => {
                    let gone = |stored: Option<&Stored>| {
                        stored
                            .and_then(|stored| Record::<TopicValue>::decode(&stored.value).ok())
                            .is_none_or(|record| record.value.deleting)
                    };
                    return match self.look_back(&Key::TopicById(id), gone).await {
                        Some(revision) => self.visible(revision).await,
                        None => Err(MetadataError::UnknownOutcome { what, why }),
                    };
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("topic {id}"), attempts: ATTEMPTS })
    }

    /// Says that this broker has no log of a topic that is being deleted (any more). A topic that is gone already is no error.
    pub async fn note_topic_removed(&self, id: TopicId) -> Result<i64, MetadataError> {
        let Some(me) = self.session.broker() else { return Err(MetadataError::Closed) };
        for attempt in 0..ATTEMPTS {
            let Some((mut record, read)) = self.read_value::<TopicValue>(&Key::TopicById(id)).await? else {
                return Ok(self.image().revision);
            };
            if !record.value.deleting || !record.value.remaining.contains(&me) {
                return self.visible(read).await;
            }
            record.value.remaining.retain(|broker| *broker != me);
            match self.submit(shapes::change_topic(&self.keys, id, &record, read, &[])).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { .. } => self.back_off(attempt).await,
                // Said again later, it does no harm.
                Outcome::Unknown { why } => {
                    return Err(MetadataError::UnknownOutcome {
                        what: format!("deletion of topic {id}"),
                        why,
                    });
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("topic {id}"), attempts: ATTEMPTS })
    }

    /// Ends a topic's deletion, as controller (rule E2). A topic that is gone already is no error.
    pub async fn finish_topic_deletion(&self, id: TopicId) -> Result<i64, MetadataError> {
        for attempt in 0..ATTEMPTS {
            let image = self.image();
            let fence = self.session.controller(&image).zip(self.session.candidacy());
            let Some((_, (lease, epoch))) = fence else { return Err(MetadataError::NotController) };
            let key = Key::TopicById(id);
            let Some((record, id_revision)) = self.read_value::<TopicValue>(&key).await? else {
                return Ok(self.image().revision);
            };
            if !record.value.deleting {
                let why = "it is not being deleted".to_owned();
                return Err(MetadataError::Invalid {
                    what: format!("end of the deletion of topic {id}"),
                    why,
                });
            }
            let txn = shapes::finish_topic_deletion(&self.keys, id, id_revision);
            match self.submit(shapes::as_controller(txn, &self.keys, lease, epoch)).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { revision, .. } => {
                    self.visible(revision).await?;
                    self.back_off(attempt).await;
                }
                // Said again later, it does no harm.
                Outcome::Unknown { why } => {
                    return Err(MetadataError::UnknownOutcome {
                        what: format!("deletion of topic {id}"),
                        why,
                    });
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("topic {id}"), attempts: ATTEMPTS })
    }

    /// The topic's value and its `mod_revision`, unless it is gone or being deleted.
    async fn topic(&self, id: TopicId) -> Result<(Record<TopicValue>, i64), MetadataError> {
        match self.read_value::<TopicValue>(&Key::TopicById(id)).await? {
            Some((record, revision)) if !record.value.deleting => Ok((record, revision)),
            _ => Err(MetadataError::NotFound { what: format!("topic {id}") }),
        }
    }
}

fn id_of(stored: &Stored) -> Option<TopicId> {
    Record::<TopicNameValue>::decode(&stored.value).ok().map(|record| record.value.id)
}

/// The brokers that may hold logs of a topic: those that its value and its partitions' records name.
fn holders(image: &ClusterImage, id: TopicId, value: &TopicValue) -> Vec<BrokerId> {
    let recorded = image.topics.get(&id).into_iter().flat_map(|topic| &topic.partitions);
    let recorded = recorded.flat_map(|partition| &partition.replicas);
    let all: BTreeSet<BrokerId> = value.assignment.iter().flatten().chain(recorded).copied().collect();
    all.into_iter().collect()
}

/// Every partition needs replicas, none of them twice.
fn check_assignment(what: &str, assignment: &[Vec<BrokerId>]) -> Result<(), MetadataError> {
    let invalid = |why: &str| Err(MetadataError::Invalid { what: what.to_owned(), why: why.to_owned() });
    if assignment.is_empty() || assignment.iter().any(Vec::is_empty) {
        return invalid("every partition needs at least one replica");
    }
    let twice = |replicas: &Vec<BrokerId>| replicas.iter().collect::<BTreeSet<_>>().len() < replicas.len();
    if assignment.iter().any(twice) {
        return invalid("a partition cannot have two replicas on one broker");
    }
    Ok(())
}
