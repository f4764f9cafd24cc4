//! The order of replies: requests of a connection are started one after the other without waiting, answers leave in the same order.
//!
//! Answers that come later are futures which the connection's own task polls, each with its own waker: an answer costs one small
//! allocation and no task. Consecutive answers that are ready leave in one vectored write.

use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream};
use smallvec::SmallVec;
use tokio::io::AsyncWrite;

use crate::handlers::Response;
use crate::telemetry::metrics;

/// Most bytes of one write, and of one turn of a connection: then others get theirs.
pub(super) const WRITE_BYTES_MAX: usize = 1 << 20;

/// Most pieces of one write.
const WRITE_PIECES_MAX: usize = 64;

/// A request between its start and the turn of its answer.
#[derive(Debug)]
struct Slot {
    api_key: i16,
    received_at: Duration,
    answer: Option<Response>,
}

/// How a handler failed: it panicked, or its late answer could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panicked {
    pub(super) api_key: i16,
    pub(super) message: String,
}

impl Panicked {
    pub(super) fn new(api_key: i16, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned());
        Self { api_key, message }
    }
}

/// An answer on its way.
struct Later {
    number: u64,
    api_key: i16,
    frame_bytes: usize,
    answer: BoxFuture<'static, Response>,
}

impl Future for Later {
    type Output = Result<(u64, usize, Response), Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match std::panic::catch_unwind(AssertUnwindSafe(|| this.answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            // An answer that the codec cannot write: the client must not wait for it forever.
            Ok(Poll::Ready(answer)) if answer.chunks.is_empty() => {
                let message = "its answer cannot be encoded".to_owned();
                Poll::Ready(Err(Panicked { api_key: this.api_key, message }))
            }
            Ok(Poll::Ready(answer)) => Poll::Ready(Ok((this.number, this.frame_bytes, answer))),
            Err(payload) => Poll::Ready(Err(Panicked::new(this.api_key, payload.as_ref()))),
        }
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything that is due has left.
    All,
    /// The socket takes no more now; the task is woken when it does.
    Blocked,
    /// The turn's share is used up.
    TurnOver,
}

/// The requests in flight of one connection and the answers that wait for the socket.
pub(super) struct Pipeline {
    /// Oldest first. The number of the first is `first_number`, then one by one.
    slots: VecDeque<Slot>,
    first_number: u64,
    laters: FuturesUnordered<Later>,
    /// Answers whose turn has come, in pieces.
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    /// Bytes of answers in `slots` that wait for an older one.
    waiting_bytes: usize,
}

impl Pipeline {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            first_number: 0,
            laters: FuturesUnordered::new(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            waiting_bytes: 0,
        }
    }

    /// Requests whose answer's turn has not come.
    pub(super) fn requests(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of answers that have not left.
    pub(super) const fn answer_bytes(&self) -> usize {
        self.outgoing_bytes + self.waiting_bytes
    }

    /// Whether some answer is still being made.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.laters.is_empty()
    }

    /// Whether bytes wait for the socket.
    pub(super) fn has_outgoing(&self) -> bool {
        self.outgoing_bytes > 0
    }

    /// Whether nothing is due any more.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.outgoing.is_empty()
    }

    /// The next request was answered at once.
    pub(super) fn push_ready(&mut self, api_key: i16, received_at: Duration, answer: Response) {
        self.waiting_bytes += answer.size_bytes();
        self.slots.push_back(Slot { api_key, received_at, answer: Some(answer) });
    }

    /// The next request is answered later. Its frame has `frame_bytes`, told back when the answer is made.
    pub(super) fn push_later(
        &mut self,
        api_key: i16,
        received_at: Duration,
        frame_bytes: usize,
        answer: BoxFuture<'static, Response>,
    ) {
        let number = self.first_number + self.slots.len() as u64;
        self.slots.push_back(Slot { api_key, received_at, answer: None });
        self.laters.push(Later { number, api_key, frame_bytes, answer });
    }

    /// Lets answers be made. Returns the bytes of the frames that are needed no more.
    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<usize, Panicked> {
        let mut frame_bytes_done = 0;
        while !self.laters.is_empty() {
            match Pin::new(&mut self.laters).poll_next(cx) {
                Poll::Pending | Poll::Ready(None) => break,
                Poll::Ready(Some(Err(panicked))) => return Err(panicked),
                Poll::Ready(Some(Ok((number, frame_bytes, answer)))) => {
                    frame_bytes_done += frame_bytes;
                    self.fill(number, answer);
                }
            }
        }
        Ok(frame_bytes_done)
    }

    fn fill(&mut self, number: u64, answer: Response) {
        let index = number.checked_sub(self.first_number).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get_mut(index));
        let slot = slot.expect("a request keeps its slot until it is answered");
        self.waiting_bytes += answer.size_bytes();
        slot.answer = Some(answer);
    }

    /// Lines up the answers whose turn has come, at most one turn's bytes of them.
    fn line_up(&mut self, now: Duration) {
        while self.outgoing_bytes < WRITE_BYTES_MAX {
            let Some(slot) = self.slots.front_mut() else { return };
            let Some(answer) = slot.answer.take() else { return };
            metrics::request_done(slot.api_key, now.saturating_sub(slot.received_at));
            let bytes = answer.size_bytes();
            self.waiting_bytes -= bytes;
            self.outgoing_bytes += bytes;
            self.outgoing.extend(answer.chunks.into_iter().filter(|chunk| !chunk.is_empty()));
            self.slots.pop_front();
            self.first_number += 1;
        }
    }

    /// Writes answers in their order until nothing is due, the socket is full or `allowance` bytes are written.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        now: Duration,
        allowance: &mut usize,
    ) -> io::Result<Written> {
        loop {
            self.line_up(now);
            if self.outgoing.is_empty() {
                self.rest();
                return Ok(Written::All);
            }
            if *allowance == 0 {
                return Ok(Written::TurnOver);
            }
            let pieces = pieces(&self.outgoing, *allowance);
            let result = Pin::new(&mut *stream).poll_write_vectored(cx, &pieces);
            drop(pieces);
            match result {
                Poll::Pending => return Ok(Written::Blocked),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    *allowance = allowance.saturating_sub(written);
                    self.left(written);
                    metrics::bytes_sent(written);
                }
            }
        }
    }

    /// `written` bytes have left.
    fn left(&mut self, mut written: usize) {
        self.outgoing_bytes = self.outgoing_bytes.saturating_sub(written);
        while written > 0 {
            let Some(piece) = self.outgoing.front_mut() else { return };
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.outgoing.pop_front();
        }
    }

    /// Gives memory back that a burst needed.
    fn rest(&mut self) {
        const KEPT_PIECES: usize = 64;
        if self.outgoing.capacity() > KEPT_PIECES {
            self.outgoing = VecDeque::new();
        }
    }
}

