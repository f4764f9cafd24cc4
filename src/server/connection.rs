//! One connection: one task that reads frames, calls the service, and writes the answers.
//!
//! A turn goes: start what has arrived, let answers be made, write what is due, receive more; until the socket has nothing, a bound
//! is reached or the turn's share is used up. Nothing is received while this connection has its fill of requests in flight or the
//! budget of all connections is exhausted: the client feels it as TCP back-pressure.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::budget::BudgetShare;
use super::deadlines::Alarm;
use super::foreign::frame_length;
use super::frames::FrameReader;
use super::lifecycle::Shared;
use super::pipeline::{Panicked, Pipeline, WRITE_BYTES_MAX, Written};
use crate::handlers::{CloseReason, Connection, Reply};
use crate::telemetry::closing::ClosedBecause;
use crate::telemetry::{apis, metrics};

/// Requests that one turn starts.
const TURN_REQUESTS: usize = 256;

/// Bytes that one turn receives.
const TURN_RECEIVED_BYTES: usize = 2 << 20;

/// After the client said that it sends no more, its answers have this long to be made.
const HALF_CLOSED_GRACE: Duration = Duration::from_secs(5);

/// After our last byte, how long the client has to close before we do: closing with unread data in the socket would destroy
/// answers on their way.
const LINGER: Duration = Duration::from_millis(300);

/// How a connection ends, and what is said about it.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    because: ClosedBecause,
    /// What happened; `None`: nothing worth a line.
    what: Option<String>,
    /// What can be done about it.
    cure: &'static str,
}

impl Ending {
    pub(super) const fn quiet(because: ClosedBecause) -> Self {
        Self { because, what: None, cure: "" }
    }

    pub(super) const fn told(because: ClosedBecause, what: String, cure: &'static str) -> Self {
        Self { because, what: Some(what), cure }
    }

    fn asked_by_handler(reason: &CloseReason) -> Self {
        let (because, cure) = match reason {
            CloseReason::Malformed(_) => {
                (ClosedBecause::BadRequest, "check the client's version and settings")
            }
            CloseReason::Unsupported { .. } => {
                (ClosedBecause::BadRequest, "use a client that asks for ApiVersions first")
            }
            CloseReason::SilentProduceFailed(_) => {
                (ClosedBecause::SilentProduceFailed, "use acks=1 or acks=all to be told errors")
            }
        };
        Self::told(because, reason.to_string(), cure)
    }

    fn panicked(panicked: &Panicked) -> Self {
        metrics::handler_panicked();
        let what = format!("the handler of {} panicked: {}", apis::name(panicked.api_key), panicked.message);
        Self::told(ClosedBecause::Panic, what, "this is a defect of ketcd: please report it")
    }

    pub(super) const fn because(&self) -> ClosedBecause {
        self.because
    }

    /// Writes the line about it, if there is one and the peer did not cause one just now.
    pub(super) fn log(&self, shared: &Shared, about: &Connection) {
        let (listener, peer) = (&about.listener, about.peer);
        let Some(what) = &self.what else {
            tracing::debug!(%listener, %peer, reason = self.because.label(), "connection closed");
            return;
        };
        let Some(kept_back) = shared.close_log.admit(peer, shared.options.clock.elapsed()) else { return };
        if self.because == ClosedBecause::Panic {
            tracing::error!(%listener, %peer, kept_back, help = self.cure, "closed a connection: {what}");
        } else {
            tracing::warn!(%listener, %peer, kept_back, help = self.cure, "closed a connection: {what}");
        }
    }
}

/// A connection begins in [`Phase::Open`] and only goes forward.
#[derive(Debug)]
enum Phase {
    /// Requests are taken.
    Open,
    /// No more requests are taken; answers that are due leave until the deadline.
    Draining { ending: Ending, deadline: Duration },
    /// Our side is closed; the client's has until the deadline.
    Lingering { ending: Ending, deadline: Duration },
}

/// What is left of a turn.
struct Turn {
    requests: usize,
    received_bytes: usize,
    sent_bytes: usize,
}

/// Why [`ConnectionTask::start_requests`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// The rest of the next frame has not arrived.
    NeedsBytes,
    /// The connection has its fill of requests in flight.
    Full,
    /// The budget is exhausted; the task is woken when it is not.
    NoBudget,
    /// The turn's share is used up.
    TurnOver,
}

/// The frame that is being received.
#[derive(Debug, Clone, Copy)]
struct Admitted {
    length: usize,
    since: Duration,
}

/// The state of one connection's task.
pub(super) struct ConnectionTask {
    shared: Arc<Shared>,
    stream: TcpStream,
    about: Arc<Connection>,
    phase: Phase,
    reader: FrameReader,
    pipeline: Pipeline,
    budget: BudgetShare,
    /// Bytes of the frames in `pipeline` whose answer is not made.
    frames_bytes: usize,
    admitted: Option<Admitted>,
    is_first_frame: bool,
    sent_anything: bool,
    now: Duration,
    last_traffic: Duration,
    alarm: Alarm,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    watches_stop: bool,
}

