//! What outlives a broker's registration: where it was last seen, until somebody unregisters it.

use super::{ATTEMPTS, Admin};
use crate::metadata::error::MetadataError;
use crate::metadata::keys::{BrokerMetaValue, Key, Record};
use crate::metadata::txn::{Outcome, shapes};
use crate::types::BrokerId;

impl Admin {
    /// Writes this broker's listeners and rack, as it is registered now, where they outlive the registration. Nothing is written if
    /// they stand there already.
    pub async fn note_seen(&self) -> Result<(), MetadataError> {
        let Some(id) = self.session.broker() else { return Err(MetadataError::Closed) };
        let key = Key::BrokerMeta(id);
        for attempt in 0..ATTEMPTS {
            let image = self.image();
            let Some(live) = image.brokers.get(&id) else { return Err(MetadataError::BrokerNotLive { id }) };
            let (record, read) = match self.read_value::<BrokerMetaValue>(&key).await? {
                Some((record, revision)) => (record, revision),
                None => (Record::new(BrokerMetaValue::default()), 0),
            };
            let mut value = record.value.clone();
            value.endpoints.clone_from(&live.endpoints);
            value.rack.clone_from(&live.rack);
            if read > 0 && value == record.value {
                return Ok(());
            }
            let record = record.with(value);
            match self.submit(shapes::put_broker_meta(&self.keys, id, &record, read, live.epoch)).await? {
                Outcome::Applied { .. } => return Ok(()),
                Outcome::Rejected { revision, .. } => {
                    self.visible(revision).await?;
                    self.back_off(attempt).await;
                }
                // Said again later, it does no harm.
                Outcome::Unknown { why } => {
                    return Err(MetadataError::UnknownOutcome {
                        what: format!("address of broker {id}"),
                        why,
                    });
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("address of broker {id}"), attempts: ATTEMPTS })
    }

    /// Forgets a broker that is not registered. Returns the revision.
    pub async fn forget_broker(&self, id: BrokerId) -> Result<i64, MetadataError> {
        let what = format!("broker {id}");
        let key = Key::BrokerMeta(id);
        for attempt in 0..ATTEMPTS {
            if self.read(&Key::BrokerLive(id)).await?.is_some() {
                return Err(MetadataError::Invalid { what, why: "it is alive: stop it first".to_owned() });
            }
            let Some(stored) = self.read(&key).await? else { return Err(MetadataError::NotFound { what }) };
            match self.submit(shapes::forget_broker(&self.keys, id, stored.mod_revision)).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { .. } => self.back_off(attempt).await,
                Outcome::Unknown { why } => {
                    return match self.look_back(&key, |stored| stored.is_none()).await {
                        Some(revision) => self.visible(revision).await,
                        None => Err(MetadataError::UnknownOutcome { what: format!("end of {what}"), why }),
                    };
                }
            }
        }
        Err(MetadataError::Conflict { what, attempts: ATTEMPTS })
    }
}
