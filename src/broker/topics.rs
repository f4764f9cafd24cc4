//! Topics made, grown and deleted: names, placement and configuration checked, then one change in etcd, then waiting until this
//! broker has carried it out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use crate::config::{AlterError, validate_topic_configs};
use crate::controller::placement::{self, Candidate, PlacementError};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::metadata::{MetadataError, NewTopic};
use crate::types::{BrokerId, InvalidTopicName, TopicId, TopicName, random};

/// The most partitions of one topic: its creation is one Txn of at most 1 MiB (rule E11).
pub const TOPIC_PARTITIONS_MAX: i32 = 50_000;

/// How long a creation waits for a broker that is about to register anew.
const REGISTERED_WITHIN: Duration = Duration::from_secs(2);

/// A topic as a client asks for it.
#[derive(Debug, Clone, Default)]
pub struct TopicSpec {
    /// Its name, not yet checked.
    pub name: String,
    /// Number of partitions; `None` for `num.partitions`.
    pub partitions: Option<i32>,
    /// Number of replicas; `None` for `default.replication.factor`.
    pub replication_factor: Option<i32>,
    /// Replicas by partition, in place of the two numbers.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
    /// Configuration overrides.
    pub configs: BTreeMap<String, String>,
    /// On whose behalf, for the audit trail.
    pub who: String,
}

/// A topic that was made, or would be.
#[derive(Debug, Clone)]
pub struct CreatedTopic {
    /// Its id; the zero id if only checked.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its replicas.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Its overrides.
    pub configs: BTreeMap<String, String>,
}

/// Why a topic was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Not a legal name.
    #[error(transparent)]
    InvalidName(#[from] InvalidTopicName),
    /// Its metric name would be that of another topic.
    #[error("topic {name:?} collides with {other:?}: '.' and '_' are the same in metric names")]
    Collision {
        /// As asked.
        name: TopicName,
        /// The topic there is.
        other: TopicName,
    },
    /// It exists.
    #[error("topic {0:?} already exists")]
    Exists(TopicName),
    /// It does not exist.
    #[error("topic {0} does not exist")]
    NotFound(String),
    /// Its partitions cannot be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The replicas given are not usable.
    #[error("replica assignment is not usable: {0}")]
    InvalidAssignment(String),
    /// The number of partitions is not usable.
    #[error("{0}")]
    InvalidPartitions(String),
    /// Its configuration is not valid.
    #[error(transparent)]
    InvalidConfig(#[from] AlterError),
    /// The request asks two things at once.
    #[error("{0}")]
    InvalidRequest(String),
    /// `delete.topic.enable` is false.
    #[error("topic deletion is disabled: set delete.topic.enable=true")]
    DeletionDisabled,
    /// etcd refused, or could not be reached.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Broker {
    /// Makes a topic and waits until this broker serves it. With `validate_only` nothing is changed.
    ///
    /// # Errors
    /// [`TopicError`] names what is wrong with the request, or why etcd did not take it.
    pub async fn create_topic(
        &self,
        spec: TopicSpec,
        validate_only: bool,
        timeout: Duration,
    ) -> Result<CreatedTopic, TopicError> {
        let image = self.image_to_place_by().await;
        let name = TopicName::new(&spec.name)?;
        if image.topic_names.contains_key(&name) {
            return Err(TopicError::Exists(name));
        }
        if let Some(other) = colliding(&image, &name) {
            return Err(TopicError::Collision { name, other });
        }
        let assignment = self.assignment_of(&image, &spec)?;
        let entries = spec.configs.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())));
        let configs = validate_topic_configs(self.config(), &self.dynamic(&image), entries)?;
        let mut created = CreatedTopic { id: TopicId::ZERO, name, assignment, configs };
        if validate_only {
            return Ok(created);
        }
        created.id = TopicId::new(random::uuid()).unwrap_or(TopicId::ZERO);
        let revision = self
            .metadata()
            .create_topic(NewTopic {
                name: created.name.clone(),
                id: created.id,
                assignment: created.assignment.clone(),
                configs: created.configs.clone(),
            })
            .await
            .map_err(|error| match error {
                MetadataError::AlreadyExists { .. } => TopicError::Exists(created.name.clone()),
                error => TopicError::Metadata(error),
            })?;
        let count = created.assignment.len();
        self.audit(&spec.who, format!("created topic {} with {count} partitions", created.name), revision);
        self.wait_until_applied(revision, timeout).await?;
        Ok(created)
    }

    /// An image that shows this broker: after an outage of etcd it registers anew, and for a moment it is not there.
    async fn image_to_place_by(&self) -> Arc<ClusterImage> {
        let mut images = self.metadata().images();
        let mut registrations = self.metadata().registrations();
        let shown = async {
            while !self.image().lives(self.lifetime()) {
                let news = tokio::select! {
                    changed = images.changed() => changed,
                    changed = registrations.changed() => changed,
                };
                if news.is_err() {
                    return;
                }
            }
        };
        // Who is fenced for longer places as well as it can.
        let _ = tokio::time::timeout(REGISTERED_WITHIN, shown).await;
        self.image()
    }

    fn assignment_of(
        &self,
        image: &ClusterImage,
        spec: &TopicSpec,
    ) -> Result<Vec<Vec<BrokerId>>, TopicError> {
        if let Some(assignment) = &spec.assignment {
            if spec.partitions.is_some() || spec.replication_factor.is_some() {
                return Err(TopicError::InvalidRequest(
                    "give either a replica assignment, or partitions and a replication factor".to_owned(),
                ));
            }
            check_assignment(image, assignment)?;
            return Ok(assignment.clone());
        }
        let config = self.broker_config();
        let partitions = spec.partitions.unwrap_or(config.num_partitions);
        if partitions > TOPIC_PARTITIONS_MAX {
            return Err(TopicError::InvalidPartitions(format!(
                "{partitions} partitions are more than the {TOPIC_PARTITIONS_MAX} that one topic can have"
            )));
        }
        let factor = spec.replication_factor.unwrap_or(i32::from(config.default_replication_factor));
        let start = usize::try_from(random::below(1 << 16)).unwrap_or(0);
        Ok(placement::place(&candidates(image, factor), partitions, factor, start)?)
    }

    /// Raises a topic to `count` partitions, the new ones placed as `added` says or by this broker.
    ///
    /// # Errors
    /// As [`Broker::create_topic`].
    pub async fn create_partitions(
        &self,
        name: &str,
        count: i32,
        added: Option<Vec<Vec<BrokerId>>>,
        validate_only: bool,
        timeout: Duration,
        who: &str,
    ) -> Result<(), TopicError> {
        let image = self.image_to_place_by().await;
        let topic = image.topic(name).ok_or_else(|| TopicError::NotFound(name.to_owned()))?;
        let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if count <= now {
            return Err(TopicError::InvalidPartitions(format!(
                "topic {name} has {now} partitions: {count} is not more (the number can only grow)"
            )));
        }
        if count > TOPIC_PARTITIONS_MAX {
            return Err(TopicError::InvalidPartitions(format!(
                "{count} partitions are more than the {TOPIC_PARTITIONS_MAX} that one topic can have"
            )));
        }
        let added = added_replicas(&image, topic, count - now, added)?;
        if validate_only {
            return Ok(());
        }
        let revision = self.metadata().create_partitions(topic.id, topic.partitions.len(), added).await?;
        self.audit(who, format!("raised topic {name} to {count} partitions"), revision);
        Ok(self.wait_until_applied(revision, timeout).await?)
    }

    /// Marks a topic for deletion and waits until this broker has removed its logs.
    ///
    /// # Errors
    /// As [`Broker::create_topic`].
    pub async fn delete_topic(&self, id: TopicId, timeout: Duration, who: &str) -> Result<(), TopicError> {
        if !self.broker_config().delete_topic_enable {
            return Err(TopicError::DeletionDisabled);
        }
        let image = self.image();
        let topic = image
            .topics
            .get(&id)
            .filter(|topic| !topic.deleting)
            .ok_or_else(|| TopicError::NotFound(id.to_string()))?;
        let revision = self.metadata().delete_topic(topic.id).await?;
        self.audit(who, format!("deleted topic {}", topic.name), revision);
        Ok(self.wait_until_applied(revision, timeout).await?)
    }
}

