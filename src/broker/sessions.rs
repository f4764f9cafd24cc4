//! Fetch sessions (KIP-227): a consumer names its partitions once and then only what changed; we answer only what changed.
//!
//! A session also remembers, per partition, where in which segment the last read ended, so that a sequential consumer needs no index
//! look-up. Sessions are bounded by `max.incremental.fetch.session.cache.slots`; when all are taken, one that was not used for
//! [`EVICTABLE_AFTER`] gives way, else the client is told to fetch without a session (id 0).
//!
//! A follower's session is told by its partitions when they are to be looked at ([`News`]), so that its fetches cost as much as there is
//! new and not as much as there are partitions. All are looked at now and then ([`Turn::to_look_at`]): what was caught up stays so.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::log::ReadCursor;
use crate::metadata::image::ReplicaEntry;
use crate::replication::wait::News;
use crate::types::{LeaderEpoch, Offset, TopicId, random};

/// An unused session may be evicted after this time (`min.incremental.fetch.session.eviction.ms` of Kafka).
pub const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// A partition as a fetch names it: by topic id since v13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// Fetch v4-12.
    Name(String),
    /// Fetch v13+.
    Id(TopicId),
}

/// Where a read ended, and in whose log: a name may come to mean another topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeAt {
    /// The topic that the log belongs to.
    pub topic_id: TopicId,
    /// The place in it.
    pub cursor: ReadCursor,
}

/// What a fetch asks of one partition.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicKey,
    /// The partition's index.
    pub index: i32,
    /// First offset wanted. Negative ones are answered with OFFSET_OUT_OF_RANGE.
    pub fetch_offset: i64,
    /// Largest number of bytes wanted.
    pub max_bytes: i32,
    /// The leader epoch that the client knows.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record that the client has (v12+).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where the last read of this partition ended.
    pub cursor: Option<ResumeAt>,
    /// High watermark and log start that the last answer told.
    pub told: Option<(Offset, Offset)>,
}

/// The partitions of one session, in the order in which they are served.
#[derive(Debug, Default)]
pub struct Session {
    /// Named by id (v13+) or by name: a session cannot change that.
    pub uses_ids: bool,
    /// Epoch that the next request must carry. Watched by a request that waits: the next one ends its wait.
    epoch: watch::Sender<i32>,
    partitions: Vec<FetchPartition>,
    places: HashMap<(TopicKey, i32), usize>,
    /// Where serving starts, so that a busy partition does not starve those behind it.
    start: usize,
    /// What a follower's partitions tell.
    news: Arc<News>,
    /// When all partitions were looked at last, and for which lifetime of the follower.
    looked_at: Option<(Duration, ReplicaEntry)>,
}

impl Session {
    fn put(&mut self, wanted: FetchPartition) {
        let key = (wanted.topic.clone(), wanted.index);
        if let Some(held) = self.places.get(&key).and_then(|place| self.partitions.get_mut(*place)) {
            let same_position = held.fetch_offset == wanted.fetch_offset;
            let cursor = wanted.cursor.or_else(|| held.cursor.take());
            let told = if same_position { held.told } else { None };
            *held = FetchPartition { cursor, told, ..wanted };
        } else {
            self.places.insert(key, self.partitions.len());
            self.partitions.push(wanted);
        }
    }

    fn remove(&mut self, topic: &TopicKey, index: i32) {
        if let Some(place) = self.places.remove(&(topic.clone(), index)) {
            self.partitions.swap_remove(place);
            if let Some(moved) = self.partitions.get(place) {
                self.places.insert((moved.topic.clone(), moved.index), place);
            }
        }
    }

    /// The partitions in serving order.
    #[must_use]
    pub fn in_order(&self) -> Vec<FetchPartition> {
        let start = self.start.checked_rem(self.partitions.len()).unwrap_or(0);
        let (before, from) = self.partitions.split_at(start);
        from.iter().chain(before).cloned().collect()
    }

