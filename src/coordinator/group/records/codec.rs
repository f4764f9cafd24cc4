//! The bytes of records: a key is its type and fields in the old form; a value is its version and fields.
//!
//! Every version that Kafka 4.3 reads is read; the versions that it writes are written (`GroupCoordinatorRecordHelpers`).

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{
    ClassicMemberValue, ConsumerGroupValue, ConsumerMemberValue, CurrentAssignmentValue, GroupMemberValue,
    GroupValue, OffsetCommitValue, OwnedPartitions, Record, RegularExpressionValue,
    TargetAssignmentEpochValue,
};
use crate::coordinator::group::command::{Name, PartitionsById, Protocol};
use crate::types::TopicId;

/// Types of keys, as in Kafka's `CoordinatorRecordType`.
mod kind {
    pub(super) const LEGACY_OFFSET_COMMIT: i16 = 0;
    pub(super) const OFFSET_COMMIT: i16 = 1;
    pub(super) const GROUP: i16 = 2;
    pub(super) const CONSUMER_GROUP: i16 = 3;
    pub(super) const CONSUMER_PARTITION_METADATA: i16 = 4;
    pub(super) const CONSUMER_MEMBER: i16 = 5;
    pub(super) const TARGET_ASSIGNMENT_EPOCH: i16 = 6;
    pub(super) const TARGET_ASSIGNMENT_MEMBER: i16 = 7;
    pub(super) const CURRENT_ASSIGNMENT: i16 = 8;
    pub(super) const REGULAR_EXPRESSION: i16 = 16;
}

/// Bytes that are no record although their type and version are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{schema}: field {field} {problem} at byte {at}")]
pub struct RecordError {
    /// Kafka's name of the schema.
    pub schema: &'static str,
    /// Kafka's name of the field.
    pub field: &'static str,
    /// Where in the key or value.
    pub at: usize,
    /// What is wrong.
    pub problem: RecordProblem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// The bytes end before it does.
    #[error("is truncated")]
    Truncated,
    /// Its length or count cannot be true.
    #[error("has a length that its bytes do not have")]
    TooLong,
    /// Null where the schema allows none.
    #[error("is null")]
    Null,
    /// Text that is none.
    #[error("is not UTF-8")]
    NotUtf8,
    /// As many epochs as partitions are needed.
    #[error("has not as many elements as Partitions")]
    Uneven,
}

