//! The session's own small file in the state directory: what must be known before etcd is asked.
//!
//! It carries the lease id for a fast restart (rule B7), and the cluster id and highest revision seen (rule E13). It is not synced:
//! rule B7 holds only within one boot of the host, where the page cache survives the process, and a revision that is a little old
//! only finds a smaller rollback later.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::MetadataError;
use crate::sys::small_file;

/// Name of the file.
const FILE_NAME: &str = "etcd-session.json";

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// The cluster this node belongs to.
    pub cluster_id: Option<String>,
    /// The highest revision of etcd that this node has seen.
    pub highest_revision: i64,
    /// The lease of the last registration.
    pub lease: i64,
    /// Device and inode of this file's directory: in a copy of it the lease is not ours (rule B7, N40).
    pub home: (u64, u64),
    /// No producer id below this one may be given out again (rule T11).
    pub producer_ids_end: i64,
}

/// The file and its last known content. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    home: (u64, u64),
    state: Mutex<SessionState>,
}

impl StateFile {
    /// Reads the file in `directory`, which is made if it is not there. An empty file, as a power failure may leave it, counts as none.
    ///
    /// # Errors
    /// [`MetadataError::StateFile`] if it cannot be read or is not ours.
    pub fn open(directory: &Path) -> Result<Self, MetadataError> {
        let path = directory.join(FILE_NAME);
        let failed = |why: String| MetadataError::StateFile { path: path.clone(), why };
        let mut state = match small_file::read_if_present(&path).map_err(|error| failed(error.to_string()))? {
            Some(bytes) if bytes.iter().any(|byte| *byte != 0) => {
                serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?
            }
            _ => SessionState::default(),
        };
        let home = small_file::directory_identity(directory).map_err(|error| failed(error.to_string()))?;
        if state.home != home {
            state.lease = 0;
        }
        Ok(Self(Arc::new(Inner { path, home, state: Mutex::new(state) })))
    }

    /// What is known.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state and replaces the file, if the change changes anything. Blocks on the disk: not for the session's thread.
    ///
    /// # Errors
    /// [`MetadataError::StateFile`]; the state in memory is changed nevertheless.
    pub fn update(&self, change: impl FnOnce(&mut SessionState)) -> Result<(), MetadataError> {
        // Held across the write, so that two writers cannot leave the older state.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        change(&mut state);
        state.home = self.0.home;
        if *state == before {
            return Ok(());
        }
        let failed = |why: String| MetadataError::StateFile { path: self.0.path.clone(), why };
        let bytes = serde_json::to_vec(&*state).map_err(|error| failed(error.to_string()))?;
        small_file::replace_unsynced(&self.0.path, &bytes).map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::open(&directory.path().join("new")).unwrap();
        assert_eq!(file.state(), SessionState::default());
        file.update(|state| state.lease = 7).unwrap();
        let again = StateFile::open(&directory.path().join("new")).unwrap();
        assert_eq!(again.state().lease, 7);
    }

    #[test]
    fn a_copy_of_the_directory_has_no_lease() {
        let directory = tempfile::tempdir().unwrap();
        let (original, copy) = (directory.path().join("a"), directory.path().join("b"));
        let file = StateFile::open(&original).unwrap();
        file.update(|state| (state.lease, state.highest_revision) = (7, 9)).unwrap();
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(original.join(FILE_NAME), copy.join(FILE_NAME)).unwrap();
        let copied = StateFile::open(&copy).unwrap().state();
        assert_eq!((copied.lease, copied.highest_revision), (0, 9));
        assert_eq!(StateFile::open(&original).unwrap().state().lease, 7);
    }

    #[test]
    fn a_torn_file_counts_as_none_and_an_alien_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        small_file::replace_unsynced(&path, &[0; 64]).unwrap();
        assert_eq!(StateFile::open(directory.path()).unwrap().state(), SessionState::default());
        small_file::replace_unsynced(&path, b"not ours").unwrap();
        assert!(matches!(StateFile::open(directory.path()), Err(MetadataError::StateFile { .. })));
    }
}
