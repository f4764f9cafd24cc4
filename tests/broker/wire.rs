//! Raw sockets and frames.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ketcd::protocol::batch;
use ketcd::protocol::compression;
use ketcd::protocol::records;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::DEADLINE;

/// How long the answer to a bad frame may take; far longer than it takes, for a busy machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A frame, without its length.
    Answered(Bytes),
    /// The broker closed the connection.
    Closed,
}

impl Outcome {
    pub fn answer(self) -> Bytes {
        match self {
            Self::Answered(frame) => frame,
            Self::Closed => panic!("the connection was closed"),
        }
    }
}

pub async fn open(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).await.expect("the broker accepts connections");
    socket.set_nodelay(true).unwrap();
    socket
}

/// Sends bytes as they are and gives what comes back. A broker that closes while we send has closed.
pub async fn exchange(socket: &mut TcpStream, bytes: &[u8]) -> Outcome {
    match tokio::time::timeout(DEADLINE, socket.write_all(bytes)).await.expect("the broker reads") {
        Ok(()) => receive(socket).await,
        Err(_) => Outcome::Closed,
    }
}

/// The next frame, or the end of the connection.
pub async fn receive(socket: &mut TcpStream) -> Outcome {
    let read = async {
        let length = socket.read_u32().await?;
        assert!(length < 100 << 20, "an answer of {length} bytes");
        let mut frame = vec![0; length as usize];
        socket.read_exact(&mut frame).await?;
        std::io::Result::Ok(frame)
    };
    match tokio::time::timeout(ANSWER_DEADLINE, read).await.expect("answered or closed in time") {
        Ok(frame) => Outcome::Answered(frame.into()),
        Err(_) => Outcome::Closed,
    }
}

/// A frame: its length, then its bytes.
pub fn framed(bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + bytes.len());
    frame.put_u32(bytes.len() as u32);
    frame.put_slice(bytes);
    frame.freeze()
}

/// A request frame with a header of version 1 (not flexible).
pub fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(key);
    bytes.put_i16(version);
    bytes.put_i32(correlation_id);
    bytes.put_i16(3);
    bytes.put_slice(b"raw");
    bytes.put_slice(body);
    framed(&bytes)
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    pub timestamp: i64,
    pub value: String,
}

/// Every record of fetched batches, whose checksums must be right.
pub fn records_of(fetched: Option<&Bytes>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let Some(fetched) = fetched else { return seen };
    for one in batch::split(fetched) {
        let (header, bytes) = one.expect("whole batches");
        batch::verify_crc(&bytes).expect("the checksum of a fetched batch");
        let body = &bytes[batch::BATCH_HEADER_BYTES..];
        let plain = compression::decompress(header.codec().unwrap(), body, 100 << 20).unwrap();
        for record in records::walk(&plain, header.record_count) {
            let record = record.unwrap();
            seen.push(Seen {
                offset: header.base_offset + i64::from(record.offset_delta),
                timestamp: if header.has_log_append_time() {
                    header.max_timestamp
                } else {
                    header.base_timestamp + record.timestamp_delta
                },
                value: String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned(),
            });
        }
    }
    seen
}

/// The values of fetched batches.
pub fn values_of(fetched: Option<&Bytes>) -> Vec<String> {
    records_of(fetched).into_iter().map(|record| record.value).collect()
}
