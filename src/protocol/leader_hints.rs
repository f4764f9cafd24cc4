//! Where a partition's leader is, as Produce v10+ and Fetch v16+ tell clients that asked the wrong broker (KIP-951).

use kafka_protocol::protocol::StrBytes;

use super::writer::Writer;

/// The leader of a partition. -1 is "not known".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader {
    /// Broker id.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: i32,
}

/// Address of a broker that some [`CurrentLeader`] names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeEndpoint {
    /// Broker id.
    pub node_id: i32,
    /// Host of the listener that the client uses.
    pub host: StrBytes,
    /// Port of it.
    pub port: i32,
    /// The broker's rack, if it has one.
    pub rack: Option<StrBytes>,
}

/// Size of a tagged [`CurrentLeader`], its own (empty) tagged fields included.
const CURRENT_LEADER_BYTES: usize = 9;

impl CurrentLeader {
    /// A value of defaults is not written: the reader assumes it.
    pub(super) fn is_default(self) -> bool {
        self == Self { leader_id: -1, leader_epoch: -1 }
    }

    pub(super) fn put(self, writer: &mut Writer, tag: u32) {
        writer.tagged_field(tag, CURRENT_LEADER_BYTES);
        writer.i32(self.leader_id);
        writer.i32(self.leader_epoch);
        writer.tagged_fields(0);
    }
}

/// Writes the tagged fields at the end of a response: the endpoints as tag 0 if the version has them, else none.
pub(super) fn put_node_endpoints(writer: &mut Writer, endpoints: &[NodeEndpoint]) {
    if endpoints.is_empty() {
        writer.tagged_fields(0);
        return;
    }
    let mut field = Writer::new(64 * endpoints.len(), true);
    field.array(endpoints.len());
    for endpoint in endpoints {
        field.i32(endpoint.node_id);
        field.string(&endpoint.host);
        field.i32(endpoint.port);
        field.nullable_string(endpoint.rack.as_deref());
        field.tagged_fields(0);
    }
    writer.tagged_fields(1);
    writer.tagged_field(0, field.buffer.len());
    writer.buffer.extend_from_slice(&field.buffer);
}
