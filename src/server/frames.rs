//! Cuts the byte stream of a socket into frames.
//!
//! Small frames arrive many at a time in one buffer that lives only while there is something in it: an idle connection holds no
//! memory. Each is copied into an allocation of its own size, so that a handler that keeps a piece of one (a topic name of a fetch
//! that waits for minutes) keeps no more than that. Large frames are received straight into their own buffer, which starts with
//! the frame: record batches are not copied again, and the allocator puts such blocks at page boundaries, where the kernel copies
//! fastest (`data-path.md`).

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once while frames are small.
const SMALL_READ_BYTES: usize = 64 << 10;

/// From this length on, a frame gets a buffer of its own and is not copied.
const LARGE_FRAME_BYTES: usize = 16 << 10;

/// A stranger's frame up to this length is allocated at once; longer ones grow as their bytes arrive (rule X2).
const TRUSTED_BYTES: usize = 1 << 20;

/// A buffer with less than this in it is replaced by a small one when the connection has nothing more to do.
const REST_BYTES: usize = 4 << 10;

/// Length of the length.
const PREFIX_BYTES: usize = 4;

/// A frame of which only a part is here. The buffer holds what arrived, without the length.
#[derive(Debug)]
struct Large {
    buffer: BytesMut,
    length: usize,
}

/// Reads frames from one socket.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// What arrived and is not yet cut: some frames, perhaps a part of one, its length first.
    arrived: BytesMut,
    large: Option<Large>,
    /// The last frame was large: the next one probably is, so its length is read alone and its body lands aligned.
    expects_large: bool,
    /// The longest frame that this peer really sent, at least [`TRUSTED_BYTES`].
    trusted_bytes: usize,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self { arrived: BytesMut::new(), large: None, expects_large: false, trusted_bytes: TRUSTED_BYTES }
    }

    /// The four bytes before the next frame, once they are here.
    pub(super) fn prefix(&self) -> Option<[u8; PREFIX_BYTES]> {
        if self.large.is_some() {
            return None;
        }
        self.arrived.first_chunk().copied()
    }

    /// Takes the next frame, whose prefix said `length`, if all of it is here. Ask with the same length until it comes.
    pub(super) fn take(&mut self, length: usize) -> Option<Bytes> {
        if let Some(large) = &self.large {
            if large.buffer.len() < large.length {
                return None;
            }
            self.trusted_bytes = self.trusted_bytes.max(large.length);
            self.expects_large = true;
            return self.large.take().map(|large| large.buffer.freeze());
        }
        if self.arrived.len() >= PREFIX_BYTES + length {
            self.arrived.advance(PREFIX_BYTES);
            self.expects_large = length >= LARGE_FRAME_BYTES;
            if self.expects_large {
                return Some(self.arrived.split_to(length).freeze());
            }
            let frame = self.arrived.get(..length).map(Bytes::copy_from_slice);
            self.arrived.advance(length);
            return frame;
        }
        if length >= LARGE_FRAME_BYTES {
            self.arrived.advance(PREFIX_BYTES);
            let mut buffer = BytesMut::with_capacity(length.min(self.trusted_bytes));
            buffer.extend_from_slice(&self.arrived);
            self.arrived = BytesMut::new();
            self.large = Some(Large { buffer, length });
        }
        None
    }

    /// Receives what the socket has, up to the room that makes sense now. 0 bytes: the peer sends no more.
    pub(super) fn poll_receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        if let Some(Large { buffer, length }) = &mut self.large {
            let missing = length.saturating_sub(buffer.len());
            if buffer.len() == buffer.capacity() {
                buffer.reserve(missing.min(buffer.len()));
            }
            return poll_read(cx, stream, buffer, missing);
        }
        if self.expects_large && self.arrived.len() < PREFIX_BYTES {
            let missing = PREFIX_BYTES - self.arrived.len();
            self.arrived.reserve(missing);
            return poll_read(cx, stream, &mut self.arrived, missing);
        }
        if self.arrived.capacity() - self.arrived.len() < SMALL_READ_BYTES / 4 {
            self.arrived.reserve(SMALL_READ_BYTES);
        }
        poll_read(cx, stream, &mut self.arrived, SMALL_READ_BYTES)
    }

    /// Whether [`FrameReader::poll_receive`] would have to allocate first: worth asking the socket before that.
    pub(super) fn holds_nothing(&self) -> bool {
        self.large.is_none() && self.arrived.capacity() == 0
    }

    /// Gives memory back at the end of a turn.
    pub(super) fn rest(&mut self) {
        if self.arrived.is_empty() {
            self.arrived = BytesMut::new();
        } else if self.arrived.len() < REST_BYTES && self.arrived.capacity() > 2 * REST_BYTES {
            self.arrived = BytesMut::from(self.arrived.as_ref());
        }
    }
}

