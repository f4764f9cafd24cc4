//! A line of a transcript, as what it asks of the world.
//!
//! Arguments are `key=value` without spaces; what is not given has the default that stands here. Lists are separated by commas, lists in
//! lists by `+`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::world::{World, subscription, topic_id};
use crate::coordinator::group::command::{
    Command, CommitPartition, CommitTopic, ConsumerHeartbeat, Heartbeat, JoinGroup, LeaveGroup, Leaver, Name,
    OffsetCommit, OffsetDelete, OffsetFetch, PartitionsById, PartitionsByName, Protocol, SyncGroup,
};
use crate::coordinator::group::settings::{Bounded, GroupSettings, MigrationPolicy};
use crate::protocol::consumer_protocol::encode_assignment;

/// Does what `line` says. Errors say what is wrong with the line.
pub(super) fn perform(world: &mut World, line: &str) -> Result<Vec<String>, String> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    if let Some(label) = first.strip_suffix('>') {
        let what = words.next().ok_or("nothing is asked")?;
        let arguments = Arguments::read(words)?;
        let command = command(world, label, what, &arguments)?;
        arguments.all_used()?;
        return Ok(world.ask(label, command));
    }
    match first {
        "at" => {
            let time = words.next().and_then(|word| word.strip_suffix("ms")).ok_or("at <n>ms")?;
            Ok(world.advance(number(time)?))
        }
        "set" => {
            let arguments = Arguments::read(words)?;
            set(&mut world.settings, &arguments)?;
            arguments.all_used()?;
            Ok(Vec::new())
        }
        "topics" => {
            let mut topics = Vec::new();
            for word in words {
                let (name, partitions) = word.split_once('=').ok_or("topics <name>=<partitions>")?;
                topics.push((name, number(partitions)?));
            }
            Ok(world.set_topics(&topics))
        }
        "reload" => Ok(world.reload()),
        other => Err(format!("what is {other:?}?")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// `key=value` words; each must be used.
struct Arguments<'a>(RefCell<BTreeMap<&'a str, &'a str>>);

impl<'a> Arguments<'a> {
    fn read(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut known = BTreeMap::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} has no ="))?;
            known.insert(key, value);
        }
        Ok(Self(RefCell::new(known)))
    }

    fn all_used(&self) -> Result<(), String> {
        let left = self.0.borrow();
        if left.is_empty() { Ok(()) } else { Err(format!("nobody knows {:?}", left.keys())) }
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.borrow_mut().remove(key)
    }

    fn text(&self, key: &str, default: &str) -> Name {
        self.get(key).unwrap_or(default).into()
    }

    fn name(&self, key: &str) -> Option<Name> {
        self.get(key).map(Name::from)
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, String> {
        self.get(key).map_or(Ok(default), number)
    }

    fn list(&self, key: &str) -> Vec<&'a str> {
        self.get(key).map(list).unwrap_or_default()
    }
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|word| !word.is_empty()).collect()
}

fn set(settings: &mut GroupSettings, arguments: &Arguments<'_>) -> Result<(), String> {
    let delay_ms = settings.initial_rebalance_delay_ms;
    settings.initial_rebalance_delay_ms = arguments.number("initial_rebalance_delay_ms", delay_ms)?;
    settings.max_size = arguments.number("max_size", settings.max_size)?;
    settings.consumer_max_size = arguments.number("consumer_max_size", settings.consumer_max_size)?;
    settings.offset_metadata_max_bytes =
        arguments.number("offset_metadata_max_bytes", settings.offset_metadata_max_bytes)?;
    settings.offsets_retention_ms =
        arguments.number("offsets_retention_ms", settings.offsets_retention_ms)?;
    let every_ms = settings.offsets_retention_check_interval_ms;
    settings.offsets_retention_check_interval_ms =
        arguments.number("offsets_retention_check_interval_ms", every_ms)?;
    for (key, bounded) in [
        ("consumer_session_timeout_ms", &mut settings.consumer_session_timeout_ms),
        ("consumer_heartbeat_interval_ms", &mut settings.consumer_heartbeat_interval_ms),
        ("consumer_assignment_interval_ms", &mut settings.consumer_assignment_interval_ms),
    ] {
        let default = arguments.number(key, bounded.default)?;
        *bounded = Bounded { default, ..*bounded };
    }
    if let Some(assignors) = arguments.get("consumer_assignors") {
        settings.consumer_assignors = list(assignors).into_iter().map(Name::from).collect();
    }
    if let Some(policy) = arguments.get("consumer_migration_policy") {
        settings.consumer_migration_policy = match policy {
            "disabled" => MigrationPolicy::Disabled,
            "downgrade" => MigrationPolicy::Downgrade,
            "upgrade" => MigrationPolicy::Upgrade,
            "bidirectional" => MigrationPolicy::Bidirectional,
            other => return Err(format!("what is {other:?}?")),
        };
    }
    Ok(())
}

