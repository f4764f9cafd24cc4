//! How large a group may become: it is written as one record, and all its members are kept in memory.

use bytes::Bytes;

use super::ClassicGroup;
use super::member::Member;
use crate::coordinator::group::command::{JoinGroup, Name, Protocol};
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::turn::Ticket;

/// What a member, or an id that waits for its member, takes beside its texts and bytes, and then some.
const MEMBER_OVERHEAD_BYTES: usize = 256;

impl Member {
    /// What it takes in memory; of its record that is the larger part, for only one protocol is written. Not its assignment.
    pub(super) fn size_bytes(&self) -> usize {
        let texts = [Some(&self.client_id), Some(&self.client_host), self.instance.as_ref()];
        // Its id is the client's or the instance's, with a UUID.
        let texts: usize = texts.into_iter().flatten().map(|text| 2 * text.len()).sum();
        MEMBER_OVERHEAD_BYTES + texts + protocols_bytes(&self.protocols)
    }
}

/// What the protocols of a member take.
pub(in crate::coordinator::group) fn protocols_bytes(protocols: &[Protocol]) -> usize {
    let each = |protocol: &Protocol| protocol.name.len() + protocol.metadata.len();
    protocols.iter().map(each).sum::<usize>() + std::mem::size_of_val(protocols)
}

impl ClassicGroup {
    /// Whether the group can take what a join brings. A member that joins again brings its protocols anew.
    pub(super) fn has_bytes_for(&self, request: &JoinGroup, settings: &GroupSettings) -> bool {
        let joining = Member::joining(request.clone(), Ticket(0)).size_bytes();
        let before = self.members.get(&request.member).map_or(0, Member::size_bytes);
        let pending = self.pending.len() * MEMBER_OVERHEAD_BYTES;
        (self.members_bytes + pending + joining).saturating_sub(before) <= settings.group_bytes_max
    }

    /// Whether the group's record can be written with these assignments.
    pub(super) fn has_bytes_for_all(&self, assignments: &[(Name, Bytes)], settings: &GroupSettings) -> bool {
        let assigned: usize = assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        self.members_bytes + assigned <= settings.group_bytes_max
    }
}