/// The first pieces of at most `bytes_max` together.
fn pieces(outgoing: &VecDeque<Bytes>, bytes_max: usize) -> SmallVec<[IoSlice<'_>; WRITE_PIECES_MAX]> {
    let mut left = bytes_max;
    let mut pieces = SmallVec::new();
    for piece in outgoing.iter().take(WRITE_PIECES_MAX) {
        let part = piece.get(..left.min(piece.len())).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        left -= part.len();
        pieces.push(IoSlice::new(part));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn answer(text: &'static str) -> Response {
        Bytes::from_static(text.as_bytes()).into()
    }

    fn written(pipeline: &mut Pipeline) -> String {
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        let mut allowance = WRITE_BYTES_MAX;
        pipeline.poll_answers(&mut cx).unwrap();
        pipeline.poll_write(&mut cx, &mut out, Duration::ZERO, &mut allowance).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_ready_answer_waits_for_the_older_one() {
        let mut pipeline = Pipeline::new();
        let (send, receive) = tokio::sync::oneshot::channel::<Response>();
        pipeline.push_ready(0, Duration::ZERO, answer("a"));
        pipeline.push_later(0, Duration::ZERO, 10, Box::pin(async { receive.await.unwrap() }));
        pipeline.push_ready(0, Duration::ZERO, answer("c"));
        assert_eq!(written(&mut pipeline), "a");
        assert_eq!((pipeline.requests(), pipeline.answer_bytes()), (2, 1));
        send.send(answer("b")).unwrap();
        assert_eq!(written(&mut pipeline), "bc");
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.answer_bytes(), 0);
    }

    #[test]
    fn one_turn_writes_no_more_than_its_share_and_goes_on_where_it_stopped() {
        let mut pipeline = Pipeline::new();
        let mut cx = Context::from_waker(Waker::noop());
        for byte in 0..5u8 {
            pipeline.push_ready(0, Duration::ZERO, Bytes::from(vec![byte; 400_000]).into());
        }
        let (mut out, mut allowance) = (Vec::new(), WRITE_BYTES_MAX);
        let end = pipeline.poll_write(&mut cx, &mut out, Duration::ZERO, &mut allowance).unwrap();
        assert_eq!((end, out.len()), (Written::TurnOver, WRITE_BYTES_MAX));
        allowance = WRITE_BYTES_MAX;
        let end = pipeline.poll_write(&mut cx, &mut out, Duration::ZERO, &mut allowance).unwrap();
        assert_eq!((end, out.len()), (Written::All, 2_000_000));
        assert!(
            (0..5u8).all(|byte| out[usize::from(byte) * 400_000..][..400_000].iter().all(|b| *b == byte))
        );
    }

    #[test]
    fn a_panic_of_a_late_answer_is_told_with_its_api() {
        let mut pipeline = Pipeline::new();
        pipeline.push_later(7, Duration::ZERO, 1, Box::pin(async { panic!("boom {}", 1) }));
        let mut cx = Context::from_waker(Waker::noop());
        let panicked = pipeline.poll_answers(&mut cx).unwrap_err();
        assert_eq!(panicked, Panicked { api_key: 7, message: "boom 1".into() });
    }

    #[test]
    fn an_answer_that_cannot_be_made_ends_the_connection() {
        let mut pipeline = Pipeline::new();
        pipeline.push_later(7, Duration::ZERO, 1, Box::pin(async { Response::default() }));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pipeline.poll_answers(&mut cx).unwrap_err().api_key, 7);
    }
}