fn command(world: &mut World, label: &str, what: &str, of: &Arguments<'_>) -> Result<Command, String> {
    let group = of.text("group", "g");
    Ok(match what {
        "join" => join(world, group, label, of)?,
        "sync" => Command::Sync(SyncGroup {
            group,
            generation: of.number("generation", 1)?,
            member: of.text("member", ""),
            instance: of.name("instance"),
            protocol_type: of.name("type"),
            protocol: of.name("protocol"),
            assignments: of.list("assign").into_iter().map(pair).collect(),
        }),
        "heartbeat" => Command::Heartbeat(Heartbeat {
            group,
            generation: of.number("generation", 1)?,
            member: of.text("member", ""),
            instance: of.name("instance"),
        }),
        "leave" => {
            let reason = of.name("reason");
            // `member`, `@instance` or `member@instance`.
            let leaver = |word: &str| {
                let (member, instance) = word.split_once('@').map_or((word, None), |(m, i)| (m, Some(i)));
                Leaver { member: member.into(), instance: instance.map(Name::from), reason: reason.clone() }
            };
            Command::Leave(LeaveGroup {
                group,
                members: of.list("members").into_iter().map(leaver).collect(),
            })
        }
        "consumer-heartbeat" => consumer_heartbeat(world, group, label, of)?,
        "commit" => Command::CommitOffsets(OffsetCommit {
            group,
            member: of.text("member", ""),
            instance: of.name("instance"),
            generation: of.number("generation", -1)?,
            retention_ms: of.get("retention").map(number).transpose()?,
            knows_stale_epoch: of.number("version", 9)? >= 9,
            topics: commits(of)?,
        }),
        "fetch" => Command::FetchOffsets(OffsetFetch {
            group,
            member: of.name("member"),
            epoch: of.number("epoch", -1)?,
            topics: of.get("offsets").map(partitions).transpose()?,
            require_stable: of.number("stable", false)?,
        }),
        "delete-offsets" => {
            let topics = of.get("offsets").map(partitions).transpose()?.unwrap_or_default();
            Command::DeleteOffsets(OffsetDelete { group, topics })
        }
        "list" => Command::List,
        "describe" => Command::DescribeClassic(group),
        "describe-consumer" => Command::DescribeConsumer(group),
        "delete" => Command::DeleteGroup(group),
        other => return Err(format!("what is {other:?}?")),
    })
}

/// `protocols=range:orders+payments,sticky:orders`: for type `consumer` the topics of a subscription, else the metadata itself.
fn join(world: &mut World, group: Name, label: &str, of: &Arguments<'_>) -> Result<Command, String> {
    let version: i16 = of.number("version", 9)?;
    let protocol_type = of.text("type", "consumer");
    let instance = of.name("instance");
    let client_id = of.text("client", label);
    let fresh_member = world.fresh_member(instance.as_ref().unwrap_or(&client_id));
    let protocols = list(of.get("protocols").unwrap_or("range:orders"));
    let protocols = protocols.into_iter().map(|word| {
        let (name, metadata) = word.split_once(':').unwrap_or((word, ""));
        Protocol { name: name.into(), metadata: metadata_of(&protocol_type, metadata) }
    });
    Ok(Command::Join(JoinGroup {
        group,
        member: of.text("member", ""),
        protocols: protocols.collect(),
        instance,
        client_id,
        client_host: of.text("host", "/127.0.0.1"),
        protocol_type,
        session_timeout_ms: of.number("session", 10_000)?,
        rebalance_timeout_ms: of.number("rebalance", 60_000)?,
        reason: of.name("reason"),
        fresh_member,
        must_know_member: version >= 4,
        can_skip_assignment: version >= 9,
    }))
}