impl Record {
    /// Key and value as they stand in the log; no value is a tombstone.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let group_key = |kind, group: &Name| key(kind, &[group]);
        match self {
            Self::OffsetCommit { group, topic, partition, value } => {
                let mut writer = Writer::begin(kind::OFFSET_COMMIT, false);
                writer.name(group);
                writer.name(topic);
                writer.i32(*partition);
                (writer.finish(), value.as_ref().map(encode_offset))
            }
            Self::Group { group, value } => (group_key(kind::GROUP, group), value.as_ref().map(encode_group)),
            Self::ConsumerGroup { group, value } => {
                let value = value.map(|value| {
                    let hash = (value.metadata_hash != 0).then_some(value.metadata_hash);
                    encode_epoch(value.epoch, hash)
                });
                (group_key(kind::CONSUMER_GROUP, group), value)
            }
            Self::ConsumerGroupPartitionMetadata { group } => {
                (group_key(kind::CONSUMER_PARTITION_METADATA, group), None)
            }
            Self::ConsumerMember { group, member, value } => {
                (key(kind::CONSUMER_MEMBER, &[group, member]), value.as_ref().map(encode_member))
            }
            Self::TargetAssignmentEpoch { group, value } => {
                let value = value.map(|value| {
                    encode_epoch(value.epoch, (value.timestamp != 0).then_some(value.timestamp))
                });
                (group_key(kind::TARGET_ASSIGNMENT_EPOCH, group), value)
            }
            Self::TargetAssignmentMember { group, member, value } => {
                (key(kind::TARGET_ASSIGNMENT_MEMBER, &[group, member]), value.as_ref().map(encode_target))
            }
            Self::CurrentAssignment { group, member, value } => {
                (key(kind::CURRENT_ASSIGNMENT, &[group, member]), value.as_ref().map(encode_current))
            }
            Self::RegularExpression { group, regex, value } => {
                (key(kind::REGULAR_EXPRESSION, &[group, regex]), value.as_ref().map(encode_regex))
            }
        }
    }

    /// Reads a record of the log. `None` is one to skip: of a kind or version that this broker does not know (share and streams groups,
    /// later releases).
    ///
    /// # Errors
    /// [`RecordError`] for bytes that are not what their type and version say. Nothing is reserved that the bytes do not justify.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let mut key = Reader::new(key, "CoordinatorKey");
        let kind = key.i16("type")?;
        let record = match kind {
            kind::LEGACY_OFFSET_COMMIT | kind::OFFSET_COMMIT => {
                key.name_schema("OffsetCommitKey");
                let group = key.name("group")?;
                let topic = key.name("topic")?;
                let partition = key.i32("partition")?;
                let newest = if kind == kind::OFFSET_COMMIT { 4 } else { 0 };
                let value = decode_value(value, "OffsetCommitValue", newest, 4, decode_offset)?;
                value.map(|value| Self::OffsetCommit { group, topic, partition, value })
            }
            kind::GROUP => {
                key.name_schema("GroupMetadataKey");
                let group = key.name("group")?;
                let value = decode_value(value, "GroupMetadataValue", 4, 4, decode_group)?;
                value.map(|value| Self::Group { group, value })
            }
            kind::CONSUMER_GROUP => {
                key.name_schema("ConsumerGroupMetadataKey");
                let group = key.name("GroupId")?;
                let value = decode_value(value, "ConsumerGroupMetadataValue", 0, 0, |reader, _| {
                    let (epoch, metadata_hash) = decode_epoch(reader, "Epoch", "MetadataHash")?;
                    Ok(ConsumerGroupValue { epoch, metadata_hash })
                })?;
                value.map(|value| Self::ConsumerGroup { group, value })
            }
            kind::CONSUMER_PARTITION_METADATA => {
                key.name_schema("ConsumerGroupPartitionMetadataKey");
                let group = key.name("GroupId")?;
                value.is_none().then_some(Self::ConsumerGroupPartitionMetadata { group })
            }
            kind::CONSUMER_MEMBER => {
                key.name_schema("ConsumerGroupMemberMetadataKey");
                let (group, member) = (key.name("GroupId")?, key.name("MemberId")?);
                let value = decode_value(value, "ConsumerGroupMemberMetadataValue", 0, 0, decode_member)?;
                value.map(|value| Self::ConsumerMember { group, member, value })
            }
            kind::TARGET_ASSIGNMENT_EPOCH => {
                key.name_schema("ConsumerGroupTargetAssignmentMetadataKey");
                let group = key.name("GroupId")?;
                let schema = "ConsumerGroupTargetAssignmentMetadataValue";
                let value = decode_value(value, schema, 0, 0, |reader, _| {
                    let (epoch, timestamp) = decode_epoch(reader, "AssignmentEpoch", "AssignmentTimestamp")?;
                    Ok(TargetAssignmentEpochValue { epoch, timestamp })
                })?;
                value.map(|value| Self::TargetAssignmentEpoch { group, value })
            }
            kind::TARGET_ASSIGNMENT_MEMBER => {
                key.name_schema("ConsumerGroupTargetAssignmentMemberKey");
                let (group, member) = (key.name("GroupId")?, key.name("MemberId")?);
                let schema = "ConsumerGroupTargetAssignmentMemberValue";
                let value = decode_value(value, schema, 0, 0, decode_target)?;
                value.map(|value| Self::TargetAssignmentMember { group, member, value })
            }
            kind::CURRENT_ASSIGNMENT => {
                key.name_schema("ConsumerGroupCurrentMemberAssignmentKey");
                let (group, member) = (key.name("GroupId")?, key.name("MemberId")?);
                let schema = "ConsumerGroupCurrentMemberAssignmentValue";
                let value = decode_value(value, schema, 0, 0, decode_current)?;
                value.map(|value| Self::CurrentAssignment { group, member, value })
            }
            kind::REGULAR_EXPRESSION => {
                key.name_schema("ConsumerGroupRegularExpressionKey");
                let (group, regex) = (key.name("GroupId")?, key.name("RegularExpression")?);
                let schema = "ConsumerGroupRegularExpressionValue";
                let value = decode_value(value, schema, 0, 0, decode_regex)?;
                value.map(|value| Self::RegularExpression { group, regex, value })
            }
            _ => None,
        };
        Ok(record)
    }
}

