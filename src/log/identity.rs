//! Who a log directory belongs to, and whether its last run lost anything: meta.properties, the clean shutdown marker, the proof of the
//! last run (rules B1, B2, B4).

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sys::{Volume, host, small_file};
use crate::types::{BrokerId, TopicPartition, random};

use super::checkpoint::{self, MetaProperties};
use super::ends::{LogEnd, LogEnds};
use super::error::OpenError;
use super::names::{CLEAN_SHUTDOWN, ENDS_CHECKPOINT, META_PROPERTIES, RUN_PROOF};

/// What a run leaves behind to tell the next one that the page cache still has everything: same boot, same device, the same directory
/// and not a copy of it (N40), no I/O error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunProof {
    pub node_id: i32,
    pub boot_id: String,
    pub device_id: u64,
    #[serde(default)]
    pub directory_inode: u64,
    /// [`NONE_SEEN`], or the first error.
    pub io_errors: String,
    /// Lifetimes of the broker since any of which nothing was lost here: the last one that registered is among them, or this
    /// directory missed a lifetime (a stale disk) and proves nothing.
    #[serde(default)]
    pub lifetimes: Vec<Uuid>,
}

/// Starts that end before they register leave one lifetime each; beyond this many the oldest is not vouched for any more.
const LIFETIMES_MAX: usize = 16;

/// Says that a run saw no I/O error; anything else, or nothing, is no proof.
pub(super) const NONE_SEEN: &str = "none seen";

/// What a directory says of itself.
pub(super) struct Identity {
    pub meta: MetaProperties,
    /// Whether the directory is new: it has nothing that was ever acknowledged (rule B4).
    pub is_new: bool,
}

/// Reads `meta.properties`, or writes a new one with a new directory id.
pub(super) fn identify(
    volume: &Volume,
    node_id: BrokerId,
    cluster_id: Option<&str>,
) -> Result<Identity, OpenError> {
    let path = volume.root().join(META_PROPERTIES);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let Some(bytes) = volume.read(META_PROPERTIES).map_err(failed)? else {
        let meta = MetaProperties {
            node_id: node_id.get(),
            cluster_id: cluster_id.map(str::to_owned),
            directory_id: random::uuid(),
        };
        volume.write_atomically(META_PROPERTIES, meta.encode().as_bytes()).map_err(failed)?;
        return Ok(Identity { meta, is_new: true });
    };
    let mut meta = MetaProperties::decode(&bytes)
        .map_err(|reason| OpenError::BadMetaProperties { path: path.clone(), reason })?;
    let mismatch = |key, found: String, expected: String| {
        Err(OpenError::Mismatch { directory: volume.root().to_owned(), key, found, expected })
    };
    if meta.node_id != node_id.get() {
        return mismatch("node.id", meta.node_id.to_string(), node_id.to_string());
    }
    match (&meta.cluster_id, cluster_id) {
        (Some(found), Some(expected)) if found != expected => {
            return mismatch("cluster.id", found.clone(), expected.to_owned());
        }
        (None, Some(expected)) => {
            meta.cluster_id = Some(expected.to_owned());
            volume.write_atomically(META_PROPERTIES, meta.encode().as_bytes()).map_err(failed)?;
        }
        _ => {}
    }
    Ok(Identity { meta, is_new: false })
}

