//! `ketcd group lag`: committed offsets against the ends of the partitions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::committed::{Offsets, committed};
use super::coordinator::Groups;
use super::members::{Group, Member, describe, no_such_group};
use crate::cli::client::{Cluster, ConnectArgs};
use crate::cli::exit::Outcome;
use crate::cli::offsets::{At, offsets};
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::protocol::peer::messages::ListGroupsRequest;

/// Options of `ketcd group lag`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd group lag
  ketcd group lag billing --topic orders
  ketcd group lag billing -o json | jq '.[0].lag'

END is the high watermark. A partition without committed offset or without leader has no lag.")]
pub struct LagArgs {
    /// Names of the groups; all if none is named
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Only this topic (repeatable)
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A group's lag, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct GroupLag {
    group: String,
    state: String,
    /// Sum over all partitions that have one.
    lag: i64,
    partitions: Vec<PartitionLag>,
}

/// One partition's, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct PartitionLag {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client: Option<String>,
    host: Option<String>,
}

/// Ends by topic and partition; `None` where no leader says it.
type Ends = BTreeMap<String, BTreeMap<i32, Option<i64>>>;

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: LagArgs) -> Outcome {
    let mut groups = Groups::connect(&args.connect).await?;
    let named = !args.groups.is_empty();
    let names = if named { args.groups.clone() } else { all(&mut groups).await? };
    let mut seen = Vec::new();
    for name in names {
        let mut committed = committed(&mut groups, &name).await?;
        match describe(&mut groups, &name).await? {
            Some(mut group) => {
                let wanted = |topic: &String| args.topic.is_empty() || args.topic.contains(topic);
                committed.retain(|topic, _| wanted(topic));
                for assignment in group.members.iter_mut().filter_map(|m| m.assignment.as_mut()) {
                    assignment.retain(|topic, _| wanted(topic));
                }
                seen.push((group, committed));
            }
            None if named => return Err(no_such_group(&groups, &name)),
            // It went away meanwhile.
            None => {}
        }
    }
    let ends = ends(&mut groups.cluster, &seen).await?;
    let lags: Vec<_> = seen.iter().map(|(group, committed)| lag_of(group, committed, &ends)).collect();
    if args.output.format == Format::Json {
        return output::json(&lags);
    }
    if lags.iter().all(|group| group.partitions.is_empty()) && args.output.format != Format::Plain {
        eprintln!("no committed offsets");
        return Ok(());
    }
    output::text(&page(&lags, args.output.format))
}

/// The names of all groups of consumers, or that have nothing but offsets.
async fn all(groups: &mut Groups) -> Outcome<Vec<String>> {
    let answers = groups.ask_all(|_| ListGroupsRequest::default(), |answer| answer.error_code).await?;
    let names: BTreeSet<String> = answers
        .iter()
        .flat_map(|(_, answer)| &answer.groups)
        .filter(|group| matches!(group.protocol_type.as_str(), "consumer" | ""))
        .map(|group| group.group_id.to_string())
        .collect();
    Ok(names.into_iter().collect())
}

/// The ends of all topics that the groups have to do with.
async fn ends(cluster: &mut Cluster, groups: &[(Group, Offsets)]) -> Outcome<Ends> {
    let assigned = groups.iter().flat_map(|(group, _)| &group.members).filter_map(|m| m.assignment.as_ref());
    let topics: BTreeSet<&str> = groups
        .iter()
        .flat_map(|(_, committed)| committed.keys())
        .chain(assigned.flat_map(BTreeMap::keys))
        .map(String::as_str)
        .collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    let mut ends = Ends::new();
    if topics.is_empty() {
        return Ok(ends);
    }
    cluster.refresh(Some(&topics)).await?;
    for name in topics {
        // A topic may be deleted while its offsets are kept.
        if let Ok(topic) = cluster.known_topic(name) {
            ends.insert(name.to_owned(), offsets(cluster, &topic, At::End).await?);
        }
    }
    Ok(ends)
}

