//! Where in a topic: start, end, an offset, a time, the last N records.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::cli::client::Cluster;
use crate::cli::exit::{CliError, Outcome};
use crate::cli::offsets::{At, offsets};
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::types::{Clock, Millis};

/// A place in every partition of a topic, as `--from` and `--before` take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// `start`: the first record that is still there.
    Start,
    /// `end`: after the last one.
    End,
    /// A number: that offset.
    Offset(i64),
    /// A negative number: that many records before the end of each partition.
    Last(i64),
    /// `@MILLIS` or an RFC 3339 time: the first record that is not older.
    Time(Millis),
    /// A duration such as `10m`: the first record that is not older than that.
    Ago(Duration),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" | "beginning" | "earliest" => return Ok(Self::Start),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(ms) = text.strip_prefix('@') {
            return ms.parse().map(Self::Time).map_err(|_| format!("{ms:?} is not a number of milliseconds"));
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(if number < 0 { Self::Last(number.saturating_neg()) } else { Self::Offset(number) });
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            return Ok(Self::Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)));
        }
        humantime::parse_duration(text).map(Self::Ago).map_err(|_| {
            "give start, end, OFFSET, -N (the last N), @MILLIS, a time like 2026-01-31T12:00:00Z, or an age like 10m"
                .to_owned()
        })
    }
}

impl Start {
    /// The offset in each of `partitions` (all, if empty) that has a leader.
    ///
    /// # Errors
    /// If a partition does not exist or has no leader, or a leader cannot be asked.
    pub async fn resolve(
        self,
        cluster: &mut Cluster,
        topic: &MetadataResponseTopic,
        partitions: &[i32],
    ) -> Outcome<BTreeMap<i32, i64>> {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        for wanted in partitions {
            match topic.partitions.iter().find(|partition| partition.partition_index == *wanted) {
                Some(partition) if partition.leader_id.0 >= 0 => {}
                Some(_) => return Err(CliError::failure(format!("{name}-{wanted} has no leader now"))),
                None => {
                    let highest = topic.partitions.len().saturating_sub(1);
                    return Err(CliError::failure(format!("topic {name:?} has no partition {wanted}"))
                        .help(format!("its partitions are 0 to {highest}")));
                }
            }
        }
        let mut found = self.everywhere(cluster, topic).await?;
        found.retain(|partition, _| partitions.is_empty() || partitions.contains(partition));
        Ok(found)
    }

    async fn everywhere(
        self,
        cluster: &mut Cluster,
        topic: &MetadataResponseTopic,
    ) -> Outcome<BTreeMap<i32, i64>> {
        let flat = |offsets: BTreeMap<i32, Option<i64>>| {
            offsets.into_iter().map(|(partition, offset)| (partition, offset.unwrap_or(0))).collect()
        };
        match self {
            Self::Start => Ok(flat(offsets(cluster, topic, At::Start).await?)),
            Self::End => Ok(flat(offsets(cluster, topic, At::End).await?)),
            Self::Offset(offset) => {
                let all = topic.partitions.iter().filter(|partition| partition.leader_id.0 >= 0);
                Ok(all.map(|partition| (partition.partition_index, offset)).collect())
            }
            Self::Last(count) => {
                let starts = offsets(cluster, topic, At::Start).await?;
                let ends: BTreeMap<i32, i64> = flat(offsets(cluster, topic, At::End).await?);
                let start_of = |partition: i32| starts.get(&partition).copied().flatten().unwrap_or(0);
                Ok(ends.into_iter().map(|(p, end)| (p, end.saturating_sub(count).max(start_of(p)))).collect())
            }
            Self::Time(ms) => time(cluster, topic, ms).await,
            Self::Ago(age) => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                time(cluster, topic, Clock::system().now_ms().saturating_sub(age_ms)).await
            }
        }
    }
}

/// The first record not older than `ms`, or the end where there is none.
async fn time(
    cluster: &mut Cluster,
    topic: &MetadataResponseTopic,
    ms: Millis,
) -> Outcome<BTreeMap<i32, i64>> {
    let found = offsets(cluster, topic, At::Time(ms.max(0))).await?;
    let ends = offsets(cluster, topic, At::End).await?;
    Ok(found
        .into_iter()
        .map(|(partition, offset)| {
            let end = ends.get(&partition).copied().flatten().unwrap_or(0);
            (partition, offset.unwrap_or(end))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_where_is_understood() {
        for (text, meaning) in [
            ("start", Start::Start),
            ("end", Start::End),
            ("12", Start::Offset(12)),
            ("-5", Start::Last(5)),
            ("@1700000000000", Start::Time(1_700_000_000_000)),
            ("2023-11-14T22:13:20Z", Start::Time(1_700_000_000_000)),
            ("10m", Start::Ago(Duration::from_secs(600))),
        ] {
            assert_eq!(text.parse::<Start>(), Ok(meaning), "{text}");
        }
        assert!("soon".parse::<Start>().unwrap_err().contains("@MILLIS"));
        assert!("@x".parse::<Start>().is_err());
    }
}