fn metadata_of(protocol_type: &str, text: &str) -> Bytes {
    if protocol_type == "consumer" && !text.starts_with('!') {
        subscription(&text.split('+').filter(|topic| !topic.is_empty()).collect::<Vec<_>>())
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}

/// `topics=` subscribes nothing, without it the subscription is as before; so with `owned=orders:0+1,payments:2`.
fn consumer_heartbeat(
    world: &mut World,
    group: Name,
    label: &str,
    of: &Arguments<'_>,
) -> Result<Command, String> {
    let client_id = of.text("client", label);
    let fresh_member = world.fresh_member(&client_id);
    Ok(Command::ConsumerHeartbeat(ConsumerHeartbeat {
        group,
        member: of.text("member", label),
        epoch: of.number("epoch", 0)?,
        instance: of.name("instance"),
        rack: of.name("rack"),
        rebalance_timeout_ms: of.number("rebalance", -1)?,
        topic_names: of.get("topics").map(|topics| list(topics).into_iter().map(Name::from).collect()),
        topic_regex: of.name("regex"),
        server_assignor: of.name("assignor"),
        owned: of.get("owned").map(owned).transpose()?,
        client_id,
        client_host: of.text("host", "/127.0.0.1"),
        fresh_member,
    }))
}

fn owned(text: &str) -> Result<PartitionsById, String> {
    let mut owned = Vec::new();
    for word in list(text) {
        let (topic, indexes) = word.split_once(':').ok_or("owned=<topic>:<n>+<n>")?;
        owned.push((topic_id(topic), indexes.split('+').map(number).collect::<Result<_, _>>()?));
    }
    Ok(owned)
}

/// `offsets=orders/0:42,orders/1:7`, with `metadata=` and `leader_epoch=` for all of them.
fn commits(of: &Arguments<'_>) -> Result<Vec<CommitTopic>, String> {
    let metadata = of.text("metadata", "");
    let leader_epoch = of.number("leader_epoch", -1)?;
    let mut topics: BTreeMap<&str, Vec<CommitPartition>> = BTreeMap::new();
    for word in of.list("offsets") {
        let (place, offset) = word.rsplit_once(':').ok_or("offsets=<topic>/<n>:<offset>")?;
        let (topic, index) = place.rsplit_once('/').ok_or("offsets=<topic>/<n>:<offset>")?;
        let (index, offset) = (number(index)?, number(offset)?);
        let commit = CommitPartition { index, offset, leader_epoch, metadata: metadata.clone() };
        topics.entry(topic).or_default().push(commit);
    }
    let topic =
        |(name, partitions): (&str, _)| CommitTopic { name: name.into(), id: topic_id(name), partitions };
    Ok(topics.into_iter().map(topic).collect())
}

/// `offsets=orders/0,orders/1`.
fn partitions(text: &str) -> Result<PartitionsByName, String> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for word in list(text) {
        let (topic, index) = word.rsplit_once('/').ok_or("offsets=<topic>/<n>")?;
        topics.entry(topic).or_default().push(number(index)?);
    }
    Ok(topics.into_iter().map(|(name, indexes)| (name.into(), indexes)).collect())
}

/// `alice-1:p0+p1`: member and opaque assignment; `alice-1:!orders/0+1;payments/0`: a `ConsumerProtocolAssignment`.
fn pair(word: &str) -> (Name, Bytes) {
    let (member, assignment) = word.split_once(':').unwrap_or((word, ""));
    let bytes = match assignment.strip_prefix('!') {
        None => Bytes::copy_from_slice(assignment.as_bytes()),
        Some(topics) => {
            let topic = |topic: &str| {
                let (name, indexes) = topic.split_once('/').expect("!<topic>/<n>+<n>;<topic>/<n>");
                (name.into(), indexes.split('+').map(|index| index.parse().expect("a number")).collect())
            };
            encode_assignment(1, &topics.split(';').map(topic).collect())
        }
    };
    (member.into(), bytes)
}
