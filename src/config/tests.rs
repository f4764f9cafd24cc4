//! What every test of this room needs.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// Options without a file and with an empty environment, on a machine called `host` with 1 GiB of memory.
pub(super) fn options(mode: Mode) -> LoadOptions {
    LoadOptions {
        mode,
        file: None,
        env: BTreeMap::new(),
        flags: Vec::new(),
        set: Vec::new(),
        read: files(&[]),
    }
}

/// A machine with these files.
pub(super) fn files(more: &[(&str, &str)]) -> ReadText {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    files.insert("/proc/sys/kernel/hostname".into(), "host\n".into());
    files.insert("/sys/fs/cgroup/memory.max".into(), "1073741824\n".into());
    files.extend(more.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())));
    Arc::new(move |path: &Path| {
        files.get(path).cloned().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
    })
}

/// Loads `text` as the file `name`.
pub(super) fn load_file(mut options: LoadOptions, name: &str, text: &str) -> Result<Config, ConfigErrors> {
    options.file = Some(name.into());
    options.read = files(&[(name, text)]);
    load(&options)
}

mod compose;
mod good;
mod reports;