fn lag_of(group: &Group, committed: &Offsets, ends: &Ends) -> GroupLag {
    let mut owners: BTreeMap<(&str, i32), Option<&Member>> = BTreeMap::new();
    for (topic, partitions) in committed {
        owners.extend(partitions.keys().map(|partition| ((topic.as_str(), *partition), None)));
    }
    for member in &group.members {
        for (topic, partitions) in member.assignment.iter().flatten() {
            owners.extend(partitions.iter().map(|partition| ((topic.as_str(), *partition), Some(member))));
        }
    }
    let partitions: Vec<_> = owners
        .into_iter()
        .map(|((topic, partition), owner)| {
            let committed = committed.get(topic).and_then(|offsets| offsets.get(&partition)).copied();
            let end = ends.get(topic).and_then(|ends| ends.get(&partition)).copied().flatten();
            PartitionLag {
                topic: topic.to_owned(),
                partition,
                committed,
                end,
                // A topic made anew may end before the offset.
                lag: committed.zip(end).map(|(committed, end)| end.saturating_sub(committed).max(0)),
                member: owner.map(|member| member.member.clone()),
                client: owner.map(|member| member.client.clone()),
                host: owner.map(|member| member.host.clone()),
            }
        })
        .collect();
    GroupLag {
        group: group.group.clone(),
        state: group.state.clone(),
        lag: partitions.iter().filter_map(|partition| partition.lag).sum(),
        partitions,
    }
}

fn page(groups: &[GroupLag], format: Format) -> String {
    let mut table =
        Table::new(&["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "CONSUMER", "HOST"])
            .wide(&["MEMBER"]);
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    for group in groups {
        for row in &group.partitions {
            table.row(&[
                &group.group,
                &row.topic,
                &row.partition,
                &number(row.committed),
                &number(row.end),
                &number(row.lag),
                &row.client.clone().unwrap_or_default(),
                &row.host.clone().unwrap_or_default(),
                &row.member.clone().unwrap_or_default(),
            ]);
        }
    }
    let mut page = table.render(format);
    if format != Format::Plain {
        let with_offsets = groups.iter().filter(|group| !group.partitions.is_empty());
        let sums: Vec<_> = with_offsets.map(|group| format!("{} {}", group.group, group.lag)).collect();
        page.push_str(&format!("total lag: {}\n", sums.join(", ")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group {
            group: "bill".to_owned(),
            kind: "classic",
            state: "Stable".to_owned(),
            coordinator: None,
            protocol_type: "consumer".to_owned(),
            assignor: "range".to_owned(),
            epoch: None,
            assignment_epoch: None,
            members: vec![Member {
                member: "py-1-uuid".to_owned(),
                instance: None,
                client: "py-1".to_owned(),
                host: "127.0.0.1".to_owned(),
                rack: None,
                epoch: None,
                assignment: Some([("hello".to_owned(), vec![0, 1])].into()),
                target: None,
            }],
        }
    }

    #[test]
    fn lag_is_the_end_less_what_is_committed_and_never_negative() {
        let committed = Offsets::from([
            ("hello".to_owned(), [(0, 120)].into()),
            ("gone".to_owned(), [(3, 5)].into()),
            ("anew".to_owned(), [(0, 9)].into()),
        ]);
        let ends = Ends::from([
            ("hello".to_owned(), [(0, Some(140)), (1, Some(7))].into()),
            ("anew".to_owned(), [(0, Some(2))].into()),
        ]);
        let lag = lag_of(&group(), &committed, &ends);
        assert_eq!(
            page(&[lag], Format::Table),
            "\
GROUP  TOPIC  PARTITION  COMMITTED  END  LAG  CONSUMER  HOST
bill   anew   0          9          2    0    -         -
bill   gone   3          5          -    -    -         -
bill   hello  0          120        140  20   py-1      127.0.0.1
bill   hello  1          -          7    -    py-1      127.0.0.1
total lag: bill 20
"
        );
    }

    #[test]
    fn the_json_of_a_lag_keeps_its_shape() {
        let committed = Offsets::from([("hello".to_owned(), [(0, 1)].into())]);
        let ends = Ends::from([("hello".to_owned(), [(0, Some(3))].into())]);
        let mut group = group();
        group.members.clear();
        assert_eq!(
            serde_json::to_string(&lag_of(&group, &committed, &ends)).unwrap(),
            r#"{"group":"bill","state":"Stable","lag":2,"partitions":[{"topic":"hello","partition":0,"committed":1,"end":3,"lag":2,"member":null,"client":null,"host":null}]}"#
        );
    }
}
