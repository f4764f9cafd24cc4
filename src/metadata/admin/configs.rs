//! Dynamic configuration: read, decided anew on every conflict, written under a compare.

use std::collections::BTreeMap;

use super::{ATTEMPTS, Admin};
use crate::metadata::error::MetadataError;
use crate::metadata::image::ConfigEntity;
use crate::metadata::keys::{ConfigValue, Key, Record};
use crate::metadata::txn::{Outcome, Stored, shapes};

/// Why a configuration was not changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterError<E> {
    /// The caller's own decision.
    #[error("the change was refused")]
    Refused(E),
    /// The metadata's.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Admin {
    /// Replaces an entity's entries by what `change` makes of the current ones. `change` is asked again after each conflict.
    pub async fn alter_config<E>(
        &self,
        entity: ConfigEntity,
        mut change: impl FnMut(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, E>,
    ) -> Result<i64, AlterError<E>> {
        let key = Key::Config(entity.clone());
        for attempt in 0..ATTEMPTS {
            let (record, read_revision) = self
                .read_value::<ConfigValue>(&key)
                .await?
                .unwrap_or_else(|| (Record::new(ConfigValue::default()), 0));
            let entries = change(&record.value.entries).map_err(AlterError::Refused)?;
            if entries == record.value.entries && (read_revision > 0 || entries.is_empty()) {
                return Ok(self.visible(read_revision).await?);
            }
            let wanted = entries.clone();
            let txn = shapes::change_config(
                &self.keys,
                &entity,
                &record.with(ConfigValue { entries }),
                read_revision,
            );
            match self.submit(txn).await? {
                Outcome::Applied { revision } => return Ok(self.visible(revision).await?),
                Outcome::Rejected { found, .. } => {
                    if let ConfigEntity::Topic(name) = &entity
                        && found.is_empty()
                    {
                        return Err(MetadataError::NotFound { what: format!("topic {name}") }.into());
                    }
                    self.back_off(attempt).await;
                }
                Outcome::Unknown { why } => {
                    let done = |stored: Option<&Stored>| {
                        let now = stored.map(|stored| Record::<ConfigValue>::decode(&stored.value));
                        match now {
                            Some(Ok(record)) => record.value.entries == wanted,
                            Some(Err(_)) => false,
                            None => wanted.is_empty(),
                        }
                    };
                    let seen = self.look_back(&key, done).await;
                    let what = format!("configuration of {entity:?}");
                    let revision = seen.ok_or(MetadataError::UnknownOutcome { what, why })?;
                    return Ok(self.visible(revision).await?);
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("configuration of {entity:?}"), attempts: ATTEMPTS }
            .into())
    }
}
