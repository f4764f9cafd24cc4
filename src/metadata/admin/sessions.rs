//! Sessions: the flags of this broker's own, and the end of somebody else's that is known to be dead.

use super::{ATTEMPTS, Admin};
use crate::metadata::error::MetadataError;
use crate::metadata::image::ReplicaEntry;
use crate::metadata::keys::{BrokerLiveValue, Key, Record};
use crate::metadata::session::Flags;
use crate::metadata::txn::{Outcome, Stored, shapes};

impl Admin {
    /// Says in this broker's registration that it is draining or stopping. Its epoch stays. A later registration of this process says
    /// the same from its beginning. Returns the revision that shows it.
    pub async fn set_flags(&self, flags: Flags) -> Result<i64, MetadataError> {
        self.session.set_flags(flags);
        let Some(id) = self.session.broker() else { return Err(MetadataError::Closed) };
        let key = Key::BrokerLive(id);
        for attempt in 0..ATTEMPTS {
            let epoch = self.session.epoch();
            // Another lifetime, or none: the next registration carries the flags.
            let Some(stored) = self.read(&key).await?.filter(|stored| stored.create_revision == epoch.get())
            else {
                return Err(MetadataError::NotFound { what: format!("registration of broker {id}") });
            };
            let mut value =
                Record::<BrokerLiveValue>::decode(&stored.value).map_err(|why| self.unreadable(&key, why))?;
            if has(&value, flags) {
                return self.visible(stored.mod_revision).await;
            }
            value.value.draining = flags.draining;
            value.value.stopping = flags.stopping;
            let txn =
                shapes::change_registration(&self.keys, id, &value, stored.lease, epoch, stored.mod_revision);
            match self.submit(txn).await? {
                Outcome::Applied { revision } => return self.visible(revision).await,
                Outcome::Rejected { .. } => self.back_off(attempt).await,
                Outcome::Unknown { why } => {
                    let shows = |stored: Option<&Stored>| {
                        let stored = stored.filter(|stored| stored.create_revision == epoch.get());
                        let value = stored.and_then(|stored| Record::decode(&stored.value).ok());
                        value.is_some_and(|value| has(&value, flags))
                    };
                    return match self.look_back(&key, shows).await {
                        Some(revision) => self.visible(revision).await,
                        None => {
                            Err(MetadataError::UnknownOutcome { what: format!("flags of broker {id}"), why })
                        }
                    };
                }
            }
        }
        Err(MetadataError::Conflict { what: format!("flags of broker {id}"), attempts: ATTEMPTS })
    }

    /// Ends the lifetime `entry`, whose process is known to be dead. `Ok(false)`: it was over already.
    pub async fn end_session_of(&self, entry: ReplicaEntry) -> Result<bool, MetadataError> {
        let image = self.image();
        let candidacy = image
            .candidates
            .iter()
            .find(|(_, candidate)| candidate.broker == entry.id && candidate.broker_epoch == entry.epoch);
        let txn = shapes::end_session(&self.keys, entry, candidacy.map(|(lease, _)| *lease));
        let what = txn.what.clone();
        match self.submit(txn).await? {
            Outcome::Applied { revision } => self.visible(revision).await.map(|_| true),
            Outcome::Rejected { revision, .. } => self.visible(revision).await.map(|_| false),
            Outcome::Unknown { why } => {
                let over = |stored: Option<&Stored>| {
                    stored.is_none_or(|stored| stored.create_revision != entry.epoch.get())
                };
                match self.look_back(&Key::BrokerLive(entry.id), over).await {
                    // Whoever ended it: it is over.
                    Some(revision) => self.visible(revision).await.map(|_| true),
                    None => Err(MetadataError::UnknownOutcome { what, why }),
                }
            }
        }
    }
}

const fn has(value: &Record<BrokerLiveValue>, flags: Flags) -> bool {
    value.value.draining == flags.draining && value.value.stopping == flags.stopping
}