    /// Remembers what an answer told of a partition, and where its read ended.
    pub fn answered(
        &mut self,
        topic: &TopicKey,
        index: i32,
        told: Option<(Offset, Offset)>,
        cursor: Option<ResumeAt>,
        had_data: bool,
    ) {
        let Some(place) = self.places.get(&(topic.clone(), index)).copied() else { return };
        if let Some(held) = self.partitions.get_mut(place) {
            held.told = told;
            if cursor.is_some() {
                held.cursor = cursor;
            }
        }
        if had_data {
            self.start = place + 1;
        }
    }
}

/// What a fetch request says of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRequest {
    /// 0 for none.
    pub id: i32,
    /// 0 opens a session, -1 ends it or asks for none.
    pub epoch: i32,
    /// Partitions are named by id.
    pub uses_ids: bool,
    /// A follower's, which looks at its partitions when they have news ([`Turn::to_look_at`]).
    pub follower: bool,
}

/// Why a session cannot go on (KIP-227).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND.
    #[error("fetch session {0} does not exist")]
    NotFound(i32),
    /// INVALID_FETCH_SESSION_EPOCH.
    #[error("fetch session epoch {got} does not follow; expected {expected}")]
    InvalidEpoch {
        /// As the request says.
        got: i32,
        /// As the session expects.
        expected: i32,
    },
    /// FETCH_SESSION_TOPIC_ID_ERROR: the session names topics in the other way.
    #[error("the fetch session and the request do not both use topic ids")]
    TopicIds,
}

/// How a fetch is served.
#[derive(Debug, Clone)]
pub enum SessionContext {
    /// No session: answer every partition, session id 0.
    Sessionless,
    /// The first fetch of a session: answer every partition, and tell the id.
    Full(Turn),
    /// A later fetch: answer only partitions with something new.
    Incremental(Turn),
}

impl SessionContext {
    /// The id that the answer carries.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.turn().map_or(0, |turn| turn.id)
    }

    /// The request's place in its session, if there is one.
    #[must_use]
    pub const fn turn(&self) -> Option<&Turn> {
        match self {
            Self::Sessionless => None,
            Self::Full(turn) | Self::Incremental(turn) => Some(turn),
        }
    }

    /// All that a request asks for which names `named`, in serving order.
    #[must_use]
    pub fn partitions(&self, named: Vec<FetchPartition>) -> Vec<FetchPartition> {
        match self {
            Self::Sessionless | Self::Full(_) => named,
            Self::Incremental(turn) => turn.session().in_order(),
        }
    }

    /// Ends when the client has sent the next request of the session: it wants the answer to this one now.
    pub fn superseded(&self) -> impl Future<Output = ()> + Send + use<> {
        let next = self.turn().map(|turn| (turn.session().epoch.subscribe(), turn.epoch));
        async move {
            if let Some((mut next, expected)) = next
                && next.wait_for(|epoch| *epoch != expected).await.is_ok()
            {
                return;
            }
            std::future::pending().await
        }
    }
}

/// A request in its session.
#[derive(Debug, Clone)]
pub struct Turn {
    id: i32,
    session: Arc<Mutex<Session>>,
    /// What the session's epoch is until the next request.
    epoch: i32,
}

impl Turn {
    /// The session.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, unless the next request has come: then it is the next one's.
    fn session_of_this_turn(&self) -> Option<MutexGuard<'_, Session>> {
        Some(self.session()).filter(|session| *session.epoch.borrow() == self.epoch)
    }

    /// What the session's partitions tell.
    #[must_use]
    pub fn news(&self) -> Arc<News> {
        Arc::clone(&self.session().news)
    }

    /// What a fetch of `follower` is to look at: partitions that were named or have news; all of them if that was not done for
    /// `at_least_every`. `None` if the next request has come: it looks.
    #[must_use]
    pub fn to_look_at(
        &self,
        follower: ReplicaEntry,
        now: Duration,
        at_least_every: Duration,
    ) -> Option<Vec<FetchPartition>> {
        let mut session = self.session_of_this_turn()?;
        let told = session.news.take();
        let is_due =
            |(at, by): (Duration, ReplicaEntry)| by != follower || now.saturating_sub(at) >= at_least_every;
        if session.looked_at.is_none_or(is_due) {
            session.looked_at = Some((now, follower));
            return Some(session.in_order());
        }
        let places =
            told.into_iter().filter_map(|(topic, index)| session.places.get(&(TopicKey::Id(topic), index)));
        Some(places.filter_map(|place| session.partitions.get(*place).cloned()).collect())
    }

    /// Remembers what the answer to this request tells of a partition, and where its read ended. Once the next request has come the
    /// client may take no notice of it: then it is told again.
    pub fn answered(
        &self,
        asked: &FetchPartition,
        told: Option<(Offset, Offset)>,
        cursor: Option<ResumeAt>,
        had_data: bool,
    ) {
        if let Some(mut session) = self.session_of_this_turn() {
            session.answered(&asked.topic, asked.index, told, cursor, had_data);
        }
    }
}

