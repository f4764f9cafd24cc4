//! One fetcher: some partitions of one leader, over one connection.
//!
//! Answer, append, next fetch: the position that the next fetch says is what the leader waits for to acknowledge records, so nothing
//! comes between. One request waits at the leader while nothing happens; news (a partition that came, a late append) go out at once in
//! a second one, which ends the wait of the first. No partition waits for another: one that is in trouble, or whose disk is slow, is
//! left out until it can go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::answer::{self, Done, Follows, Trouble};
use super::session::{Asked, Key, Session};
use super::{Followed, Inbox, Shared};
use crate::log::{AppendError, Step, Unusable};
use crate::protocol::error::ErrorCode;
use crate::protocol::fetch_body::{FetchResponse, FetchedPartition};
use crate::protocol::fetch_request::FetchRequest;
use crate::protocol::peer::PeerError;
use crate::protocol::replica::ReplicaConnection;
use crate::replication::{Partition, PartitionError};
use crate::types::{BrokerId, TopicId};

/// The first pause after a failure; it doubles up to `replica.fetch.backoff.ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long the next fetch waits for appends that wait for the disk, before it leaves without their partitions.
const DISK_GRACE: Duration = Duration::from_millis(2);
/// An idle leader is asked again after a part of `replica.lag.time.max.ms`: often enough to count as caught up.
const QUIET_WAITS_IN_LAG: u32 = 6;
/// Time between two looks at what changes without an answer: a log start moved by this broker's own retention.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A partition as this worker follows it.
struct Part {
    followed: Followed,
    state: State,
    /// Failures since the last success.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The role may not have begun yet.
    New,
    /// Is fetched.
    Ready,
    /// A turn of it waits for the disk.
    Busy,
    /// Pauses after a failure.
    Pausing(Instant),
    /// Is followed no more (rule F3).
    Stopped,
}

/// A turn of a partition that waits for the disk, and which following it belongs to.
type Job = BoxFuture<'static, (Key, Followed, Result<(), Trouble>)>;

/// Why a conversation ended.
enum Ended {
    /// There is nothing to fetch any more.
    Idle,
    /// The leader is elsewhere now.
    Moved,
    /// The leader does not know the session.
    Session(ErrorCode),
    /// The connection failed.
    Lost(PeerError),
    /// No answer in time.
    Silent,
}

/// A fetcher of one leader.
pub(super) struct Worker {
    leader: BrokerId,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    client_id: String,
    parts: BTreeMap<Key, Part>,
    /// Partitions whose position may not be what the session says.
    moved: BTreeSet<Key>,
    pausing: BTreeSet<(Instant, Key)>,
    jobs: FuturesUnordered<Job>,
    session: Session,
    /// Answers without anything new since the last one with something.
    quiet: u32,
}

impl Worker {
    pub fn new(leader: BrokerId, shared: Arc<Shared>, inbox: Arc<Inbox>) -> Self {
        let client_id = format!("broker-{}-fetcher", shared.me);
        Self {
            leader,
            shared,
            inbox,
            client_id,
            parts: BTreeMap::new(),
            moved: BTreeSet::new(),
            pausing: BTreeSet::new(),
            jobs: FuturesUnordered::new(),
            session: Session::default(),
            quiet: 0,
        }
    }

