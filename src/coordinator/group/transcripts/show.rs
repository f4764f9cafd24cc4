//! Effects as text: what is empty, zero or "not known" is left out.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::command::{
    Answer, ConsumerHeartbeatAnswer, DescribedConsumerGroup, DescribedGroup, JoinAnswer, Leaver, Name,
};
use crate::coordinator::group::records::{
    ConsumerMemberValue, CurrentAssignmentValue, GroupValue, OffsetCommitValue, OwnedPartitions, Record,
};
use crate::coordinator::group::timers::TimerKey;
use crate::metadata::image::ClusterImage;
use crate::protocol::consumer_protocol::{assignment, subscribed_topics};
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

/// A line of words.
struct Line(String);

impl Line {
    fn new(begin: impl Into<String>) -> Self {
        Self(begin.into())
    }

    fn word(mut self, word: impl Display) -> Self {
        self.0.push(' ');
        self.0.push_str(&word.to_string());
        self
    }

    fn error(self, error: ErrorCode) -> Self {
        if error == ErrorCode::None { self } else { self.word(error.name()) }
    }

    fn field(self, key: &str, value: impl Display) -> Self {
        let value = value.to_string();
        if value.is_empty() { self } else { self.word(format!("{key}={value}")) }
    }

    /// A number, unless it is -1.
    fn number(self, key: &str, value: i64) -> Self {
        if value == -1 { self } else { self.field(key, value) }
    }

    fn name(self, key: &str, name: Option<&Name>) -> Self {
        match name {
            Some(name) => self.word(format!("{key}={name}")),
            None => self,
        }
    }

    fn list(self, key: &str, items: impl IntoIterator<Item = String>) -> Self {
        let items: Vec<String> = items.into_iter().collect();
        if items.is_empty() { self } else { self.word(format!("{key}=[{}]", items.join(" "))) }
    }

    fn message(self, message: Option<&String>) -> Self {
        match message {
            Some(message) => self.word(format!("{message:?}")),
            None => self,
        }
    }
}

/// Opaque bytes: topics if they are a subscription, partitions if they are an assignment, else text.
fn bytes(bytes: &[u8]) -> String {
    if let Ok((partitions, _)) = assignment(bytes) {
        let of = |(topic, indexes): &(Name, Vec<i32>)| {
            let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            format!("{topic}/{}", indexes.join("+"))
        };
        return partitions.iter().map(of).collect::<Vec<_>>().join(";");
    }
    if let Ok(topics) = subscribed_topics(bytes) {
        return topics.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("+");
    }
    bytes.escape_ascii().to_string()
}

fn id(member: &str, instance: Option<&Name>) -> String {
    instance.map_or_else(|| member.to_owned(), |instance| format!("{member}@{instance}"))
}

/// The name of a topic, also of one that is gone.
fn topic(image: &ClusterImage, topic: TopicId) -> String {
    image.topics.get(&topic).map_or_else(
        || String::from_utf8_lossy(topic.uuid().as_bytes()).trim_end_matches('\0').to_owned(),
        |topic| topic.name.to_string(),
    )
}

fn indexes(indexes: &[i32]) -> String {
    indexes.iter().map(ToString::to_string).collect::<Vec<_>>().join("+")
}

fn by_id(image: &ClusterImage, partitions: &[(TopicId, Vec<i32>)]) -> Vec<String> {
    partitions.iter().map(|(id, some)| format!("{}:{}", topic(image, *id), indexes(some))).collect()
}

/// A record.
pub(super) fn record(image: &ClusterImage, record: &Record) -> String {
    let line = |kind: &str, group: &Name| Line::new(format!("record {kind} {group}"));
    match record {
        Record::OffsetCommit { group, topic, partition, value } => {
            let line = line("offset", group).word(format!("{topic}/{partition}"));
            value.as_ref().map_or(line.0.clone() + " gone", |value| offset(line, value).0)
        }
        Record::Group { group, value } => {
            let line = line("group", group);
            value.as_ref().map_or(line.0.clone() + " gone", |value| classic(line, value).0)
        }
        Record::ConsumerGroup { group, value } => {
            let line = line("consumer-group", group);
            value.as_ref().map_or(line.0.clone() + " gone", |value| {
                // The hash is a number without a story: only whether there is one is shown.
                line.field("epoch", value.epoch)
                    .field("topics", if value.metadata_hash == 0 { "" } else { "hashed" })
                    .0
            })
        }
        Record::ConsumerGroupPartitionMetadata { group } => {
            line("consumer-partition-metadata", group).0 + " gone"
        }
        Record::ConsumerMember { group, member, value } => {
            let line = line("consumer-member", group).word(member);
            value.as_ref().map_or(line.0.clone() + " gone", |value| consumer_member(line, value).0)
        }
        Record::TargetAssignmentEpoch { group, value } => {
            let line = line("target-epoch", group);
            value.as_ref().map_or(line.0.clone() + " gone", |value| {
                line.field("epoch", value.epoch).field("at", value.timestamp).0
            })
        }
        Record::TargetAssignmentMember { group, member, value } => {
            let line = line("target", group).word(member);
            value.as_ref().map_or(line.0.clone() + " gone", |value| line.list("to", by_id(image, value)).0)
        }
        Record::CurrentAssignment { group, member, value } => {
            let line = line("current", group).word(member);
            value.as_ref().map_or(line.0.clone() + " gone", |value| current(image, line, value).0)
        }
        Record::RegularExpression { group, regex, value } => {
            let line = line("regex", group).word(regex);
            value.as_ref().map_or(line.0.clone() + " gone", |value| {
                line.list("topics", value.topics.iter().map(ToString::to_string))
                    .field("version", value.version)
                    .field("at", value.timestamp)
                    .0
            })
        }
    }
}

