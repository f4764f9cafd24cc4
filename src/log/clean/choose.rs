//! Which part of a log may be cleaned, and how much it needs it (Kafka's `LogCleanerManager`, `LogToClean`; KIP-58, KIP-354).
//!
//! Pure: facts in, a verdict out.

use crate::config::TopicConfig;
use crate::types::Millis;

/// A segment, as far as this decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    pub base_offset: i64,
    pub size_bytes: u64,
    /// Largest timestamp; only looked at with `min.compaction.lag.ms`.
    pub largest_timestamp: Millis,
    /// Timestamp of the first batch, -1 if unknown; only looked at with `max.compaction.lag.ms`.
    pub first_timestamp: Millis,
}

/// A log, as far as this decision goes.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// In order, the active one last.
    pub segments: &'a [Fact],
    pub log_start: i64,
    pub log_end: i64,
    /// Above it nothing is decided: high watermark or last stable offset.
    pub stable_end: i64,
    /// What `cleaner-offset-checkpoint` says.
    pub checkpoint: Option<i64>,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The first offset that was never cleaned.
    pub first_dirty: i64,
    /// Base offset of the first segment that must not be cleaned yet.
    pub first_uncleanable: i64,
    /// Bytes before the dirty part.
    pub clean_bytes: u64,
    /// Bytes of the dirty part that may be cleaned.
    pub cleanable_bytes: u64,
    /// `max.compaction.lag.ms` is exceeded.
    pub is_overdue: bool,
    /// The checkpoint is of no use and must be replaced by `first_dirty`.
    pub resets_checkpoint: bool,
    /// Without any change of the log the verdict stays what it is until then.
    pub holds_until: Millis,
}

/// The first offset that was never cleaned, and whether the checkpoint was out of the log's bounds.
pub const fn first_dirty(checkpoint: Option<i64>, log_start: i64, log_end: i64) -> (i64, bool) {
    match checkpoint {
        // What the checkpoint counts as clean was cut off: everything needs cleaning.
        Some(at) if at < log_start || at > log_end => (log_start, true),
        Some(at) => (at, false),
        None => (log_start, false),
    }
}

impl Verdict {
    /// `LogCleanerManager.cleanableOffsets`, `maxCompactionDelay` and `LogToClean`.
    pub fn of(facts: Facts<'_>, config: &TopicConfig, now: Millis) -> Self {
        let Facts { segments, log_start, log_end, stable_end, checkpoint } = facts;
        let (first_dirty, resets_checkpoint) = first_dirty(checkpoint, log_start, log_end);
        let active_base = segments.last().map_or(0, |active| active.base_offset);
        let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let dirty = if active_base < first_dirty { &[] } else { from_floor(sealed, first_dirty) };

        let mut holds_until = Millis::MAX;
        let mut limit = stable_end.min(active_base);
        if config.min_compaction_lag_ms > 0 {
            let before = now.saturating_sub(config.min_compaction_lag_ms);
            if let Some(young) = dirty.iter().find(|segment| segment.largest_timestamp > before) {
                limit = limit.min(young.base_offset);
                holds_until = young.largest_timestamp.saturating_add(config.min_compaction_lag_ms);
            }
        }
        let limit = limit.max(first_dirty);
        let first_uncleanable = from_floor(sealed, limit)
            .first()
            .filter(|_| limit < active_base)
            .map_or(active_base, |s| s.base_offset);

        let oldest = dirty.iter().map(|segment| segment.first_timestamp).filter(|first| *first > 0).min();
        let lag = config.max_compaction_lag_ms.max(0);
        let is_overdue = oldest.is_some_and(|oldest| oldest < now.saturating_sub(lag));
        if let Some(oldest) = oldest.filter(|_| !is_overdue) {
            holds_until = holds_until.min(oldest.saturating_add(lag));
        }

        let sum = |segments: &[Fact]| segments.iter().map(|segment| segment.size_bytes).sum();
        let until =
            |segments: &[Fact], end: i64| segments.partition_point(|segment| segment.base_offset < end);
        let cleanable = from_floor(segments, first_dirty.min(first_uncleanable));
        let cleanable = cleanable.get(..until(cleanable, first_uncleanable)).unwrap_or_default();
        Self {
            first_dirty,
            first_uncleanable,
            clean_bytes: sum(segments.get(..until(segments, first_dirty)).unwrap_or_default()),
            cleanable_bytes: sum(cleanable),
            is_overdue,
            resets_checkpoint,
            holds_until,
        }
    }