    /// Runs until its runtime ends.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            self.take_news();
            let address = self.inbox.address().filter(|_| !self.parts.is_empty());
            let Some(address) = address else {
                failures = 0;
                self.inbox.changed.notified().await;
                continue;
            };
            let ended = match self.connect(&address).await {
                Some(Ok(connection)) => {
                    let (ended, answers) = self.converse(connection, &address).await;
                    if answers > 0 {
                        failures = 0;
                    }
                    ended
                }
                Some(Err(error)) => Ended::Lost(error),
                None => Ended::Moved,
            };
            match ended {
                Ended::Idle | Ended::Moved => failures = 0,
                Ended::Session(code) => {
                    debug!(leader = %self.leader, %code, "fetch session begins anew");
                    failures += 1;
                }
                Ended::Lost(error) if failures == 0 => {
                    info!(leader = %self.leader, %error, "connection to a leader is lost");
                    failures += 1;
                }
                Ended::Lost(error) => {
                    debug!(leader = %self.leader, %error, "no connection to a leader");
                    failures += 1;
                }
                Ended::Silent => {
                    warn!(leader = %self.leader, address = %address, "a leader does not answer");
                    failures += 1;
                }
            }
            // The first try again comes at once.
            if failures > 1 {
                self.pause(self.pause_after(failures - 1), &address).await;
            }
        }
    }

    fn pause_after(&self, failures: u32) -> Duration {
        let most = self.shared.keys.fetch_backoff;
        FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most)
    }

    /// Waits, unless the leader moves, begins an epoch (so it is there), or nothing is left to fetch.
    async fn pause(&mut self, pause: Duration, address: &Arc<str>) {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = self.inbox.changed.notified() => {
                    if self.take_news() || self.is_over(address) {
                        return;
                    }
                }
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    fn is_over(&self, address: &Arc<str>) -> bool {
        self.parts.is_empty() || self.inbox.address().as_ref() != Some(address)
    }

    /// `None`: the connection is not wanted any more.
    async fn connect(&mut self, address: &Arc<str>) -> Option<Result<ReplicaConnection, PeerError>> {
        let timeout = CONNECT_MAX.min(self.shared.keys.socket_timeout);
        let (to, client_id) = (Arc::clone(address), self.client_id.clone());
        let connecting = async move { ReplicaConnection::connect(&to, &client_id, timeout).await };
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                biased;
                connected = &mut connecting => return Some(connected),
                () = self.inbox.changed.notified() => {
                    self.take_news();
                    if self.is_over(address) {
                        return None;
                    }
                }
            }
        }
    }

    /// Fetches over `connection` until something ends it. Also says how many answers came.
    async fn converse(&mut self, mut connection: ReplicaConnection, address: &Arc<str>) -> (Ended, u64) {
        self.session = Session::new(self.session.id(), self.shared.keys.fetch_max_bytes);
        self.quiet = 0;
        self.moved.extend(self.parts.keys());
        let mut answers = 0;
        // When the requests under way are given up.
        let mut silent_at = VecDeque::new();
        let mut look_again = tokio::time::Instant::now() + LOOK_AGAIN;
        loop {
            self.take_news();
            if self.parts.is_empty() {
                return (Ended::Idle, answers);
            }
            if self.is_over(address) {
                return (Ended::Moved, answers);
            }
            let now = tokio::time::Instant::now();
            self.end_pauses(now);
            if now >= look_again {
                look_again = now + LOOK_AGAIN;
                self.moved.extend(self.parts.keys());
            }
            self.say_positions();
            let may_send = match connection.under_way() {
                0 => !self.session.is_empty(),
                1 => self.session.may_interrupt(),
                _ => false,
            };
            if may_send {
                let wait = self.wait();
                let patience = self.shared.keys.socket_timeout + wait;
                let request = self.request(wait);
                match tokio::time::timeout(patience, connection.send(&request)).await {
                    Ok(Ok(())) => silent_at.push_back(tokio::time::Instant::now() + patience),
                    Ok(Err(error)) => return (Ended::Lost(error), answers),
                    Err(_) => return (Ended::Silent, answers),
                }
            }
            let next_silent = silent_at.front().copied();
            let next_pause = self.pausing.first().map(|(until, _)| *until);
            let wake_at = [next_silent, next_pause].into_iter().flatten().fold(look_again, Instant::min);
            tokio::select! {
                biased;
                answer = connection.receive(), if connection.under_way() > 0 => {
                    silent_at.pop_front();
                    match answer {
                        Err(error) => return (Ended::Lost(error), answers),
                        Ok(answer) if !answer.error.is_none() => return (Ended::Session(answer.error), answers),
                        Ok(answer) => {
                            answers += 1;
                            self.take(answer);
                            self.wait_for_disks().await;
                        }
                    }
                }
                Some((key, followed, done)) = self.jobs.next(), if !self.jobs.is_empty() => {
                    self.finish(key, &followed, done);
                }
                () = self.inbox.changed.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {
                    if next_silent.is_some_and(|at| tokio::time::Instant::now() >= at) {
                        return (Ended::Silent, answers);
                    }
                }
            }
        }
    }

    /// How long the next request may wait at the leader for something new: longer and longer while there is nothing, for each answer
    /// costs both sides a look at every partition. Whatever comes ends the wait at once.
    ///
    /// The first request of a session does not wait: while the leader has not named the session, partitions that come cannot be asked for.
    fn wait(&self) -> Duration {
        if self.session.is_new() {
            return Duration::ZERO;
        }
        let keys = &self.shared.keys;
        let shortest = Duration::from_millis(u64::try_from(keys.fetch_wait_max_ms).unwrap_or(0));
        let longest = shortest.max(keys.lag_max / QUIET_WAITS_IN_LAG);
        shortest.saturating_mul(1 << self.quiet.min(16)).min(longest)
    }

    fn request(&mut self, wait: Duration) -> FetchRequest {
        let turn = self.session.request();
        let keys = &self.shared.keys;
        FetchRequest {
            cluster_id: None,
            replica_id: self.shared.me.get(),
            replica_epoch: self.shared.epoch().get(),
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: keys.fetch_min_bytes,
            max_bytes: keys.fetch_response_max_bytes,
            session_id: turn.id,
            session_epoch: turn.epoch,
            topics: turn.topics,
            forgotten_topics: turn.forgotten,
            ..FetchRequest::default()
        }
    }

    /// Takes over which partitions are followed. Answers whether there are some in a new epoch.
    fn take_news(&mut self) -> bool {
        let mut is_new = false;
        for (key, followed) in self.inbox.take_partitions() {
            if let Some(State::Pausing(until)) = self.parts.get(&key).map(|part| part.state) {
                self.pausing.remove(&(until, key));
            }
            match followed {
                Some(followed) => {
                    let before = self.parts.get(&key).map(|part| (&part.followed, part.state));
                    let state = match before {
                        _ if self.shared.is_stopped(key) => State::Stopped,
                        // The same epoch goes on; what is under way belongs to it.
                        Some((before, state))
                            if before.epoch == followed.epoch
                                && before.partition.ptr_eq(&followed.partition) =>
                        {
                            match state {
                                State::Pausing(_) => State::New,
                                state => state,
                            }
                        }
                        _ => State::New,
                    };
                    is_new |= state == State::New;
                    self.parts.insert(key, Part { followed, state, failures: 0 });
                    self.moved.insert(key);
                }
                None => self.leave(key),
            }
        }
        is_new
    }

    fn leave(&mut self, key: Key) {
        self.parts.remove(&key);
        self.session.forget(key);
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some((until, key)) = self.pausing.first().copied().filter(|(until, _)| *until <= now) {
            self.pausing.remove(&(until, key));
            if let Some(part) = self.parts.get_mut(&key) {
                part.state = State::New;
                self.moved.insert(key);
            }
        }
    }

    /// Has the session say where every partition that moved is now.
    fn say_positions(&mut self) {
        for key in std::mem::take(&mut self.moved) {
            let Some(part) = self.parts.get_mut(&key) else { continue };
            let Some(partition) = part.followed.partition.upgrade() else {
                self.leave(key);
                continue;
            };
            if part.state == State::New {
                match partition.ready() {
                    Step::Ready(Ok(())) => part.state = State::Ready,
                    step => {
                        let ready = step.map(|ready| ready.map_err(of_log));
                        self.begin_job(key, ready);
                        continue;
                    }
                }
            }
            if part.state != State::Ready {
                self.session.forget(key);
                continue;
            }
            let position = partition.position();
            let log = partition.log();
            // What is not synced does not count, and the leader must not hear of it (rule S5).
            if log.counting_end() < position.offset {
                let synced = log.flush().map(|synced| synced.map_err(of_log));
                self.begin_job(key, synced);
                continue;
            }
            let asked = Asked {
                leader_epoch: part.followed.epoch,
                offset: position.offset,
                last_fetched_epoch: position.last_fetched_epoch,
                log_start: log.log_start_offset(),
                high_watermark: log.high_watermark(),
            };
            self.session.put(key, asked);
        }
    }

    /// Takes one answer. What need not wait for a disk is done afterwards.
    fn take(&mut self, answer: FetchResponse) {
        self.quiet = if answer.topics.is_empty() { self.quiet.saturating_add(1) } else { 0 };
        self.session.answer(answer.session_id);
        for topic in answer.topics {
            let Some(id) = TopicId::new(topic.id) else { continue };
            for partition in topic.partitions {
                self.take_partition((id, partition.index), partition);
            }
        }
    }

    fn take_partition(&mut self, key: Key, answer: FetchedPartition) {
        // An answer to what is not asked any more says nothing (rule F7).
        let Some(asked) = self.session.asked(key) else { return };
        let Some(part) = self.parts.get(&key) else { return };
        let Some(partition) = part.followed.partition.upgrade() else { return };
        let is_current = part.state == State::Ready
            && asked.leader_epoch == part.followed.epoch
            && asked.offset == partition.log().log_end_offset();
        if !is_current {
            self.moved.insert(key);
            return;
        }
        let follows = Follows { epoch: part.followed.epoch, in_sync: part.followed.in_sync };
        let followed = part.followed.clone();
        match answer::take(&partition, follows, answer) {
            Step::Ready(done) => self.finish(key, &followed, done),
            step => self.begin_job(key, step),
        }
    }

    fn begin_job(&mut self, key: Key, step: Done) {
        let Some(part) = self.parts.get_mut(&key) else { return };
        part.state = State::Busy;
        let followed = part.followed.clone();
        self.jobs.push(Box::pin(async move { (key, followed, step.wait().await) }));
    }

    /// Waits a moment for turns that wait for the disk: mostly they are done in less time than a request takes. The session does
    /// without the others.
    async fn wait_for_disks(&mut self) {
        let until = tokio::time::Instant::now() + DISK_GRACE;
        while !self.jobs.is_empty() {
            tokio::select! {
                biased;
                Some((key, followed, done)) = self.jobs.next() => self.finish(key, &followed, done),
                () = tokio::time::sleep_until(until) => break,
            }
        }
        let busy = self.parts.iter().filter(|(_, part)| part.state == State::Busy).map(|(key, _)| *key);
        if !self.jobs.is_empty() {
            self.moved.extend(busy);
        }
    }

    /// A turn of a partition is over.
    fn finish(&mut self, key: Key, followed: &Followed, done: Result<(), Trouble>) {
        let Some(part) = self.parts.get_mut(&key) else { return };
        let same =
            part.followed.epoch == followed.epoch && part.followed.partition.ptr_eq(&followed.partition);
        if !same {
            return;
        }
        self.moved.insert(key);
        match done {
            Ok(()) => {
                part.state = State::Ready;
                part.failures = 0;
            }
            Err(trouble) => self.trouble(key, &trouble),
        }
    }

    fn trouble(&mut self, key: Key, trouble: &Trouble) {
        let Some(part) = self.parts.get_mut(&key) else { return };
        let partition = part.followed.partition.upgrade();
        let following = partition.as_ref().and_then(|partition| partition.following());
        if following != Some((part.followed.leader, part.followed.epoch)) {
            // Its role has changed: whoever changed it says whom it follows now.
            self.leave(key);
            return;
        }
        part.failures += 1;
        let (failures, epoch) = (part.failures, part.followed.epoch);
        let name = partition.as_deref().map(Partition::name);
        if let Trouble::Breach { .. } = trouble {
            error!(partition = ?name, leader = %self.leader, error = %trouble, "replica is stopped");
            part.state = State::Stopped;
            self.shared.stop(key);
            return;
        }
        if failures == 1 && !trouble.is_expected() {
            warn!(partition = ?name, leader = %self.leader, %epoch, error = %trouble, "partition cannot be fetched: trying again");
        } else {
            debug!(partition = ?name, leader = %self.leader, %epoch, failures, error = %trouble, "partition cannot be fetched");
        }
        let until = tokio::time::Instant::now() + self.pause_after(failures);
        if let Some(part) = self.parts.get_mut(&key) {
            part.state = State::Pausing(until);
        }
        self.pausing.insert((until, key));
        self.session.forget(key);
    }
}

fn of_log(error: Unusable) -> Trouble {
    Trouble::Here(PartitionError::Append(AppendError::Unusable(error)))
}