type Read<T> = Result<T, RecordError>;

fn key(kind: i16, names: &[&Name]) -> Bytes {
    let mut writer = Writer::begin(kind, false);
    for name in names {
        writer.name(name);
    }
    writer.finish()
}

/// A tombstone is `Some(None)`, a version above `newest` is `None`. Versions from `flexible` on are in the compact form.
fn decode_value<T>(
    value: Option<&[u8]>,
    schema: &'static str,
    newest: i16,
    flexible: i16,
    decode: impl FnOnce(&mut Reader<'_>, i16) -> Read<T>,
) -> Read<Option<Option<T>>> {
    let Some(bytes) = value else { return Ok(Some(None)) };
    let mut reader = Reader::new(bytes, schema);
    let version = reader.i16("version")?;
    if !(0..=newest).contains(&version) {
        return Ok(None);
    }
    reader.set_flexible(version >= flexible);
    let value = decode(&mut reader, version)?;
    Ok(Some(Some(value)))
}

fn encode_offset(value: &OffsetCommitValue) -> Bytes {
    let version = if value.expire_timestamp == -1 { 4 } else { 1 };
    let mut writer = Writer::begin(version, version == 4);
    writer.i64(value.offset);
    if version == 4 {
        writer.i32(value.leader_epoch);
    }
    writer.name(&value.metadata);
    writer.i64(value.commit_timestamp);
    if version == 1 {
        writer.i64(value.expire_timestamp);
    } else if value.topic_id == TopicId::ZERO {
        writer.tagged_fields(0);
    } else {
        writer.tagged_fields(1);
        writer.tagged(0, |writer| writer.topic_id(value.topic_id));
    }
    writer.finish()
}

fn decode_offset(reader: &mut Reader<'_>, version: i16) -> Read<OffsetCommitValue> {
    let mut value = OffsetCommitValue {
        offset: reader.i64("offset")?,
        leader_epoch: if version >= 3 { reader.i32("leaderEpoch")? } else { -1 },
        metadata: reader.name("metadata")?,
        commit_timestamp: reader.i64("commitTimestamp")?,
        expire_timestamp: if version == 1 { reader.i64("expireTimestamp")? } else { -1 },
        topic_id: TopicId::ZERO,
    };
    reader.tagged_fields(|tag, reader| {
        if tag == 0 {
            value.topic_id = reader.topic_id("topicId")?;
        }
        Ok(tag == 0)
    })?;
    Ok(value)
}

/// Version 3.
fn encode_group(value: &GroupValue) -> Bytes {
    let mut writer = Writer::begin(3, false);
    writer.name(&value.protocol_type);
    writer.i32(value.generation);
    writer.nullable_name(value.protocol.as_deref());
    writer.nullable_name(value.leader.as_deref());
    writer.i64(value.current_state_timestamp);
    writer.elements(&value.members, |writer, member| {
        writer.name(&member.member);
        writer.nullable_name(member.instance.as_deref());
        writer.name(&member.client_id);
        writer.name(&member.client_host);
        writer.i32(member.rebalance_timeout_ms);
        writer.i32(member.session_timeout_ms);
        writer.bytes(&member.subscription);
        writer.bytes(&member.assignment);
    });
    writer.finish()
}

fn decode_group(reader: &mut Reader<'_>, version: i16) -> Read<GroupValue> {
    let protocol_type = reader.name("protocolType")?;
    let generation = reader.i32("generation")?;
    let protocol = reader.nullable_name("protocol")?;
    let leader = reader.nullable_name("leader")?;
    let current_state_timestamp = if version >= 2 { reader.i64("currentStateTimestamp")? } else { -1 };
    let members = reader.array("members", 10, |reader| {
        let member = reader.name("memberId")?;
        let instance = if version >= 3 { reader.nullable_name("groupInstanceId")? } else { None };
        let client_id = reader.name("clientId")?;
        let client_host = reader.name("clientHost")?;
        let rebalance_timeout_ms = if version >= 1 { reader.i32("rebalanceTimeout")? } else { -1 };
        let session_timeout_ms = reader.i32("sessionTimeout")?;
        let value = GroupMemberValue {
            member,
            instance,
            client_id,
            client_host,
            // Where there is none, the session's counts (`GroupMetadataManager.replay`).
            rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
                session_timeout_ms
            } else {
                rebalance_timeout_ms
            },
            session_timeout_ms,
            subscription: reader.bytes("subscription")?,
            assignment: reader.bytes("assignment")?,
        };
        reader.skip_tagged_fields()?;
        Ok(value)
    })?;
    reader.skip_tagged_fields()?;
    Ok(GroupValue { protocol_type, generation, protocol, leader, current_state_timestamp, members })
}