fn poll_read<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Poll<io::Result<usize>> {
    let mut room = buffer.limit(bytes_max);
    let read = pin!(stream.read_buf(&mut room)).poll(cx);
    Poll::Ready(ready!(read))
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::ReadBuf;

    use super::*;

    /// Gives its bytes in pieces of the given sizes, then would block.
    struct Pieces {
        bytes: Vec<u8>,
        sizes: Vec<usize>,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let size = self.sizes.pop().unwrap_or(1 << 20).min(buffer.remaining()).min(self.bytes.len());
            if self.bytes.is_empty() {
                return Poll::Pending;
            }
            let rest = self.bytes.split_off(size.max(1));
            buffer.put_slice(&self.bytes);
            self.bytes = rest;
            Poll::Ready(Ok(()))
        }
    }

    fn cut(frames: &[Vec<u8>], sizes: Vec<usize>) -> Vec<Bytes> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        let mut stream = Pieces { bytes, sizes };
        let mut reader = FrameReader::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        let mut length = None;
        loop {
            loop {
                if length.is_none() {
                    length = reader.prefix().map(|prefix| u32::from_be_bytes(prefix) as usize);
                }
                let Some(frame) = length.and_then(|length| reader.take(length)) else { break };
                out.push(frame);
                length = None;
            }
            if out.len() % 3 == 2 {
                reader.rest();
            }
            if reader.poll_receive(&mut cx, &mut stream).is_pending() {
                assert!(reader.large.is_none() && reader.arrived.is_empty());
                return out;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::property_cases(64)))]
        #[test]
        fn frames_come_out_as_they_went_in_however_the_socket_cuts_them(
            lengths in prop::collection::vec(prop_oneof![8usize..300, 16_000usize..17_000, 60_000usize..200_000], 1..12),
            sizes in prop::collection::vec(prop_oneof![1usize..8, 1usize..70_000], 0..60),
        ) {
            let frames: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(n, length)| vec![u8::try_from(n).unwrap(); *length]).collect();
            let out = cut(&frames, sizes);
            prop_assert_eq!(out.len(), frames.len());
            for (out, frame) in out.iter().zip(&frames) {
                prop_assert_eq!(&out[..], &frame[..]);
            }
        }
    }

    #[test]
    fn a_length_allocates_no_more_than_a_small_multiple_of_what_arrived() {
        let mut reader = FrameReader::new();
        let length = 100 << 20;
        reader.arrived.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        assert!(reader.take(length).is_none());
        assert!(reader.large.as_ref().unwrap().buffer.capacity() <= TRUSTED_BYTES);
        let mut stream = Pieces { bytes: vec![7; 5 << 20], sizes: vec![] };
        let mut cx = Context::from_waker(Waker::noop());
        while reader.poll_receive(&mut cx, &mut stream).is_ready() {
            let buffer = &reader.large.as_ref().unwrap().buffer;
            assert!(buffer.capacity() <= (2 * buffer.len()).max(TRUSTED_BYTES));
        }
        assert_eq!(reader.large.as_ref().unwrap().buffer.len(), 5 << 20);
    }

    #[test]
    fn a_reader_at_rest_between_frames_holds_nothing() {
        let mut reader = FrameReader::new();
        let mut stream = Pieces { bytes: [&[0, 0, 0, 8][..], &[1; 8]].concat(), sizes: vec![] };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(reader.holds_nothing());
        assert!(reader.poll_receive(&mut cx, &mut stream).is_ready());
        assert!(reader.take(8).is_some());
        reader.rest();
        assert!(reader.holds_nothing());
    }
}
