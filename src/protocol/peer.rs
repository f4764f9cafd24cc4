//! The other end of the protocol: a small asynchronous connection to a Kafka broker, ours or anybody's.
//!
//! One [`Peer`] is one TCP connection with one request in flight ([`Peer::call`]), or, for those who count their own correlation
//! ids, two halves that pipeline raw frames ([`Peer::into_halves`]). A frame's size is bounded before it is read. Decoding goes
//! through the codec crate without the guard: a peer is a broker that its user chose, not a stranger.
//!
//! This file is the door to the codec's message structs for the command line: [`messages`], [`StrBytes`], [`Request`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
use messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub use super::peer_error::PeerError;

/// The port that an address without one means.
pub const KAFKA_PORT: u16 = 9092;

/// The largest response that is read, in bytes: above it the other side does not speak Kafka.
pub const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// Kafka's error code for a version that the broker does not serve.
const UNSUPPORTED_VERSION: i16 = 35;

/// The name of an API as Kafka writes it, or its number.
#[must_use]
pub fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("api key {key}"), |api| format!("{api:?}"))
}

/// A whole request frame: length, header, body.
///
/// # Errors
/// [`PeerError::Unencodable`] if a field is set that `version` does not have.
pub fn encode_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Bytes, PeerError> {
    let unencodable = |reason: String| PeerError::Unencodable { api: api_name(R::KEY), version, reason };
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    header.encode(&mut frame, R::header_version(version)).map_err(|e| unencodable(e.to_string()))?;
    request.encode(&mut frame, version).map_err(|e| unencodable(e.to_string()))?;
    let size = u32::try_from(frame.len().saturating_sub(4)).map_err(|e| unencodable(e.to_string()))?;
    if let Some(mut prefix) = frame.get_mut(..4) {
        prefix.put_u32(size);
    }
    Ok(frame.freeze())
}

/// The host and port of an address as users write it: the port may be missing.
#[must_use]
pub fn with_port(address: &str) -> String {
    let after_host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    let is_bare_v6 = !address.starts_with('[') && address.matches(':').count() > 1;
    if is_bare_v6 {
        format!("[{address}]:{KAFKA_PORT}")
    } else if after_host.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{KAFKA_PORT}")
    }
}

/// A connection to one broker.
#[derive(Debug)]
pub struct Peer {
    reader: PeerReader,
    writer: PeerWriter,
    address: Arc<str>,
    client_id: Arc<str>,
    timeout: Duration,
    versions: BTreeMap<i16, (i16, i16)>,
    last_correlation_id: i32,
}

