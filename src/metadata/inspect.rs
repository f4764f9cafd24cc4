//! The cluster's keys, decoded, for `ketcd meta get|watch`. Reads only; needs no session.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::apply::{self, Change, KeyEvent};
use super::client::Connector;
use super::error::MetadataError;
use super::image::ClusterImage;
use super::keys::{AuditValue, Key, Keys, Record, prefix_end};
use super::options::ConnectionOptions;
use super::watch::load::load;
use super::watch::responses::{Batch, Responses};

/// One key of the cluster as it stands, or as it changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The whole key; bytes that are not UTF-8 are replaced.
    pub key: String,
    /// What the key is, by its family; `None` for a key that this version does not know.
    pub kind: Option<String>,
    /// The value: JSON if it is, else a text; `None` if the key was deleted.
    pub value: Option<Value>,
    /// Revision of the key's creation; 0 if it was deleted.
    pub create_revision: i64,
    /// Revision of the change.
    pub mod_revision: i64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} {} {value}", self.mod_revision, self.key),
            None => write!(f, "{} {} deleted", self.mod_revision, self.key),
        }
    }
}

/// Reads the keys of a cluster.
pub struct Inspector {
    connector: Connector,
    keys: Keys,
}

/// Changes of the cluster's keys, as they happen.
pub struct EntryStream {
    // Keeps the request's half of the stream open.
    _requests: etcd_client::WatchRequestSender,
    responses: Responses,
    keys: Keys,
}

impl Inspector {
    /// An inspector of the cluster with these keys. Connects when first used.
    ///
    /// # Errors
    /// [`MetadataError::InvalidOption`].
    pub fn new(connection: ConnectionOptions, keys: Keys) -> Result<Self, MetadataError> {
        Ok(Self { connector: Connector::new(connection)?, keys })
    }

    /// All keys in key order, and the revision they stand at. `filter`: only keys that hold this text after the prefix.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`] or [`MetadataError::Refused`].
    pub async fn list(&self, filter: &str) -> Result<(Vec<Entry>, i64), MetadataError> {
        let timeout = self.connector.request_timeout();
        let snapshot = load(&self.connector, &self.keys)
            .await
            .map_err(|error| error.into_metadata_error("reading the keys", timeout))?;
        let entries = snapshot.entries.into_iter().map(|event| entry(&self.keys, event));
        let wanted =
            |entry: &Entry| entry.key.get(self.keys.prefix().len()..).is_some_and(|k| k.contains(filter));
        Ok((entries.filter(wanted).collect(), snapshot.revision))
    }

    /// The cluster's metadata as one image, as a broker would see it now, and the audit trail, oldest first.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`] or [`MetadataError::Refused`].
    pub async fn look(&self) -> Result<(ClusterImage, Vec<AuditValue>), MetadataError> {
        let timeout = self.connector.request_timeout();
        let snapshot = load(&self.connector, &self.keys)
            .await
            .map_err(|error| error.into_metadata_error("reading the keys", timeout))?;
        let audit =
            snapshot.entries.iter().filter_map(|event| match (&event.change, self.keys.parse(&event.key)) {
                (Change::Put { value, .. }, Ok(Key::Audit(_))) => Record::<AuditValue>::decode(value).ok(),
                _ => None,
            });
        let audit = audit.map(|record| record.value).collect();
        Ok((apply::from_snapshot(&self.keys, &snapshot.entries, snapshot.revision).image, audit))
    }

    /// Changes from `revision` on.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`] or [`MetadataError::Refused`].
    pub async fn watch(&self, revision: i64) -> Result<EntryStream, MetadataError> {
        let from = self.keys.prefix().as_bytes().to_vec();
        let to = prefix_end(&from);
        let timeout = self.connector.request_timeout();
        let stream = self
            .connector
            .watch(from, to, revision)
            .await
            .map_err(|error| error.into_metadata_error("watching the keys", timeout))?;
        let (requests, responses) = stream.split();
        Ok(EntryStream {
            _requests: requests,
            responses: Responses::new(responses, 0),
            keys: self.keys.clone(),
        })
    }
}

impl EntryStream {
    /// The next changes, of whole revisions.
    ///
    /// # Errors
    /// [`MetadataError::Refused`] when the stream ended or the revision is compacted: list again and watch from there.
    pub async fn next(&mut self) -> Result<Vec<Entry>, MetadataError> {
        let ended = |why: String| MetadataError::Refused { what: "watching the keys".into(), why };
        loop {
            match self.responses.next().await.map_err(ended)? {
                Batch::Compacted | Batch::Behind => return Err(ended("the revision is compacted".into())),
                Batch::Events { events, .. } if events.is_empty() => {}
                Batch::Events { events, .. } => {
                    return Ok(events.into_iter().map(|event| entry(&self.keys, event)).collect());
                }
            }
        }
    }
}

fn entry(keys: &Keys, event: KeyEvent) -> Entry {
    let (value, create_revision) = match event.change {
        Change::Delete => (None, 0),
        Change::Put { value, create_revision } => {
            let text = || Value::String(String::from_utf8_lossy(&value).into_owned());
            (Some(serde_json::from_slice(&value).unwrap_or_else(|_| text())), create_revision)
        }
    };
    Entry {
        kind: keys.parse(&event.key).ok().map(|key| format!("{key:?}")),
        key: String::from_utf8_lossy(&event.key).into_owned(),
        value,
        create_revision,
        mod_revision: event.mod_revision,
    }
}