/// An epoch, and a number in tag 0 unless it is the default.
fn encode_epoch(epoch: i32, tagged: Option<i64>) -> Bytes {
    let mut writer = Writer::begin(0, true);
    writer.i32(epoch);
    writer.tagged_fields(u32::from(tagged.is_some()));
    if let Some(number) = tagged {
        writer.tagged(0, |writer| writer.i64(number));
    }
    writer.finish()
}

fn decode_epoch(reader: &mut Reader<'_>, field: &'static str, tagged: &'static str) -> Read<(i32, i64)> {
    let epoch = reader.i32(field)?;
    let mut number = 0;
    reader.tagged_fields(|tag, reader| {
        if tag == 0 {
            number = reader.i64(tagged)?;
        }
        Ok(tag == 0)
    })?;
    Ok((epoch, number))
}

fn encode_member(value: &ConsumerMemberValue) -> Bytes {
    let mut writer = Writer::begin(0, true);
    writer.nullable_name(value.instance.as_deref());
    writer.nullable_name(value.rack.as_deref());
    writer.name(&value.client_id);
    writer.name(&value.client_host);
    writer.elements(&value.topic_names, |writer, name| writer.name(name));
    writer.nullable_name(value.topic_regex.as_deref());
    writer.i32(value.rebalance_timeout_ms);
    writer.nullable_name(value.server_assignor.as_deref());
    writer.tagged_fields(u32::from(value.classic.is_some()));
    if let Some(classic) = &value.classic {
        writer.tagged(0, |writer| {
            // A nullable struct: present.
            writer.i8(1);
            writer.i32(classic.session_timeout_ms);
            writer.elements(&classic.protocols, |writer, protocol| {
                writer.name(&protocol.name);
                writer.bytes(&protocol.metadata);
                writer.tagged_fields(0);
            });
            writer.tagged_fields(0);
        });
    }
    writer.finish()
}

fn decode_member(reader: &mut Reader<'_>, _version: i16) -> Read<ConsumerMemberValue> {
    let mut value = ConsumerMemberValue {
        instance: reader.nullable_name("InstanceId")?,
        rack: reader.nullable_name("RackId")?,
        client_id: reader.name("ClientId")?,
        client_host: reader.name("ClientHost")?,
        topic_names: reader.array("SubscribedTopicNames", 1, |reader| reader.name("SubscribedTopicNames"))?,
        topic_regex: reader.nullable_name("SubscribedTopicRegex")?,
        rebalance_timeout_ms: reader.i32("RebalanceTimeoutMs")?,
        server_assignor: reader.nullable_name("ServerAssignor")?,
        classic: None,
    };
    reader.tagged_fields(|tag, reader| {
        if tag == 0 {
            value.classic = decode_classic_member(reader)?;
        }
        Ok(tag == 0)
    })?;
    Ok(value)
}

fn decode_classic_member(reader: &mut Reader<'_>) -> Read<Option<ClassicMemberValue>> {
    if reader.i8("ClassicMemberMetadata")? < 0 {
        return Ok(None);
    }
    let session_timeout_ms = reader.i32("SessionTimeoutMs")?;
    let protocols = reader.array("SupportedProtocols", 3, |reader| {
        let protocol = Protocol { name: reader.name("Name")?, metadata: reader.bytes("Metadata")? };
        reader.skip_tagged_fields()?;
        Ok(protocol)
    })?;
    reader.skip_tagged_fields()?;
    Ok(Some(ClassicMemberValue { session_timeout_ms, protocols }))
}