impl Peer {
    /// Connects to `address` (`host:port`; without a port 9092) and asks for the versions that the broker serves.
    /// `timeout` bounds the connection attempt and each later call.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn connect(address: &str, client_id: &str, timeout: Duration) -> Result<Self, PeerError> {
        let mut peer = Self::connect_bare(address, client_id, timeout).await?;
        peer.negotiate().await?;
        Ok(peer)
    }

    /// As [`Peer::connect`] without asking for versions: [`Peer::call`] then fails, [`Peer::call_at`] works.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn connect_bare(address: &str, client_id: &str, timeout: Duration) -> Result<Self, PeerError> {
        let address: Arc<str> = with_port(address).into();
        let socket = tokio::time::timeout(timeout, open_socket(&address))
            .await
            .map_err(|_| PeerError::ConnectTimeout { address: Arc::clone(&address), after: timeout })??;
        let (read, write) = socket.into_split();
        Ok(Self {
            reader: PeerReader { socket: read, buffer: BytesMut::new(), address: Arc::clone(&address) },
            writer: PeerWriter { socket: write, address: Arc::clone(&address) },
            address,
            client_id: client_id.into(),
            timeout,
            versions: BTreeMap::new(),
            last_correlation_id: 0,
        })
    }

    /// The address that was connected to, with its port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The ranges of versions that the broker serves, by API key.
    #[must_use]
    pub const fn versions(&self) -> &BTreeMap<i16, (i16, i16)> {
        &self.versions
    }

    /// The highest version of an API that both sides know.
    ///
    /// # Errors
    /// [`PeerError::NotServed`] if there is none.
    pub fn version_of<R: Request>(&self) -> Result<i16, PeerError> {
        self.versions
            .get(&R::KEY)
            .and_then(|&(low, high)| {
                let version = high.min(R::VERSIONS.max);
                (version >= low.max(R::VERSIONS.min)).then_some(version)
            })
            .ok_or_else(|| PeerError::NotServed { address: Arc::clone(&self.address), api: api_name(R::KEY) })
    }

    /// Whether the broker serves an API in a version that this program knows.
    #[must_use]
    pub fn serves<R: Request>(&self) -> bool {
        self.version_of::<R>().is_ok()
    }

    /// Sends a request in the highest common version and waits for its answer.
    ///
    /// # Errors
    /// See [`PeerError`]. Error codes inside the answer are the caller's to read.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, PeerError> {
        let version = self.version_of::<R>()?;
        self.call_at(request, version).await
    }

    /// Sends a request in `version` and waits for its answer.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call_at<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, PeerError> {
        self.call_within(request, version, self.timeout).await
    }

    /// As [`Peer::call_at`], waiting at most `timeout`.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call_within<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, PeerError> {
        let correlation_id = self.next_correlation_id();
        let frame = encode_frame(request, version, correlation_id, &self.client_id)?;
        let mut answer = tokio::time::timeout(timeout, self.exchange(&frame)).await.map_err(|_| {
            PeerError::Timeout { address: Arc::clone(&self.address), api: api_name(R::KEY), after: timeout }
        })??;
        self.decode::<R>(&mut answer, version, correlation_id)
    }

    /// Sends a whole frame (length included) and gives the answer's frame without its length. For tests of raw bytes.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call_bytes(&mut self, frame: &[u8]) -> Result<Bytes, PeerError> {
        tokio::time::timeout(self.timeout, self.exchange(frame)).await.map_err(|_| PeerError::Timeout {
            address: Arc::clone(&self.address),
            api: "a raw frame".to_owned(),
            after: self.timeout,
        })?
    }

    /// Sends a request that the protocol leaves unanswered (Produce with acks=0).
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send_silent<R: Request>(&mut self, request: &R) -> Result<(), PeerError> {
        let version = self.version_of::<R>()?;
        let correlation_id = self.next_correlation_id();
        let frame = encode_frame(request, version, correlation_id, &self.client_id)?;
        self.writer.send(&frame).await
    }

    /// Waits until the connection ends, and says how: [`PeerError::Closed`] if the other side closed or reset it. What it sends
    /// meanwhile is thrown away. Cancel-safe.
    pub async fn closed(&mut self) -> PeerError {
        let during = "while nothing was asked";
        loop {
            self.reader.buffer.clear();
            match self.reader.socket.read_buf(&mut self.reader.buffer).await {
                Ok(0) => return PeerError::Closed { address: Arc::clone(&self.address), during },
                Ok(_) => {}
                Err(error) => return PeerError::io(&self.address, error, during),
            }
        }
    }

    /// The two halves, to pipeline raw frames.
    #[must_use]
    pub fn into_halves(self) -> (PeerReader, PeerWriter) {
        (self.reader, self.writer)
    }

    async fn exchange(&mut self, frame: &[u8]) -> Result<Bytes, PeerError> {
        self.writer.send(frame).await?;
        self.reader.recv().await
    }

    fn decode<R: Request>(
        &self,
        answer: &mut Bytes,
        version: i16,
        expected: i32,
    ) -> Result<R::Response, PeerError> {
        let undecodable = |reason: String| PeerError::Undecodable {
            address: Arc::clone(&self.address),
            api: api_name(R::KEY),
            version,
            reason,
        };
        let header = ResponseHeader::decode(answer, <R::Response as HeaderVersion>::header_version(version))
            .map_err(|e| undecodable(e.to_string()))?;
        if header.correlation_id != expected {
            return Err(PeerError::WrongCorrelation {
                address: Arc::clone(&self.address),
                expected,
                got: header.correlation_id,
            });
        }
        R::Response::decode(answer, version).map_err(|e| undecodable(e.to_string()))
    }

    fn next_correlation_id(&mut self) -> i32 {
        self.last_correlation_id = self.last_correlation_id.checked_add(1).unwrap_or(0);
        self.last_correlation_id
    }

    /// KIP-511: the highest version first; a broker that does not know it answers in version 0 with the table that it has.
    async fn negotiate(&mut self) -> Result<(), PeerError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("ketcd"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let correlation_id = self.next_correlation_id();
        let version = ApiVersionsRequest::VERSIONS.max.min(3);
        let frame = encode_frame(&request, version, correlation_id, &self.client_id)?;
        let answer = self.call_bytes(&frame).await.map_err(|error| match error {
            PeerError::Timeout { address, after, .. } => {
                PeerError::Timeout { address, api: api_name(ApiVersionsRequest::KEY), after }
            }
            other => other,
        })?;
        // The error code follows the correlation id in every version (the header of this answer is always version 0).
        let error_code = answer.get(4..6).map(|mut code| code.get_i16());
        let answered = if error_code == Some(UNSUPPORTED_VERSION) { 0 } else { version };
        let response: ApiVersionsResponse =
            self.decode::<ApiVersionsRequest>(&mut answer.clone(), answered, correlation_id)?;
        self.versions =
            response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(())
    }
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct PeerReader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    address: Arc<str>,
}