fn offset(line: Line, value: &OffsetCommitValue) -> Line {
    line.field("offset", value.offset)
        .number("leader_epoch", value.leader_epoch.into())
        .field("metadata", &value.metadata)
        .field("at", value.commit_timestamp)
        .number("until", value.expire_timestamp)
}

fn classic(line: Line, value: &GroupValue) -> Line {
    let members = value.members.iter().map(|member| {
        let id = id(&member.member, member.instance.as_ref());
        format!("{id}({} => {})", bytes(&member.subscription), bytes(&member.assignment))
    });
    line.field("generation", value.generation)
        .field("type", &value.protocol_type)
        .name("protocol", value.protocol.as_ref())
        .name("leader", value.leader.as_ref())
        .number("since", value.current_state_timestamp)
        .list("members", members)
}

fn consumer_member(line: Line, value: &ConsumerMemberValue) -> Line {
    let classic = value.classic.as_ref().map(|classic| {
        let protocols = classic.protocols.iter();
        let protocols: Vec<String> =
            protocols.map(|p| format!("{}:{}", p.name, bytes(&p.metadata))).collect();
        format!("{}ms({})", classic.session_timeout_ms, protocols.join(" "))
    });
    line.name("instance", value.instance.as_ref())
        .name("rack", value.rack.as_ref())
        .field("client", &value.client_id)
        .list("topics", value.topic_names.iter().map(ToString::to_string))
        .name("regex", value.topic_regex.as_ref())
        .number("rebalance", value.rebalance_timeout_ms.into())
        .name("assignor", value.server_assignor.as_ref())
        .field("classic", classic.unwrap_or_default())
}

fn current(image: &ClusterImage, line: Line, value: &CurrentAssignmentValue) -> Line {
    let owned = |some: &[OwnedPartitions]| -> Vec<String> {
        let one = |owned: &OwnedPartitions| {
            let epochs = indexes(&owned.assignment_epochs);
            let epochs = if epochs.is_empty() { epochs } else { format!("(since {epochs})") };
            format!("{}:{}{epochs}", topic(image, owned.topic), indexes(&owned.partitions))
        };
        some.iter().map(one).collect()
    };
    line.field("epoch", value.epoch)
        .field("previous", value.previous_epoch)
        .field("state", value.state)
        .list("assigned", owned(&value.assigned))
        .list("revoking", owned(&value.pending_revocation))
}

/// An answer.
pub(super) fn answer(image: &ClusterImage, answer: &Answer) -> String {
    let errors = |topics: &[(Name, Vec<(i32, ErrorCode)>)]| -> Vec<String> {
        let one =
            |topic: &Name, (index, error): &(i32, ErrorCode)| format!("{topic}/{index}:{}", error.name());
        topics.iter().flat_map(|(topic, of)| of.iter().map(move |partition| one(topic, partition))).collect()
    };
    match answer {
        Answer::Join(joined) => join(joined).0,
        Answer::Sync(synced) => {
            Line::new("sync")
                .error(synced.error)
                .name("type", synced.protocol_type.as_ref())
                .name("protocol", synced.protocol.as_ref())
                .field("assignment", bytes(&synced.assignment))
                .0
        }
        Answer::Heartbeat(error) => format!("heartbeat {}", error.name()),
        Answer::Leave(left) => {
            let one = |(leaver, error): &(Leaver, ErrorCode)| {
                format!("{}:{}", id(&leaver.member, leaver.instance.as_ref()), error.name())
            };
            Line::new("leave").error(left.error).list("members", left.members.iter().map(one)).0
        }
        Answer::ConsumerHeartbeat(beat) => consumer_heartbeat(image, beat).0,
        Answer::CommitOffsets(topics) => Line::new("commit").list("offsets", errors(topics)).0,
        Answer::FetchOffsets(fetched) => {
            let mut offsets = Vec::new();
            for (topic, partitions) in &fetched.topics {
                for partition in partitions {
                    let line = Line::new(format!("{topic}/{}:{}", partition.index, partition.offset));
                    let line = line.number("leader_epoch", partition.leader_epoch.into());
                    offsets.push(line.field("metadata", &partition.metadata).error(partition.error).0);
                }
            }
            Line::new("fetch").error(fetched.error).list("offsets", offsets).0
        }
        Answer::DeleteOffsets(deleted) => {
            Line::new("delete-offsets").error(deleted.error).list("offsets", errors(&deleted.topics)).0
        }
        Answer::List(groups) => {
            let one = |listed: &crate::coordinator::group::command::ListedGroup| {
                let kind = if listed.protocol_type.is_empty() { "-" } else { &listed.protocol_type };
                format!("{}({kind} {} {})", listed.group, listed.kind.name(), listed.state.name())
            };
            Line::new("list").list("groups", groups.iter().map(one)).0
        }
        Answer::DescribeClassic(described) => described_classic(described).0,
        Answer::DescribeConsumer(described) => described_consumer(described).0,
        Answer::DeleteGroup(error) => format!("delete {}", error.name()),
    }
}