fn encode_target(value: &PartitionsById) -> Bytes {
    let mut writer = Writer::begin(0, true);
    writer.elements(value, |writer, (topic, partitions)| {
        writer.topic_id(*topic);
        writer.elements(partitions, |writer, partition| writer.i32(*partition));
        writer.tagged_fields(0);
    });
    writer.tagged_fields(0);
    writer.finish()
}

fn decode_target(reader: &mut Reader<'_>, _version: i16) -> Read<PartitionsById> {
    let value = reader.array("TopicPartitions", TOPIC_BYTES_MIN, |reader| {
        let topic = reader.topic_id("TopicId")?;
        let partitions = reader.array("Partitions", 4, |reader| reader.i32("Partitions"))?;
        reader.skip_tagged_fields()?;
        Ok((topic, partitions))
    })?;
    reader.skip_tagged_fields()?;
    Ok(value)
}

/// An id, an empty array and no tagged fields.
const TOPIC_BYTES_MIN: usize = 18;

fn encode_current(value: &CurrentAssignmentValue) -> Bytes {
    let mut writer = Writer::begin(0, true);
    writer.i32(value.epoch);
    writer.i32(value.previous_epoch);
    writer.i8(value.state);
    writer.elements(&value.assigned, encode_owned);
    writer.elements(&value.pending_revocation, encode_owned);
    writer.tagged_fields(0);
    writer.finish()
}

fn encode_owned(writer: &mut Writer, owned: &OwnedPartitions) {
    writer.topic_id(owned.topic);
    writer.elements(&owned.partitions, |writer, partition| writer.i32(*partition));
    if owned.assignment_epochs.is_empty() {
        writer.tagged_fields(0);
    } else {
        writer.tagged_fields(1);
        writer.tagged(0, |writer| {
            writer.elements(&owned.assignment_epochs, |writer, epoch| writer.i32(*epoch));
        });
    }
}

fn decode_current(reader: &mut Reader<'_>, _version: i16) -> Read<CurrentAssignmentValue> {
    let value = CurrentAssignmentValue {
        epoch: reader.i32("MemberEpoch")?,
        previous_epoch: reader.i32("PreviousMemberEpoch")?,
        state: reader.i8("State")?,
        assigned: reader.array("AssignedPartitions", TOPIC_BYTES_MIN, decode_owned)?,
        pending_revocation: reader.array("PartitionsPendingRevocation", TOPIC_BYTES_MIN, decode_owned)?,
    };
    reader.skip_tagged_fields()?;
    Ok(value)
}

fn decode_owned(reader: &mut Reader<'_>) -> Read<OwnedPartitions> {
    let mut owned = OwnedPartitions {
        topic: reader.topic_id("TopicId")?,
        partitions: reader.array("Partitions", 4, |reader| reader.i32("Partitions"))?,
        assignment_epochs: Vec::new(),
    };
    reader.tagged_fields(|tag, reader| {
        if tag == 0 {
            let epochs =
                reader.nullable_array("AssignmentEpochs", 4, |reader| reader.i32("AssignmentEpochs"))?;
            owned.assignment_epochs = epochs.unwrap_or_default();
        }
        Ok(tag == 0)
    })?;
    if owned.assignment_epochs.is_empty() || owned.assignment_epochs.len() == owned.partitions.len() {
        Ok(owned)
    } else {
        Err(reader.error("AssignmentEpochs", RecordProblem::Uneven))
    }
}

fn encode_regex(value: &RegularExpressionValue) -> Bytes {
    let mut writer = Writer::begin(0, true);
    writer.elements(&value.topics, |writer, topic| writer.name(topic));
    writer.i64(value.version);
    writer.i64(value.timestamp);
    writer.tagged_fields(0);
    writer.finish()
}

fn decode_regex(reader: &mut Reader<'_>, _version: i16) -> Read<RegularExpressionValue> {
    let value = RegularExpressionValue {
        topics: reader.array("Topics", 1, |reader| reader.name("Topics"))?,
        version: reader.i64("Version")?,
        timestamp: reader.i64("Timestamp")?,
    };
    reader.skip_tagged_fields()?;
    Ok(value)
}
