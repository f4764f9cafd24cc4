//! A cleaned segment takes the place of those it was made of (rule S11, KAFKA-6264, scenario N39).
//!
//! The steps, and what a start finds after a crash at each:
//!
//! 1. `.log.cleaned` is written and synced, then `.index.cleaned` and `.timeindex.cleaned`. *Before here: the cleaned files are removed.*
//! 2. They become `.index.swap`, `.timeindex.swap` and, last, `.log.swap`; the directory is synced. *From `.log.swap` on the swap counts.*
//! 3. The files of the old segments become `.deleted`. *A start removes those that lie within the swapped segment.*
//! 4. The `.swap` files get their final names, `.log` last; the directory is synced.
//!
//! A crash between 3 and 4 may leave an old segment that lies after the last record of the new one: its records come back, and the next
//! cleaning takes them, as Kafka's `LogLoader` has it. Readers keep the maps of the old files (rule S3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::handle::Log;
use crate::log::names::{DELETED_SUFFIX, SegmentFile};
use crate::log::open::remove_files;
use crate::log::scan::{ScanOptions, scan};
use crate::log::segment::Segment;
use crate::log::slot::State;
use crate::log::storage::write_lock;
use crate::types::LeaderEpoch;

use super::Stopped;
use super::target::Finished;

/// End of the name of a file that a cleaning writes.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// End of the name of a file that is about to take another's place.
pub const SWAP_SUFFIX: &str = ".swap";

/// The files of a cleaned segment, the one that decides last.
const FILES: [SegmentFile; 3] = [SegmentFile::Index, SegmentFile::TimeIndex, SegmentFile::Log];

/// Puts `cleaned` in the place of `sources`, which stand side by side in the log. Runs with the log's slot in hand.
pub fn swap(
    log: &Arc<Log>,
    state: &mut State,
    sources: &[Arc<Segment>],
    cleaned: &Finished,
) -> Result<Arc<Segment>, Stopped> {
    log.writer(state)?;
    let Some((before, after)) = surroundings(log, sources) else {
        discard(log, cleaned.base_offset);
        return Err(Stopped::Aborted);
    };
    if let Err(error) = prepare(log, cleaned) {
        discard(log, cleaned.base_offset);
        return Err(log.home.write_error("cleaning", error).into());
    }
    match commit(log, sources, cleaned, before, after) {
        Ok(segment) => Ok(segment),
        Err(error) => {
            // The swap counts, but is not carried out: opening the log does that.
            let unusable = log.home.write_error("swap of a cleaned segment", error);
            *state = State::Gone(unusable.clone());
            log.set_segments(None);
            Err(unusable.into())
        }
    }
}

type Segments = Vec<Arc<Segment>>;

/// The segments before and after `sources`; `None` if the log has them no more.
fn surroundings(log: &Log, sources: &[Arc<Segment>]) -> Option<(Segments, Segments)> {
    let all = log.segments()?;
    let first = sources.first()?;
    let at = all.partition_point(|segment| segment.base_offset() < first.base_offset());
    let (before, rest) = all.split_at_checked(at)?;
    let (mine, after) = rest.split_at_checked(sources.len())?;
    let is_same = mine.iter().zip(sources).all(|(a, b)| Arc::ptr_eq(a, b));
    // The active segment comes after.
    (is_same && !after.is_empty()).then(|| (before.to_vec(), after.to_vec()))
}

/// Steps 1 and 2, up to the rename that decides.
fn prepare(log: &Log, cleaned: &Finished) -> std::io::Result<()> {
    let volume = &log.home.volume;
    let directory = log.directory();
    let path = |kind: SegmentFile| kind.path(&directory, cleaned.base_offset);
    for (kind, bytes) in [(SegmentFile::Index, &cleaned.index), (SegmentFile::TimeIndex, &cleaned.times)] {
        volume.write_rebuildable(&format!("{}{CLEANED_SUFFIX}", path(kind)), bytes)?;
    }
    for kind in FILES {
        let path = path(kind);
        volume.rename(&format!("{path}{CLEANED_SUFFIX}"), &format!("{path}{SWAP_SUFFIX}"))?;
    }
    Ok(())
}