/// Takes the clean shutdown marker away, durably, and gives the exact ends that it vouches for: `None` if the last run did not end in
/// order, or the marker is not this directory's (rules B1, B2).
pub(super) fn take_clean_ends(
    volume: &Volume,
    directory_id: Uuid,
) -> io::Result<Option<HashMap<TopicPartition, LogEnd>>> {
    let marker = volume.read(CLEAN_SHUTDOWN)?;
    let ends = volume.read(ENDS_CHECKPOINT)?;
    if marker.is_some() || ends.is_some() {
        // ORDER: gone for good before the first write of this run.
        volume.remove_file(CLEAN_SHUTDOWN)?;
        volume.remove_file(ENDS_CHECKPOINT)?;
        volume.sync_directory("")?;
    }
    let Some(marked) = marker.as_deref().and_then(checkpoint::decode_clean_shutdown) else { return Ok(None) };
    let ends = ends.and_then(|bytes| LogEnds::decode(&bytes, directory_id));
    let Some(ends) = ends.filter(|ends| ends.broker_epoch == marked) else {
        tracing::warn!(directory = %volume.root().display(), "clean shutdown marker without matching ends; recovering all logs");
        return Ok(None);
    };
    let by_partition = |end: LogEnd| end.partition().map(|partition| (partition, end));
    Ok(Some(ends.logs.into_iter().filter_map(by_partition).collect()))
}

/// Writes the exact ends and, last of all, the clean shutdown marker.
pub(super) fn leave_clean_ends(volume: &Volume, ends: &LogEnds) -> io::Result<()> {
    // ORDER: the marker vouches for all that is on the disk before it (rule B1).
    volume.write_atomically(ENDS_CHECKPOINT, &ends.encode())?;
    volume.write_atomically(CLEAN_SHUTDOWN, checkpoint::encode_clean_shutdown(ends.broker_epoch).as_bytes())
}

/// What this run would prove if it ended now.
pub(super) fn proof_of_this_run(
    volume: &Volume,
    node_id: BrokerId,
    io_errors: &str,
    lifetimes: &[Uuid],
) -> io::Result<RunProof> {
    Ok(RunProof {
        node_id: node_id.get(),
        boot_id: host::boot_id()?,
        device_id: volume.device_id()?,
        directory_inode: volume.directory_inode()?,
        io_errors: io_errors.to_owned(),
        lifetimes: lifetimes.iter().rev().take(LIFETIMES_MAX).rev().copied().collect(),
    })
}

/// What the proof of the last run says.
#[derive(Debug, Default)]
pub(super) struct LastRun {
    /// Nothing was lost, even if the run did not end in order.
    pub lost_nothing: bool,
    /// The lifetimes that it vouches for, if nothing was lost.
    pub lifetimes: Vec<Uuid>,
}

/// Reads the proof of the last run.
pub(super) fn last_run(volume: &Volume, node_id: BrokerId) -> LastRun {
    let read = || -> io::Result<LastRun> {
        let Some(bytes) = volume.read(RUN_PROOF)? else { return Ok(LastRun::default()) };
        let proof: RunProof = serde_json::from_slice(&bytes)?;
        let holds = proof_of_this_run(volume, node_id, NONE_SEEN, &proof.lifetimes)?;
        Ok(LastRun { lost_nothing: proof == holds, lifetimes: proof.lifetimes })
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(directory = %volume.root().display(), %error, "the proof of the last run cannot be read");
        LastRun::default()
    })
}

/// The broker that a directory belongs to; `None` if it is new.
///
/// # Errors
/// [`OpenError::Io`], [`OpenError::BadMetaProperties`].
pub(super) fn node_id_in(directory: &Path) -> Result<Option<BrokerId>, OpenError> {
    let path = directory.join(META_PROPERTIES);
    let bytes =
        small_file::read_if_present(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    let decoded = bytes.map(|bytes| MetaProperties::decode(&bytes)).transpose();
    let meta = decoded.map_err(|reason| OpenError::BadMetaProperties { path, reason })?;
    Ok(meta.map(|meta| BrokerId(meta.node_id)))
}

/// Has the proof on the disk.
pub(super) fn write_proof(volume: &Volume, proof: &RunProof) -> io::Result<()> {
    volume.write_atomically(RUN_PROOF, &serde_json::to_vec(proof)?)
}

/// Takes the proof away, durably: data was lost, and until the broker has registered so, no start may claim otherwise (N45).
pub(super) fn remove_proof(volume: &Volume) -> io::Result<()> {
    volume.remove_file(RUN_PROOF)?;
    volume.sync_directory("")
}
