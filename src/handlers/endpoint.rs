//! The machinery behind one API: from a frame to a handler and back to a frame.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tracing::error;

use super::reply::{CloseReason, Connection, Reply, Response};
use crate::broker::Broker;

/// What every handler gets beside its request. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext {
    /// The broker and, through it, every room below.
    pub broker: Arc<Broker>,
    /// The connection that the request came by.
    pub connection: Arc<Connection>,
    /// Version of the request.
    pub version: i16,
    /// Correlation id: the answer carries it.
    pub correlation_id: i32,
    /// `client.id`, if the client gave one.
    pub client_id: Option<StrBytes>,
}

impl RequestContext {
    /// Who asks, for the audit trail: the client id and the address.
    #[must_use]
    pub fn who(&self) -> String {
        let client_id = self.client_id.as_ref().map_or("", StrBytes::as_str);
        format!("{client_id}@{}", self.connection.peer.ip())
    }
}

/// How a handler answers.
pub enum Handled<R> {
    /// The answer is ready.
    Now(R),
    /// The ordered part is done; the answer comes later.
    Later(BoxFuture<'static, R>),
}

/// One Kafka API. Its file names key and versions in its first line; its type is one line of the registry.
pub trait Api: 'static {
    /// Brings the key and the response with it.
    type Request: Request;
    /// As Kafka names it.
    const NAME: &'static str;
    /// The versions that this broker implements, not what the codec can parse.
    const VERSIONS: RangeInclusive<i16>;
    /// The lowest version told to clients; below `VERSIONS` only where old clients draw conclusions from it (`wire.md` rule 2).
    const ADVERTISED_MIN: i16 = *Self::VERSIONS.start();

    /// Handles one decoded request. Runs in the order of the connection; must not block.
    fn handle(
        context: &RequestContext,
        request: Self::Request,
    ) -> Handled<<Self::Request as Request>::Response>;
}

/// An API whose bodies are read and written without the codec crate, because its records must not be copied.
pub trait RawApi: 'static {
    /// API key.
    const KEY: i16;
    /// As Kafka names it.
    const NAME: &'static str;
    /// As [`Api::VERSIONS`].
    const VERSIONS: RangeInclusive<i16>;
    /// As [`Api::ADVERTISED_MIN`].
    const ADVERTISED_MIN: i16 = *Self::VERSIONS.start();

    /// From the request's body, which the guard has passed, to a reply. Runs in the order of the connection; must not block.
    fn call(context: &RequestContext, body: Bytes) -> Reply;
}

/// A line of the registry.
pub struct Endpoint {
    /// API key.
    pub key: i16,
    /// As Kafka names it.
    pub name: &'static str,
    /// Lowest version served.
    pub min: i16,
    /// Highest version served.
    pub max: i16,
    /// Lowest version told to clients.
    pub advertised_min: i16,
    /// Handles a request of this API.
    pub call: fn(&RequestContext, Bytes) -> Reply,
}

/// The registry line of an API.
#[must_use]
pub const fn endpoint<A: Api>() -> Endpoint {
    Endpoint {
        key: <A::Request as Request>::KEY,
        name: A::NAME,
        min: *A::VERSIONS.start(),
        max: *A::VERSIONS.end(),
        advertised_min: A::ADVERTISED_MIN,
        call: call::<A>,
    }
}

/// The registry line of an API that reads and writes its own bodies.
#[must_use]
pub const fn raw_endpoint<A: RawApi>() -> Endpoint {
    Endpoint {
        key: A::KEY,
        name: A::NAME,
        min: *A::VERSIONS.start(),
        max: *A::VERSIONS.end(),
        advertised_min: A::ADVERTISED_MIN,
        call: A::call,
    }
}

fn call<A: Api>(context: &RequestContext, mut body: Bytes) -> Reply {
    let request = match A::Request::decode(&mut body, context.version) {
        Ok(request) => request,
        Err(cause) => return Reply::Close(CloseReason::Malformed(format!("{}: {cause}", A::NAME))),
    };
    match A::handle(context, request) {
        Handled::Now(response) => match encode::<A::Request>(context, &response) {
            Some(frame) => Reply::Now(Response::from(frame)),
            None => Reply::Close(CloseReason::Malformed(format!("answer of {} cannot be encoded", A::NAME))),
        },
        Handled::Later(future) => {
            let context = context.clone();
            Reply::Later(Box::pin(async move {
                encode::<A::Request>(&context, &future.await).map(Response::from).unwrap_or_default()
            }))
        }
    }
}

/// Starts a frame: room for the length, then the response header of `R` at the request's version.
///
/// # Errors
/// Only what the codec cannot encode.
pub fn begin_frame<R: Request>(context: &RequestContext, body_bytes: usize) -> anyhow::Result<BytesMut> {
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + HEADER_BYTES_MAX + body_bytes);
    frame.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(context.correlation_id)
        .encode(&mut frame, R::Response::header_version(context.version))?;
    Ok(frame)
}

/// Bytes of the length in front of every frame.
pub const LENGTH_BYTES: usize = 4;
const HEADER_BYTES_MAX: usize = 5;

/// Writes the length of a finished frame.
pub fn finish_frame(frame: &mut BytesMut) {
    let length = i32::try_from(frame.len() - LENGTH_BYTES).unwrap_or(i32::MAX);
    if let Some(start) = frame.get_mut(..LENGTH_BYTES) {
        start.copy_from_slice(&length.to_be_bytes());
    }
}

/// `None`, and a line in the log, if the codec cannot encode the answer: a bug of ours.
fn encode<R: Request>(context: &RequestContext, response: &R::Response) -> Option<Bytes> {
    let encoded = response.compute_size(context.version).and_then(|size| {
        let mut frame = begin_frame::<R>(context, size)?;
        response.encode(&mut frame, context.version)?;
        finish_frame(&mut frame);
        Ok(frame.freeze())
    });
    encoded
        .inspect_err(
            |cause| error!(key = R::KEY, version = context.version, %cause, "an answer cannot be encoded"),
        )
        .ok()
}
