//! Small conversions between wire types and the coordinator's, shared by the handlers of groups.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt};
use kafka_protocol::messages::{GroupId, TopicName as WireTopicName};
use kafka_protocol::protocol::StrBytes;

use super::endpoint::{Handled, RequestContext};
use super::wire::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, text};
use crate::coordinator::group::command::Name;
use crate::protocol::error::ErrorCode;
use crate::types::random;

/// How many groups of one request are asked about at once: bounds the memory of a request that names a million.
const GROUPS_AT_ONCE: usize = 64;

/// A name as the coordinator keeps it.
pub fn name(text: &str) -> Name {
    Arc::from(text)
}

/// A name that may be absent.
pub fn some_name(text: Option<&StrBytes>) -> Option<Name> {
    text.map(|text| name(text))
}

/// A name that may be absent, as the codec wants it.
pub fn some_text(name: Option<&Name>) -> Option<StrBytes> {
    name.map(text)
}

/// A group's id as the codec wants it.
pub fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A topic's name as the codec wants it.
pub fn topic_name(name: &str) -> WireTopicName {
    WireTopicName(text(name))
}

/// Who asks: `client.id`, empty if the client gave none.
pub fn client_id(context: &RequestContext) -> Name {
    name(context.client_id.as_ref().map_or("", StrBytes::as_str))
}

/// Where the client connects from, as Java writes an address: `/127.0.0.1`, `/0:0:0:0:0:0:0:1`.
pub fn client_host(context: &RequestContext) -> Name {
    match context.connection.peer.ip().to_canonical() {
        IpAddr::V4(ip) => name(&format!("/{ip}")),
        IpAddr::V6(ip) => name(&java_form(ip)),
    }
}

fn java_form(ip: Ipv6Addr) -> String {
    let mut form = String::from("/");
    for (place, part) in ip.segments().into_iter().enumerate() {
        let colon = if place == 0 { "" } else { ":" };
        write!(form, "{colon}{part:x}").expect("a String takes all that is written");
    }
    form
}

/// The id of a member that brings none: `<group.instance.id or client.id>-<uuid>` (`ClassicGroup.generateMemberId`).
pub fn fresh_member(context: &RequestContext, instance: Option<&StrBytes>) -> Name {
    let stem = instance.or(context.client_id.as_ref()).map_or("", StrBytes::as_str);
    name(&format!("{stem}-{}", random::uuid()))
}

/// Group APIs do not serve a group without a name; only offsets may be kept under it, as old clients do.
pub fn is_valid_group(group: &GroupId) -> bool {
    !group.0.is_empty()
}

/// The authorized operations of a group, if they are asked for and the group is told without an error.
pub const fn operations(asked: bool, error_code: i16) -> i32 {
    if asked && error_code == ErrorCode::None.code() { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED }
}

/// Takes the first step of `answer` now, so that the coordinator sees the requests of a connection in their order; what remains to be
/// waited for comes later.
pub fn in_turn<R: Send + 'static>(answer: impl Future<Output = R> + Send + 'static) -> Handled<R> {
    let mut answer = Box::pin(answer);
    match answer.as_mut().now_or_never() {
        Some(answer) => Handled::Now(answer),
        None => Handled::Later(answer),
    }
}

/// Asks about many groups, a few at once; the answers are in the order of the questions.
pub async fn each<Q, F, A>(questions: impl IntoIterator<Item = Q>, ask: impl FnMut(Q) -> F) -> Vec<A>
where
    F: Future<Output = A>,
{
    stream::iter(questions).map(ask).buffered(GROUPS_AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_java_writes_it() {
        assert_eq!(java_form(Ipv6Addr::LOCALHOST), "/0:0:0:0:0:0:0:1");
        let ip = "2001:db8::ff00:42".parse().unwrap();
        assert_eq!(java_form(ip), "/2001:db8:0:0:0:0:ff00:42");
    }
}