fn join(joined: &JoinAnswer) -> Line {
    let members = joined.members.iter().map(|member| {
        format!("{}({})", id(&member.member, member.instance.as_ref()), bytes(&member.metadata))
    });
    let line = Line::new("join")
        .error(joined.error)
        .number("generation", joined.generation.into())
        .field("member", &joined.member)
        .name("type", joined.protocol_type.as_ref())
        .name("protocol", joined.protocol.as_ref())
        .field("leader", &joined.leader)
        .list("members", members);
    if joined.skip_assignment { line.word("skip-assignment") } else { line }
}

fn consumer_heartbeat(image: &ClusterImage, beat: &ConsumerHeartbeatAnswer) -> Line {
    let line = Line::new("consumer-heartbeat")
        .error(beat.error)
        .message(beat.message.as_ref())
        .name("member", beat.member.as_ref())
        .field("epoch", beat.epoch)
        .field("every", format!("{}ms", beat.heartbeat_interval_ms));
    match &beat.assignment {
        Some(assignment) => line.word(format!("assignment=[{}]", by_id(image, assignment).join(" "))),
        None => line,
    }
}

fn described_classic(described: &DescribedGroup) -> Line {
    let members = described.members.iter().map(|member| {
        let id = id(&member.member, member.instance.as_ref());
        let what = format!("{} => {}", bytes(&member.metadata), bytes(&member.assignment));
        format!("{id}({} {} {what})", member.client_id, member.client_host)
    });
    Line::new("describe")
        .error(described.error)
        .message(described.message.as_ref())
        .word(&described.group)
        .word(described.state.name())
        .field("type", &described.protocol_type)
        .field("protocol", &described.protocol)
        .list("members", members)
}

fn described_consumer(described: &DescribedConsumerGroup) -> Line {
    let partitions = |some: &[(TopicId, Name, Vec<i32>)]| {
        some.iter().map(|(_, name, some)| format!("{name}:{}", indexes(some))).collect::<Vec<_>>().join(",")
    };
    let members = described.members.iter().map(|member| {
        let line = Line::new(id(&member.member, member.instance.as_ref()))
            .field("epoch", member.epoch)
            .name("rack", member.rack.as_ref())
            .list("topics", member.topic_names.iter().map(ToString::to_string))
            .name("regex", member.topic_regex.as_ref())
            .field("has", partitions(&member.assignment))
            .field("target", partitions(&member.target));
        format!("({}{})", line.0, if member.classic { " classic" } else { "" })
    });
    Line::new("describe-consumer")
        .error(described.error)
        .message(described.message.as_ref())
        .word(&described.group)
        .word(described.state.name())
        .field("epoch", described.epoch)
        .field("assignment_epoch", described.assignment_epoch)
        .field("assignor", &described.assignor)
        .list("members", members)
}

/// A deadline; `None` for those that move all the time.
pub(super) fn timer(key: &TimerKey) -> Option<String> {
    Some(match key {
        TimerKey::Join(group) => format!("join {group}"),
        TimerKey::Sync(group) => format!("sync {group}"),
        TimerKey::PendingMember(group, member) => format!("pending-member {group} {member}"),
        TimerKey::ConsumerRebalance(group, member) => format!("consumer-rebalance {group} {member}"),
        TimerKey::Assignment(group) => format!("assignment {group}"),
        TimerKey::ConsumerClassic(group, member) => format!("consumer-classic {group} {member}"),
        TimerKey::Session(..) | TimerKey::ConsumerSession(..) | TimerKey::Expiry => return None,
    })
}

/// Everything that is written of a stable or empty classic group.
pub(super) fn classic_state(group: &ClassicGroup) -> String {
    let members = group.members.iter().map(|(member, known)| {
        let id = id(member, known.instance.as_ref());
        let what = format!("{} {}", known.client_id, known.client_host);
        let times = format!("{} {}", known.session_timeout_ms, known.rebalance_timeout_ms);
        let metadata = bytes(&known.metadata(group.protocol.as_deref()));
        format!("{id}({what} {times} {metadata} => {})", bytes(&known.assignment))
    });
    Line::new(format!("{} {}", group.group, group.state().name()))
        .field("generation", group.generation)
        .field("type", group.protocol_type())
        .name("protocol", group.protocol.as_ref())
        .name("leader", group.leader.as_ref())
        .number("since", group.since.unwrap_or(-1))
        .list("members", members)
        .word(format!("reads {:?}", group.topics))
        .0
}