struct Slot {
    session: Arc<Mutex<Session>>,
    last_used: Duration,
}

/// All fetch sessions of this broker.
pub struct FetchSessions {
    slots_max: usize,
    slots: Mutex<BTreeMap<i32, Slot>>,
}

impl FetchSessions {
    /// Room for `slots_max` sessions.
    #[must_use]
    pub const fn new(slots_max: usize) -> Self {
        Self { slots_max, slots: Mutex::new(BTreeMap::new()) }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Finds how a request is served, and gives `wanted` back. `wanted` and `forgotten` are as the request lists them; `now` is time since
    /// boot.
    ///
    /// # Errors
    /// [`SessionError`] when the client must begin anew.
    pub fn begin(
        &self,
        request: SessionRequest,
        wanted: Vec<FetchPartition>,
        forgotten: &[(TopicKey, i32)],
        now: Duration,
    ) -> Result<(SessionContext, Vec<FetchPartition>), SessionError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if request.epoch <= 0 {
            slots.remove(&request.id);
            if request.epoch < 0 || wanted.is_empty() || !make_room(&mut slots, self.slots_max, now) {
                return Ok((SessionContext::Sessionless, wanted));
            }
            let mut session =
                Session { uses_ids: request.uses_ids, epoch: watch::Sender::new(1), ..Session::default() };
            wanted.iter().cloned().for_each(|partition| session.put(partition));
            let id = new_id(&slots);
            let session = Arc::new(Mutex::new(session));
            slots.insert(id, Slot { session: Arc::clone(&session), last_used: now });
            return Ok((SessionContext::Full(Turn { id, session, epoch: 1 }), wanted));
        }
        let slot = slots.get_mut(&request.id).ok_or(SessionError::NotFound(request.id))?;
        slot.last_used = now;
        let shared = Arc::clone(&slot.session);
        drop(slots);
        let mut session = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = *session.epoch.borrow();
        if expected != request.epoch {
            return Err(SessionError::InvalidEpoch { got: request.epoch, expected });
        }
        if session.uses_ids != request.uses_ids {
            return Err(SessionError::TopicIds);
        }
        let epoch = expected.checked_add(1).unwrap_or(1);
        session.epoch.send_replace(epoch);
        for (topic, index) in forgotten {
            session.remove(topic, *index);
        }
        for partition in &wanted {
            session.put(partition.clone());
            // Not left to this request: the next one may come before it has looked.
            if let (TopicKey::Id(topic), true) = (&partition.topic, request.follower) {
                session.news.tell((*topic, partition.index), false);
            }
        }
        drop(session);
        Ok((SessionContext::Incremental(Turn { id: request.id, session: shared, epoch }), wanted))
    }
}

fn make_room(slots: &mut BTreeMap<i32, Slot>, slots_max: usize, now: Duration) -> bool {
    if slots.len() < slots_max {
        return true;
    }
    let oldest = slots.iter().min_by_key(|(_, slot)| slot.last_used).map(|(id, slot)| (*id, slot.last_used));
    match oldest {
        Some((id, last_used)) if now.saturating_sub(last_used) > EVICTABLE_AFTER => {
            slots.remove(&id);
            true
        }
        _ => false,
    }
}

fn new_id(slots: &BTreeMap<i32, Slot>) -> i32 {
    loop {
        let id = i32::try_from(random::below(i32::MAX.unsigned_abs().into())).unwrap_or(0);
        if id > 0 && !slots.contains_key(&id) {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
