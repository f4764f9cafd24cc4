//! A follower's connection to a leader: Fetch requests on their way, answers in the order of the requests.
//!
//! Requests may be sent before the answer to an earlier one is there; the leader answers in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};

use super::fetch_body::FetchResponse;
use super::fetch_request::FetchRequest;
use super::header::response_header_bytes;
use super::peer::{Peer, PeerReader, PeerWriter, api_name, messages};
use super::peer_error::PeerError;
use super::{fetch_body::FETCH_KEY, varint};

/// First version in which a follower says which lifetime of its broker it is (KIP-903): below it nothing that it fetches may count.
const VERSION_MIN: i16 = 15;

/// A connection on which only Fetch is sent.
#[derive(Debug)]
pub struct ReplicaConnection {
    reader: PeerReader,
    writer: PeerWriter,
    address: Arc<str>,
    client_id: Arc<str>,
    version: i16,
    last_correlation_id: i32,
    /// Correlation ids of the requests under way. Bound: whoever sends waits for answers.
    under_way: VecDeque<i32>,
}

impl ReplicaConnection {
    /// Connects to `address` (`host:port`) and settles on the newest version of Fetch that both sides know. `timeout` bounds both.
    ///
    /// # Errors
    /// [`PeerError`]; [`PeerError::NotServed`] if the other side knows no version from 15 on.
    pub async fn connect(address: &str, client_id: &str, timeout: Duration) -> Result<Self, PeerError> {
        let peer = Peer::connect(address, client_id, timeout).await?;
        let version = peer.version_of::<messages::FetchRequest>()?;
        let address: Arc<str> = peer.address().into();
        if version < VERSION_MIN {
            return Err(PeerError::NotServed { address, api: api_name(FETCH_KEY) });
        }
        let (reader, writer) = peer.into_halves();
        Ok(Self {
            reader,
            writer,
            address,
            client_id: client_id.into(),
            version,
            last_correlation_id: 0,
            under_way: VecDeque::new(),
        })
    }

    /// How many requests have no answer yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`PeerError`]; the connection is of no use then.
    pub async fn send(&mut self, request: &FetchRequest) -> Result<(), PeerError> {
        self.last_correlation_id = self.last_correlation_id.checked_add(1).unwrap_or(0);
        let frame = request.encode_frame(self.version, self.last_correlation_id, &self.client_id);
        self.writer.send(&frame).await?;
        self.under_way.push_back(self.last_correlation_id);
        Ok(())
    }

    /// The answer to the oldest request under way. Cancel-safe.
    ///
    /// # Errors
    /// [`PeerError`]; the connection is of no use then.
    pub async fn receive(&mut self) -> Result<FetchResponse, PeerError> {
        let frame = self.reader.recv().await?;
        let got = frame.first_chunk().map(|id| i32::from_be_bytes(*id));
        let expected = self.under_way.pop_front();
        let address = || Arc::clone(&self.address);
        if expected.is_none() || got != expected {
            let (expected, got) = (expected.unwrap_or(-1), got.unwrap_or(-1));
            return Err(PeerError::WrongCorrelation { address: address(), expected, got });
        }
        let undecodable = |reason: &dyn std::fmt::Display| PeerError::Undecodable {
            address: address(),
            api: api_name(FETCH_KEY),
            version: self.version,
            reason: reason.to_string(),
        };
        let body = body_of(frame, self.version).ok_or_else(|| undecodable(&"the header is malformed"))?;
        FetchResponse::decode(&body, self.version).map_err(|error| undecodable(&error))
    }
}

/// What follows the header of an answer.
fn body_of(mut frame: Bytes, version: i16) -> Option<Bytes> {
    let fixed = response_header_bytes(FETCH_KEY, version);
    if fixed == 4 {
        return frame.get(4..).map(|body| frame.slice_ref(body));
    }
    frame.get(4..)?;
    frame.advance(4);
    let mut rest = frame.as_ref();
    for _ in 0..varint::take_u32(&mut rest)? {
        varint::take_u32(&mut rest)?;
        let size = usize::try_from(varint::take_u32(&mut rest)?).ok()?;
        rest = rest.get(size..)?;
    }
    Some(frame.slice_ref(rest))
}