impl PeerReader {
    /// The next answer, without its length. Cancel-safe: what was read stays buffered.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn recv(&mut self) -> Result<Bytes, PeerError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            let read = self
                .socket
                .read_buf(&mut self.buffer)
                .await
                .map_err(|e| PeerError::io(&self.address, e, "while an answer was due"))?;
            if read == 0 {
                return Err(PeerError::Closed {
                    address: Arc::clone(&self.address),
                    during: "while an answer was due",
                });
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, PeerError> {
        let Some(prefix) = self.buffer.get(..4) else {
            self.buffer.reserve(READ_AHEAD_BYTES);
            return Ok(None);
        };
        let size = usize::try_from((&mut &*prefix).get_u32()).unwrap_or(usize::MAX);
        if size > RESPONSE_BYTES_MAX {
            let address = Arc::clone(&self.address);
            return Err(match prefix {
                [0x15 | 0x16, 0x03, ..] => PeerError::LooksLikeTls { address },
                b"HTTP" => PeerError::LooksLikeHttp { address },
                _ => PeerError::FrameTooLarge { address, size },
            });
        }
        let missing = (size + 4).saturating_sub(self.buffer.len());
        if missing > 0 {
            self.buffer.reserve(missing.max(READ_AHEAD_BYTES));
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

/// How much is read ahead of the frame that is waited for, in bytes: several small answers by one system call.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// The sending half of a connection.
#[derive(Debug)]
pub struct PeerWriter {
    socket: OwnedWriteHalf,
    address: Arc<str>,
}

impl PeerWriter {
    /// Sends a whole frame, length included.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), PeerError> {
        self.socket
            .write_all(frame)
            .await
            .map_err(|e| PeerError::io(&self.address, e, "while a request was sent"))
    }
}

async fn open_socket(address: &Arc<str>) -> Result<TcpStream, PeerError> {
    let resolved: Vec<_> = tokio::net::lookup_host(&**address)
        .await
        .map_err(|source| PeerError::Unresolved { address: Arc::clone(address), source })?
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolved {
        match TcpStream::connect(candidate).await {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|e| PeerError::io(address, e, "at its start"))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(PeerError::io(address, last, "at its start"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use messages::MetadataRequest;
    use tokio::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A server that reads one frame and answers with `answer`, then closes.
    async fn one_answer(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut prefix = [0; 4];
            socket.read_exact(&mut prefix).await.unwrap();
            let mut request = vec![0; u32::from_be_bytes(prefix) as usize];
            socket.read_exact(&mut request).await.unwrap();
            socket.write_all(answer).await.unwrap();
        });
        address
    }

    #[test]
    fn an_address_gets_kafkas_port_when_it_has_none() {
        assert_eq!(with_port("localhost"), "localhost:9092");
        assert_eq!(with_port("localhost:1"), "localhost:1");
        assert_eq!(with_port("[::1]"), "[::1]:9092");
        assert_eq!(with_port("[::1]:7"), "[::1]:7");
        assert_eq!(with_port("::1"), "[::1]:9092");
    }

    #[tokio::test]
    async fn an_old_broker_answers_in_version_0_and_is_understood() {
        // correlation 1, error 35, one entry: Metadata 0-2.
        let address = one_answer(&[0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 3, 0, 0, 0, 2]).await;
        let peer = Peer::connect(&address, "test", TIMEOUT).await.unwrap();
        assert_eq!(peer.version_of::<MetadataRequest>().unwrap(), 2);
        assert!(matches!(
            peer.version_of::<messages::FetchRequest>(),
            Err(PeerError::NotServed { api, .. }) if api == "Fetch"
        ));
    }

    #[tokio::test]
    async fn what_is_not_kafka_is_named() {
        let tls = one_answer(&[0x15, 3, 3, 0, 2, 2, 50]).await;
        let error = Peer::connect(&tls, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::LooksLikeTls { .. }), "{error}");
        let http = one_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let error = Peer::connect(&http, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::LooksLikeHttp { .. }), "{error}");
        let garbage = one_answer(&[0x7f, 0, 0, 0, 1]).await;
        let error = Peer::connect(&garbage, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::FrameTooLarge { size: 0x7f00_0000, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_closed_or_missing_broker_is_unreachable() {
        let closing = one_answer(&[]).await;
        let error = Peer::connect(&closing, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::Closed { .. }) && error.is_unreachable(), "{error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Peer::connect(&address, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_broker_that_says_nothing_is_given_up_after_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = Peer::connect(&address, "test", Duration::from_millis(30)).await.unwrap_err();
        assert!(matches!(&error, PeerError::Timeout { api, .. } if api == "ApiVersions"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_to_another_request_is_refused() {
        let address = one_answer(&[0, 0, 0, 16, 0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 3, 0, 0, 0, 2]).await;
        let error = Peer::connect(&address, "test", TIMEOUT).await.unwrap_err();
        assert!(matches!(error, PeerError::WrongCorrelation { expected: 1, got: 9, .. }), "{error}");
    }
}