impl ConnectionTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: TcpStream,
        about: Arc<Connection>,
        stop: CancellationToken,
    ) -> Self {
        let now = shared.options.clock.elapsed();
        Self {
            budget: BudgetShare::new(shared.budget.clone()),
            stop: Box::pin(stop.cancelled_owned()),
            watches_stop: false,
            shared,
            stream,
            about,
            phase: Phase::Open,
            reader: FrameReader::new(),
            pipeline: Pipeline::new(),
            frames_bytes: 0,
            admitted: None,
            is_first_frame: true,
            sent_anything: false,
            now,
            last_traffic: now,
            alarm: Alarm::default(),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) -> Ending {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.now = self.shared.options.clock.elapsed();
        self.notice_stop(cx);
        if self.alarm.rings(self.now)
            && let Some(ending) = self.overdue()
        {
            return Poll::Ready(ending);
        }
        let result = self.poll_work(cx);
        if result.is_pending() {
            self.budget.settle();
            self.reader.rest();
            self.alarm.set(cx, self.now, self.next_deadline());
        }
        result
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut turn = Turn {
            requests: TURN_REQUESTS,
            received_bytes: TURN_RECEIVED_BYTES,
            sent_bytes: WRITE_BYTES_MAX,
        };
        loop {
            let stopped = self.start_requests(cx, &mut turn);
            match self.pipeline.poll_answers(cx) {
                Ok(frames_bytes) => self.frame_done(frames_bytes),
                Err(panicked) => return Poll::Ready(Ending::panicked(&panicked)),
            }
            let written = match self.write(cx, &mut turn) {
                Ok(written) => written,
                Err(_) => return Poll::Ready(Ending::quiet(ClosedBecause::Network)),
            };
            if written == Written::TurnOver || stopped == Stopped::TurnOver || turn.received_bytes == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match &self.phase {
                Phase::Open => {}
                Phase::Draining { .. } if !self.pipeline.is_empty() => return Poll::Pending,
                Phase::Draining { .. } | Phase::Lingering { .. } => return self.poll_end(cx),
            }
            match stopped {
                Stopped::Full if !self.is_full() => continue,
                Stopped::Full | Stopped::NoBudget | Stopped::TurnOver => return Poll::Pending,
                Stopped::NeedsBytes => {}
            }
            match self.poll_receive(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => self.drain(Ending::quiet(ClosedBecause::Client), HALF_CLOSED_GRACE),
                Poll::Ready(Ok(bytes)) => {
                    turn.received_bytes = turn.received_bytes.saturating_sub(bytes);
                    metrics::bytes_received(bytes);
                    self.now = self.shared.options.clock.elapsed();
                    self.last_traffic = self.now;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Ending::quiet(ClosedBecause::Network)),
            }
        }
    }

    /// Whether the connection has its fill of requests.
    fn is_full(&self) -> bool {
        let options = &self.shared.options;
        self.pipeline.requests() >= options.requests_in_flight_max
            || self.frames_bytes + self.pipeline.answer_bytes() >= options.bytes_in_flight_max
    }

    /// Starts the requests that have arrived, in their order.
    fn start_requests(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Stopped {
        while matches!(self.phase, Phase::Open) {
            if self.is_full() {
                return Stopped::Full;
            }
            if turn.requests == 0 {
                return Stopped::TurnOver;
            }
            let length = match self.admitted {
                Some(Admitted { length, .. }) => length,
                None => match self.admit(cx) {
                    Ok(Some(length)) => length,
                    Ok(None) => return Stopped::NeedsBytes,
                    Err(stopped) => return stopped,
                },
            };
            let Some(frame) = self.reader.take(length) else { return Stopped::NeedsBytes };
            self.admitted = None;
            self.is_first_frame = false;
            turn.requests -= 1;
            self.start(frame);
        }
        Stopped::NeedsBytes
    }

    /// The length of the next frame, its memory taken from the budget. `None`: its length has not arrived, or is none.
    fn admit(&mut self, cx: &mut Context<'_>) -> Result<Option<usize>, Stopped> {
        let Some(prefix) = self.reader.prefix() else { return Ok(None) };
        let length_max = self.shared.options.request_bytes_max;
        match frame_length(prefix, self.is_first_frame, length_max, self.shared.budget.total_bytes()) {
            Ok(length) => {
                if self.budget.poll_take(cx, length).is_pending() {
                    return Err(Stopped::NoBudget);
                }
                self.admitted = Some(Admitted { length, since: self.now });
                Ok(Some(length))
            }
            Err(refusal) => {
                let ending = Ending::told(ClosedBecause::NotKafka, refusal.to_string(), refusal.cure());
                self.drain(ending, HALF_CLOSED_GRACE);
                Ok(None)
            }
        }
    }

    fn start(&mut self, frame: Bytes) {
        let api_key = frame.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
        let bytes = frame.len();
        self.frames_bytes += bytes;
        let (service, about) = (&self.shared.service, &self.about);
        match std::panic::catch_unwind(AssertUnwindSafe(|| service.call(about, frame))) {
            Ok(Reply::Now(answer)) => {
                self.frame_done(bytes);
                self.pipeline.push_ready(api_key, self.now, answer);
            }
            Ok(Reply::Later(answer)) => self.pipeline.push_later(api_key, self.now, bytes, answer),
            Ok(Reply::Silent) => {
                self.frame_done(bytes);
                metrics::request_done(api_key, self.shared.options.clock.elapsed().saturating_sub(self.now));
            }
            Ok(Reply::Close(reason)) => {
                self.frame_done(bytes);
                self.drain(Ending::asked_by_handler(&reason), HALF_CLOSED_GRACE);
            }
            Err(payload) => {
                self.frame_done(bytes);
                let panicked = Panicked::new(api_key, payload.as_ref());
                self.drain(Ending::panicked(&panicked), HALF_CLOSED_GRACE);
            }
        }
    }

    /// The memory of frames is free again: their answers are made and hold none of it.
    fn frame_done(&mut self, bytes: usize) {
        self.frames_bytes = self.frames_bytes.saturating_sub(bytes);
        self.budget.give_back(bytes);
    }

    fn write(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> std::io::Result<Written> {
        if self.pipeline.is_empty() {
            return Ok(Written::All);
        }
        let before = turn.sent_bytes;
        let now = self.shared.options.clock.elapsed();
        let written = self.pipeline.poll_write(cx, &mut self.stream, now, &mut turn.sent_bytes)?;
        if turn.sent_bytes < before {
            self.sent_anything = true;
            self.last_traffic = now;
        }
        Ok(written)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.admitted.is_none() {
            std::task::ready!(self.budget.poll_any(cx));
        }
        if self.reader.holds_nothing() {
            std::task::ready!(self.stream.poll_read_ready(cx))?;
        }
        self.reader.poll_receive(cx, &mut self.stream)
    }

    /// Takes no more requests; ends when the answers that are due have left, or after `grace`. The first reason stays.
    fn drain(&mut self, ending: Ending, grace: Duration) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Draining { ending, deadline: self.now + grace };
        }
    }

    /// Closes our side, then waits a moment for the client's.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Phase::Draining { ending, .. } = &self.phase {
            let ending = ending.clone();
            if ending.because == ClosedBecause::Client || !self.sent_anything {
                return Poll::Ready(ending);
            }
            if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
                return Poll::Pending;
            }
            self.phase = Phase::Lingering { ending, deadline: self.now + LINGER };
        }
        let Phase::Lingering { ending, .. } = &self.phase else { return Poll::Pending };
        let mut scrap = [0; 4096];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(cx, &mut scrap) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !scrap.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(ending.clone()),
            }
        }
    }

    /// Polled once to be woken at the stop; a task keeps its waker, so afterwards a look at the flag is enough.
    fn notice_stop(&mut self, cx: &mut Context<'_>) {
        if !self.watches_stop {
            self.watches_stop = true;
            let _ = self.stop.as_mut().poll(cx);
        }
        if self.shared.is_stopping() {
            self.drain(Ending::quiet(ClosedBecause::Shutdown), self.shared.grace());
        }
    }

    /// The ending of whichever deadline has passed.
    fn overdue(&self) -> Option<Ending> {
        let now = self.now;
        match &self.phase {
            Phase::Draining { ending, deadline } | Phase::Lingering { ending, deadline } => {
                (*deadline <= now).then(|| ending.clone())
            }
            Phase::Open => {
                if self.frame_deadline().is_some_and(|deadline| deadline <= now) {
                    let what = "a request was begun and did not arrive in time".to_owned();
                    return Some(Ending::told(
                        ClosedBecause::Stalled,
                        what,
                        "check the network to that client",
                    ));
                }
                if self.idle_deadline() > now {
                    return None;
                }
                if self.pipeline.has_outgoing() {
                    let what = "the client does not read its answers".to_owned();
                    return Some(Ending::told(ClosedBecause::Stalled, what, "check that client"));
                }
                (!self.pipeline.awaits_answers()).then(|| Ending::quiet(ClosedBecause::Idle))
            }
        }
    }

    fn idle_deadline(&self) -> Duration {
        self.last_traffic.saturating_add(self.shared.options.idle_timeout)
    }

    /// When the frame that has begun must be here. While we do not read, the client cannot be late.
    fn frame_deadline(&self) -> Option<Duration> {
        let Admitted { length, since } = self.admitted?;
        if self.is_full() {
            return None;
        }
        let extra = Duration::from_secs((length >> 20) as u64);
        Some(since.saturating_add(self.shared.options.frame_timeout).saturating_add(extra))
    }

    fn next_deadline(&self) -> Duration {
        match &self.phase {
            Phase::Draining { deadline, .. } | Phase::Lingering { deadline, .. } => *deadline,
            Phase::Open => {
                let idle = match self.idle_deadline() {
                    // Idle, but a request waits for its answer: look again after as much time.
                    passed if passed <= self.now => self.now.saturating_add(self.shared.options.idle_timeout),
                    deadline => deadline,
                };
                self.frame_deadline().map_or(idle, |frame| frame.min(idle))
            }
        }
    }
}
