//! Where a seek goes, and what it would change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::cli::client::Cluster;
use crate::cli::exit::{CliError, Outcome};
use crate::cli::topic::start::Start;
use crate::types::Millis;

/// Where to, as exactly one option says.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Destination {
    /// To the first record that is still there
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "N")]
    to_offset: Option<i64>,
    /// To the first record not older than this time ago: 90m, 7d, or PT1H30M
    #[arg(long, value_name = "TIME", value_parser = duration)]
    by_duration: Option<Duration>,
    /// To the first record not older than this: 2026-01-31T12:00:00Z, or @MILLIS
    #[arg(long, value_name = "WHEN", value_parser = datetime)]
    to_datetime: Option<Millis>,
    /// By this many records from where the group is, forward or (negative) back
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
}

/// A duration as people write it, or as `java.time.Duration` does (days, hours, minutes, seconds).
fn duration(text: &str) -> Result<Duration, String> {
    let plain = match text.strip_prefix('P') {
        Some(iso) => iso.replace('T', "").to_ascii_lowercase(),
        None => text.to_owned(),
    };
    humantime::parse_duration(&plain).map_err(|_| "give a duration like 90m, 7d or PT1H30M".to_owned())
}

fn datetime(text: &str) -> Result<Millis, String> {
    match text.parse() {
        Ok(Start::Time(ms)) => Ok(ms),
        _ => Err("give a time like 2026-01-31T12:00:00Z, or @MILLIS".to_owned()),
    }
}

/// What a seek does to one partition, as `-o json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The committed offset, if there is one.
    pub before: Option<i64>,
    /// The one that is to be committed.
    pub after: i64,
    /// The first offset that is still there.
    pub start: i64,
    /// The next to be written.
    pub end: i64,
}

impl Destination {
    /// What to commit in each of `partitions` (all, if empty) of `name`. Offsets outside of the log are moved to its nearer end.
    ///
    /// # Errors
    /// If the topic, a partition or its leader is not there, or there is nothing to shift.
    pub async fn moves(
        &self,
        cluster: &mut Cluster,
        name: &str,
        partitions: &[i32],
        committed: &BTreeMap<i32, i64>,
    ) -> Outcome<Vec<Move>> {
        let topic = cluster.topic(name).await?;
        let starts = Start::Start.resolve(cluster, &topic, partitions).await?;
        let ends = Start::End.resolve(cluster, &topic, partitions).await?;
        let wished = match (self.place(), self.shift_by) {
            (Some(place), _) => place.resolve(cluster, &topic, partitions).await?,
            (None, by) => shifted(name, starts.keys(), committed, by.unwrap_or_default())?,
        };
        Ok(wished
            .into_iter()
            .map(|(partition, offset)| {
                let start = starts.get(&partition).copied().unwrap_or_default();
                let end = ends.get(&partition).copied().unwrap_or(start).max(start);
                let before = committed.get(&partition).copied();
                Move {
                    topic: name.to_owned(),
                    partition,
                    before,
                    after: offset.clamp(start, end),
                    start,
                    end,
                }
            })
            .collect())
    }

    /// The place that does not depend on where the group is.
    fn place(&self) -> Option<Start> {
        let flagged = [(self.to_earliest, Start::Start), (self.to_latest, Start::End)];
        let flagged = flagged.into_iter().find_map(|(given, place)| given.then_some(place));
        flagged
            .or_else(|| self.to_offset.map(Start::Offset))
            .or_else(|| self.by_duration.map(Start::Ago))
            .or_else(|| self.to_datetime.map(Start::Time))
    }
}

fn shifted<'a>(
    topic: &str,
    partitions: impl Iterator<Item = &'a i32>,
    committed: &BTreeMap<i32, i64>,
    by: i64,
) -> Outcome<BTreeMap<i32, i64>> {
    let shift = |partition: &i32| match committed.get(partition) {
        Some(offset) => Ok((*partition, offset.saturating_add(by))),
        None => Err(CliError::failure(format!(
            "the group has no committed offset for {topic}-{partition}: there is nothing to shift"
        ))
        .help(
            "name partitions that it has (--partition N), or give the place: --to-earliest, --to-offset N",
        )),
    };
    partitions.map(shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_and_as_java_write_them() {
        for (text, minutes) in [("90m", 90), ("7d", 7 * 1440), ("PT1H30M", 90), ("P1DT2H", 26 * 60)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(minutes * 60)), "{text}");
        }
        assert!(duration("P").is_err() && duration("soon").is_err());
    }

    #[test]
    fn a_time_is_a_time_and_no_other_place() {
        assert_eq!(datetime("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(datetime("@5"), Ok(5));
        assert!(datetime("start").is_err() && datetime("7").is_err());
    }

    #[test]
    fn only_what_is_committed_can_be_shifted() {
        let committed = BTreeMap::from([(0, 5), (1, 7)]);
        assert_eq!(shifted("t", [0, 1].iter(), &committed, -6).unwrap(), [(0, -1), (1, 1)].into());
        let error = shifted("t", [0, 2].iter(), &committed, 1).unwrap_err();
        assert!(error.cause.contains("t-2"), "{error}");
    }
}