/// Who may take new replicas: those that take leaderships too, if they are enough.
fn candidates(image: &ClusterImage, replicas: i32) -> Vec<Candidate> {
    let (willing, draining): (Vec<_>, Vec<_>) =
        image.brokers.values().filter(|live| !live.stopping).partition(|live| !live.draining);
    let enough = usize::try_from(replicas).unwrap_or(0) <= willing.len();
    let also = draining.into_iter().filter(|_| !enough);
    willing.into_iter().chain(also).map(|live| Candidate { id: live.id, rack: live.rack.clone() }).collect()
}

fn colliding(image: &ClusterImage, name: &TopicName) -> Option<TopicName> {
    let form = name.collision_form();
    if !form.contains('_') {
        return None;
    }
    image.topic_names.keys().find(|other| *other != name && other.collision_form() == form).cloned()
}

fn added_replicas(
    image: &ClusterImage,
    topic: &TopicImage,
    added: i32,
    given: Option<Vec<Vec<BrokerId>>>,
) -> Result<Vec<Vec<BrokerId>>, TopicError> {
    // What only a reassignment adds does not count.
    let kept = |partition: &PartitionImage| partition.replicas.len().saturating_sub(partition.adding.len());
    let factor = topic.partitions.first().map_or(1, |partition| kept(partition).max(1));
    if let Some(given) = given {
        if usize::try_from(added).ok() != Some(given.len()) {
            return Err(TopicError::InvalidAssignment(format!(
                "{added} partitions are added but {} are assigned",
                given.len()
            )));
        }
        check_assignment(image, &given)?;
        if given.iter().any(|replicas| replicas.len() != factor) {
            return Err(TopicError::InvalidAssignment(format!("each partition needs {factor} replicas")));
        }
        return Ok(given);
    }
    let factor = i32::try_from(factor).unwrap_or(i32::MAX);
    Ok(placement::place(&candidates(image, factor), added, factor, topic.partitions.len())?)
}

/// A manual assignment: at least one partition, the same number of distinct live brokers in each.
fn check_assignment(image: &ClusterImage, assignment: &[Vec<BrokerId>]) -> Result<(), TopicError> {
    let invalid = |text: String| Err(TopicError::InvalidAssignment(text));
    let Some(first) = assignment.first() else { return invalid("it has no partitions".to_owned()) };
    for (index, replicas) in assignment.iter().enumerate() {
        let distinct: BTreeSet<_> = replicas.iter().collect();
        if replicas.is_empty() {
            return invalid(format!("partition {index} has no replicas"));
        }
        if distinct.len() != replicas.len() {
            return invalid(format!("partition {index} names a broker twice"));
        }
        if replicas.len() != first.len() {
            return invalid(format!(
                "partition {index} has {} replicas, others {}",
                replicas.len(),
                first.len()
            ));
        }
        if let Some(unknown) = replicas.iter().find(|id| !image.brokers.contains_key(id)) {
            return invalid(format!("partition {index} names broker {unknown}, which is not alive"));
        }
    }
    Ok(())
}