/// The rest. An error leaves it to the next opening of the log.
fn commit(
    log: &Arc<Log>,
    sources: &[Arc<Segment>],
    cleaned: &Finished,
    before: Segments,
    after: Segments,
) -> std::io::Result<Arc<Segment>> {
    let volume = &log.home.volume;
    let directory = log.directory();
    // ORDER: the swap is on the disk before anything of the old goes.
    volume.sync_directory(&directory)?;
    let end_offset = sources.last().map_or(cleaned.base_offset, |last| last.end_offset());
    let segment = Arc::new(Segment::sealed(cleaned.base_offset, cleaned.size_bytes, end_offset));
    segment.set_largest_timestamp(cleaned.largest_timestamp);
    {
        // Nobody opens files by these names meanwhile: they would get the bytes of another segment.
        let _alone = write_lock(&log.swapping);
        for source in sources {
            source.set_replaced();
            // The producers as of the first segment's beginning are still what they were.
            let kinds =
                if source.base_offset() == cleaned.base_offset { &FILES[..] } else { &SegmentFile::ALL[..] };
            remove_files(log, source.base_offset(), kinds)?;
        }
        for kind in FILES {
            let path = kind.path(&directory, cleaned.base_offset);
            volume.rename(&format!("{path}{SWAP_SUFFIX}"), &path)?;
        }
        let all = before.into_iter().chain([Arc::clone(&segment)]).chain(after);
        log.set_segments(Some(all.collect()));
    }
    let old: u64 = sources.iter().map(|source| u64::from(source.size_bytes())).sum();
    log.size_bytes.fetch_add(u64::from(cleaned.size_bytes), Ordering::Relaxed);
    log.size_bytes.fetch_sub(old, Ordering::Relaxed);
    log.note_first_timestamp();
    volume.sync_directory(&directory)?;
    Ok(segment)
}

/// Removes what a cleaning wrote and will not use. Runs with the log's slot in hand.
pub fn discard(log: &Log, base_offset: i64) {
    if log.home.stopped.load(Ordering::Acquire) {
        // The next opening does it; another process may have the directory by now.
        return;
    }
    for kind in FILES {
        let path = kind.path(&log.directory(), base_offset);
        for suffix in [CLEANED_SUFFIX, SWAP_SUFFIX] {
            if let Err(error) = log.home.volume.remove_file(&format!("{path}{suffix}")) {
                tracing::debug!(partition = %log.partition(), %error, "a cleaned file cannot be removed; the next opening does it");
            }
        }
    }
}

/// Carries out the swaps that a crash interrupted, and removes what came not so far. Before the files of a log are looked at.
///
/// # Errors
/// What the system says.
pub fn settle(log: &Log) -> std::io::Result<()> {
    let directory = log.directory();
    let volume = &log.home.volume;
    let names: Vec<String> = match volume.list(&directory)? {
        Some(entries) => entries.into_iter().map(|entry| entry.name).collect(),
        None => return Ok(()),
    };
    let unsettled = |name: &&String| name.ends_with(CLEANED_SUFFIX) || name.ends_with(SWAP_SUFFIX);
    if !names.iter().any(|name| unsettled(&name)) {
        return Ok(());
    }
    let mut bases: Vec<i64> = names
        .iter()
        .filter_map(|name| SegmentFile::Log.base_offset(name.strip_suffix(SWAP_SUFFIX)?))
        .collect();
    bases.sort_unstable();
    for base in &bases {
        finish_swap(log, *base, &names)?;
    }
    let is_swapped = |name: &str| {
        name.strip_suffix(SWAP_SUFFIX).is_some_and(|name| {
            FILES.iter().filter_map(|kind| kind.base_offset(name)).any(|at| bases.contains(&at))
        })
    };
    for name in names.iter().filter(unsettled).filter(|name| !is_swapped(name)) {
        volume.remove_file(&format!("{directory}/{name}"))?;
    }
    tracing::info!(partition = %log.partition(), swapped = bases.len(), "an interrupted cleaning is settled");
    volume.sync_directory(&directory)
}

fn finish_swap(log: &Log, base: i64, names: &[String]) -> std::io::Result<()> {
    let directory = log.directory();
    let volume = &log.home.volume;
    let path = format!("{}{SWAP_SUFFIX}", SegmentFile::Log.path(&directory, base));
    let file = volume.open_file(&path)?;
    let map = file.map(usize::try_from(file.size()?).unwrap_or(usize::MAX))?;
    let options = ScanOptions {
        base_offset: base,
        verify_from: i64::MAX,
        epoch: LeaderEpoch(-1),
        gaps: true,
        interval_bytes: u32::MAX,
    };
    let end = scan(&map, options, |_| {})?.end_offset;
    for name in names.iter().filter(|name| !name.ends_with(DELETED_SUFFIX)) {
        let within = SegmentFile::ALL.iter().find_map(|kind| kind.base_offset(name));
        if within.is_some_and(|at| at > base && at < end) {
            volume.remove_file(&format!("{directory}/{name}"))?;
        }
    }
    for kind in FILES {
        let path = kind.path(&directory, base);
        match volume.rename(&format!("{path}{SWAP_SUFFIX}"), &path) {
            // It has its final name already.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}
