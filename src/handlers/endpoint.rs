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

/// How a handler answers.
pub enum Handled<R> {
    /// The answer is ready.
    Now(R),
    /// The ordered part is done; the answer comes later.
    Later(BoxFuture<'static, R>),
    /// The protocol forbids an answer (acks=0).
    Silent,
    /// The connection cannot go on.
    Close(CloseReason),
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

    /// From the request's body to a reply. Overridden where a body is encoded without the codec crate.
    fn call(context: &RequestContext, mut body: Bytes) -> Reply {
        let request = match Self::Request::decode(&mut body, context.version) {
            Ok(request) => request,
            Err(cause) => return Reply::Close(CloseReason::Malformed(format!("{}: {cause}", Self::NAME))),
        };
        match Self::handle(context, request) {
            Handled::Now(response) => encoded::<Self::Request>(context, &response),
            Handled::Later(future) => {
                let context = context.clone();
                Reply::Later(Box::pin(async move {
                    match encoded::<Self::Request>(&context, &future.await) {
                        Reply::Now(response) => response,
                        _ => Response::default(),
                    }
                }))
            }
            Handled::Silent => Reply::Silent,
            Handled::Close(reason) => Reply::Close(reason),
        }
    }
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
        call: A::call,
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

/// Writes the length of a frame whose body has `rest_bytes` more bytes in other pieces.
pub fn finish_frame(frame: &mut BytesMut, rest_bytes: usize) {
    let length = frame.len() - LENGTH_BYTES + rest_bytes;
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    if let Some(start) = frame.get_mut(..LENGTH_BYTES) {
        start.copy_from_slice(&length.to_be_bytes());
    }
}

fn encoded<R: Request>(context: &RequestContext, response: &R::Response) -> Reply {
    match encode::<R>(context, response) {
        Ok(frame) => Reply::Now(Response::from(frame)),
        Err(cause) => {
            error!(key = R::KEY, version = context.version, %cause, "an answer could not be encoded");
            Reply::Close(CloseReason::Malformed(format!("answer of api {} cannot be encoded", R::KEY)))
        }
    }
}

fn encode<R: Request>(context: &RequestContext, response: &R::Response) -> anyhow::Result<Bytes> {
    let size = response.compute_size(context.version)?;
    let mut frame = begin_frame::<R>(context, size)?;
    response.encode(&mut frame, context.version)?;
    finish_frame(&mut frame, 0);
    Ok(frame.freeze())
}