    /// The share of bytes that may be cleaned.
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether the log should be cleaned now.
    pub fn is_due(&self, config: &TopicConfig) -> bool {
        self.cleanable_bytes > 0 && (self.is_overdue || self.ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// The segments from the one that has `offset` on.
fn from_floor(segments: &[Fact], offset: i64) -> &[Fact] {
    let at = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
    segments.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::support::config;

    const NOW: Millis = 1_000_000;

    fn segments() -> Vec<Fact> {
        (0..5)
            .map(|i| Fact {
                base_offset: i * 10,
                size_bytes: 100,
                largest_timestamp: NOW - 1000 + i * 100,
                first_timestamp: NOW - 1050 + i * 100,
            })
            .collect()
    }

    fn verdict(stable_end: i64, checkpoint: Option<i64>, config: &TopicConfig) -> Verdict {
        let segments = segments();
        Verdict::of(
            Facts { segments: &segments, log_start: 0, log_end: 45, stable_end, checkpoint },
            config,
            NOW,
        )
    }

    #[test]
    fn the_active_segment_and_what_is_not_committed_stay() {
        let all = verdict(45, None, &config());
        assert_eq!((all.first_dirty, all.first_uncleanable, all.cleanable_bytes), (0, 40, 400));
        let some = verdict(25, None, &config());
        assert_eq!((some.first_uncleanable, some.cleanable_bytes), (20, 200), "whole segments only");
        let none = verdict(5, None, &config());
        assert_eq!((none.first_uncleanable, none.cleanable_bytes), (0, 0));
        assert!(!none.is_due(&config()));
    }

    #[test]
    fn the_ratio_is_of_dirty_bytes_and_must_be_above_the_minimum() {
        let verdict = verdict(45, Some(20), &config());
        assert_eq!((verdict.first_dirty, verdict.clean_bytes, verdict.cleanable_bytes), (20, 200, 200));
        assert!((verdict.ratio() - 0.5).abs() < f64::EPSILON);
        assert!(!verdict.is_due(&config()), "Kafka wants more than the minimum");
        assert!(verdict.is_due(&TopicConfig { min_cleanable_dirty_ratio: 0.49, ..config() }));
    }

    #[test]
    fn young_records_wait_for_their_minimum_lag() {
        let config = TopicConfig { min_compaction_lag_ms: 850, ..config() };
        let verdict = verdict(45, None, &config);
        assert_eq!(verdict.first_uncleanable, 20);
        assert_eq!(verdict.holds_until, NOW - 1000 + 200 + 850);
    }

    #[test]
    fn old_dirty_records_are_cleaned_whatever_the_ratio() {
        let config = TopicConfig { max_compaction_lag_ms: 900, min_cleanable_dirty_ratio: 1.0, ..config() };
        assert!(verdict(45, None, &config).is_due(&config));
        let later = verdict(45, Some(20), &config);
        assert!(!later.is_overdue && !later.is_due(&config));
        assert_eq!(later.holds_until, NOW - 850 + 900);
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_counts_for_nothing() {
        for (checkpoint, expected) in [(Some(46), 0), (Some(45), 45), (Some(0), 0)] {
            let verdict = verdict(45, checkpoint, &config());
            assert_eq!((verdict.first_dirty, verdict.resets_checkpoint), (expected, checkpoint == Some(46)));
        }
        assert_eq!(first_dirty(Some(3), 5, 9), (5, true));
        let caught_up = verdict(45, Some(45), &config());
        assert_eq!((caught_up.cleanable_bytes, caught_up.clean_bytes), (0, 500));
    }
}
