//! Writes down where this broker is reached, after each registration: a broker whose session has ended is still known by it
//! (DescribeCluster with fenced brokers).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Broker;
use crate::metadata::MetadataError;
use crate::types::BrokerId;

/// Pause before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Broker {
    /// Forgets a broker that is not registered.
    ///
    /// # Errors
    /// [`MetadataError::NotFound`], [`MetadataError::Invalid`] while it is alive, or why etcd did not take it.
    pub async fn unregister(&self, id: BrokerId, who: &str) -> Result<(), MetadataError> {
        let revision = self.metadata().forget_broker(id).await?;
        self.audit(who, format!("unregistered broker {id}"), revision);
        Ok(())
    }
}

/// Runs until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut registrations = broker.metadata().registrations();
    loop {
        registrations.borrow_and_update();
        while let Err(cause) = broker.metadata().note_seen().await {
            debug!(%cause, "the address of this broker is not written down yet");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = registrations.changed() => if changed.is_err() { return },
        }
    }
}
