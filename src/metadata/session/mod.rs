//! The broker's session: one lease, its registration, and what everybody may ask about them without waiting.
//!
//! The supervisor ([`supervisor`]) runs on a thread of its own and writes [`Session`]; everybody reads it. A lease is liveness
//! only (rule E5): what is decided here is when this broker must regard *itself* as fenced.

pub(super) mod register;
pub(super) mod supervisor;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::error::MetadataError;
use super::image::ClusterImage;
use crate::types::{BrokerEpoch, BrokerId, Clock, ControllerEpoch};

/// The session as it stands, for health pages, metrics and the roles of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// This broker.
    pub broker_id: BrokerId,
    /// Its current lifetime (rule E3).
    pub broker_epoch: BrokerEpoch,
    /// The lease of the registration.
    pub lease: i64,
    /// etcd answered the last time it was asked.
    pub reachable: bool,
    /// For how long etcd has not answered.
    pub outage: Option<Duration>,
    /// Why it does not answer, or why its answers are refused.
    pub why: Option<String>,
    /// The deadline of rule E6 has passed, or the registration is gone: others may act as if this broker were dead.
    pub fenced: bool,
    /// Time left until that deadline.
    pub remaining: Duration,
    /// This broker is the controller, with that fence.
    pub controller: Option<ControllerEpoch>,
}

impl SessionState {
    /// This broker is the controller.
    #[must_use]
    pub const fn is_controller(&self) -> bool {
        self.controller.is_some()
    }
}

/// What the supervisor knows, readable from every thread.
pub(super) struct Session {
    clock: Clock,
    broker: OnceLock<BrokerId>,
    epoch: AtomicI64,
    lease: AtomicI64,
    /// `create_revision` of our candidate key; 0: we are not a candidate.
    candidacy: AtomicI64,
    /// The deadline of rule E6, milliseconds of [`Clock::elapsed`]. The one atomic that is read where it matters.
    deadline_ms: AtomicU64,
    /// A lifetime of ours that was seen to be over: beats any renewal of its lease.
    lost_epoch: AtomicI64,
    outage: Mutex<Option<Outage>>,
    outage_total_ms: AtomicU64,
    refusal: Mutex<Option<MetadataError>>,
    refused: AtomicBool,
    /// The highest revision that an image of this process had.
    seen_revision: AtomicI64,
    data_may_be_lost: AtomicBool,
    /// The end is a graceful one: the lease is revoked. Otherwise it is left to itself, as by a death.
    pub graceful: AtomicBool,
    /// What every registration of this process says of its life.
    draining: AtomicBool,
    stopping: AtomicBool,
    /// A lifetime that ends is not followed by another: this process is at its end.
    last_lifetime: AtomicBool,
    registrations: watch::Sender<BrokerEpoch>,
    /// Wakes the supervisor: something is to be looked at now.
    pub wake: Notify,
}

/// What a registration says of its broker's life, beside that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    /// It hands its leaderships over and takes no new ones.
    pub draining: bool,
    /// It is about to end (KIP-841).
    pub stopping: bool,
}

struct Outage {
    since: Duration,
    why: String,
}

impl Session {
    pub fn new(clock: Clock, data_may_be_lost: bool) -> Self {
        Self {
            clock,
            broker: OnceLock::new(),
            epoch: AtomicI64::new(0),
            lease: AtomicI64::new(0),
            candidacy: AtomicI64::new(0),
            deadline_ms: AtomicU64::new(0),
            lost_epoch: AtomicI64::new(-1),
            outage: Mutex::new(None),
            outage_total_ms: AtomicU64::new(0),
            refusal: Mutex::new(None),
            refused: AtomicBool::new(false),
            seen_revision: AtomicI64::new(0),
            data_may_be_lost: AtomicBool::new(data_may_be_lost),
            graceful: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            last_lifetime: AtomicBool::new(false),
            registrations: watch::Sender::new(BrokerEpoch(0)),
            wake: Notify::new(),
        }
    }

    pub fn broker(&self) -> Option<BrokerId> {
        self.broker.get().copied()
    }

    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Acquire))
    }

    pub fn lease(&self) -> i64 {
        self.lease.load(Ordering::Acquire)
    }

    /// Epochs of this process's registrations, the newest one.
    pub fn registrations(&self) -> watch::Receiver<BrokerEpoch> {
        self.registrations.subscribe()
    }

    /// Past the deadline, or seen to be gone, or refused. One atomic in the common case.
    pub fn is_fenced(&self) -> bool {
        self.remaining().is_zero() || self.is_lost() || self.refused.load(Ordering::Acquire)
    }

    fn remaining(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.load(Ordering::Acquire)).saturating_sub(self.clock.elapsed())
    }

    /// The current lifetime was seen to be over.
    pub fn is_lost(&self) -> bool {
        self.lost_epoch.load(Ordering::Acquire) == self.epoch.load(Ordering::Acquire)
    }

    /// A new registration holds.
    fn registered(&self, broker: BrokerId, epoch: BrokerEpoch, lease: i64, deadline: Duration) {
        self.broker.get_or_init(|| broker);
        self.candidacy.store(0, Ordering::Release);
        self.lease.store(lease, Ordering::Release);
        self.epoch.store(epoch.get(), Ordering::Release);
        self.set_deadline(deadline);
        self.registrations.send_replace(epoch);
        self.answered();
    }

    fn set_deadline(&self, deadline: Duration) {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.deadline_ms.store(deadline_ms, Ordering::Release);
    }

    /// The registration is gone: fenced from now on.
    pub fn lose(&self, epoch: BrokerEpoch) {
        if epoch.get() > 0 && self.lost_epoch.swap(epoch.get(), Ordering::AcqRel) != epoch.get() {
            // Our own goodbye comes back on the watch too.
            if !self.graceful.load(Ordering::Acquire) && !self.is_last_lifetime() {
                warn!(broker_epoch = %epoch, "registration is gone from etcd, registering again");
            }
            self.wake.notify_one();
        }
    }

    /// etcd answered.
    pub fn answered(&self) {
        let ended = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outage) = ended {
            let lasted = self.clock.elapsed().saturating_sub(outage.since);
            let lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
            self.outage_total_ms.fetch_add(lasted_ms, Ordering::Relaxed);
            info!(outage_ms = lasted_ms, "etcd is reachable again");
        }
    }

    /// etcd did not answer.
    pub fn no_answer(&self, why: &str) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *outage {
            Some(outage) => why.clone_into(&mut outage.why),
            None => {
                warn!(why, "etcd is unreachable: serving goes on, changes of metadata wait");
                *outage = Some(Outage { since: self.clock.elapsed(), why: why.to_owned() });
            }
        }
    }

    /// What etcd says is not believed, e.g. after a rollback (rule E13). Fences until an operator acts.
    pub fn refuse(&self, error: MetadataError) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refusal.as_ref() != Some(&error) {
            tracing::error!(%error, "this broker does not follow etcd any more");
            *refusal = Some(error);
        }
        self.refused.store(true, Ordering::Release);
    }

    /// The highest revision that an image of this process had (rule E13).
    pub fn seen_revision(&self) -> i64 {
        self.seen_revision.load(Ordering::Acquire)
    }

    /// Fails at once while etcd does not answer.
    pub fn check_reachable(&self) -> Result<(), MetadataError> {
        if let Some(error) = &*self.refusal.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        match &*self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(outage) => Err(MetadataError::Unreachable {
                why: outage.why.clone(),
                since: self.clock.elapsed().saturating_sub(outage.since),
            }),
            None => Ok(()),
        }
    }

    /// Total time without an answer, the current outage included.
    pub fn outage_total(&self) -> Duration {
        let current = self.outage_so_far().unwrap_or_default();
        Duration::from_millis(self.outage_total_ms.load(Ordering::Relaxed)) + current
    }

    fn outage_so_far(&self) -> Option<Duration> {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.as_ref().map(|outage| self.clock.elapsed().saturating_sub(outage.since))
    }

    /// Data may have been lost: the next registration says so (rule B2).
    pub fn note_data_lost(&self) {
        self.data_may_be_lost.store(true, Ordering::Release);
    }

    /// Takes the note for a registration; if that fails, it is to be noted again. A note of meanwhile stays for the next one.
    fn take_data_lost(&self) -> bool {
        self.data_may_be_lost.swap(false, Ordering::AcqRel)
    }

    /// What the next registrations of this process say.
    pub fn set_flags(&self, flags: Flags) {
        self.draining.store(flags.draining, Ordering::Release);
        self.stopping.store(flags.stopping, Ordering::Release);
    }

    pub fn flags(&self) -> Flags {
        Flags {
            draining: self.draining.load(Ordering::Acquire),
            stopping: self.stopping.load(Ordering::Acquire),
        }
    }

    /// This process is at its end: whoever ends its session now is right, and no new one begins.
    pub fn end_with_this_lifetime(&self) {
        self.last_lifetime.store(true, Ordering::Release);
    }

    /// No new lifetime is to begin.
    pub fn is_last_lifetime(&self) -> bool {
        self.last_lifetime.load(Ordering::Acquire)
    }

    /// Our candidacy as long as the current registration holds: lease and fence.
    pub fn candidacy(&self) -> Option<(i64, ControllerEpoch)> {
        let epoch = self.candidacy.load(Ordering::Acquire);
        (epoch > 0).then(|| (self.lease(), ControllerEpoch(epoch)))
    }

    /// Our candidate key under `lease` stands (or, with 0, is gone); a lease that is no longer ours says nothing.
    fn set_candidacy(&self, lease: i64, create_revision: i64) {
        if self.lease() == lease {
            self.candidacy.store(create_revision, Ordering::Release);
        }
    }

    /// The fence under which this broker is the controller, by `image`.
    pub fn controller(&self, image: &ClusterImage) -> Option<ControllerEpoch> {
        let (_, mine) = self.candidacy()?;
        let (broker, epoch) = image.controller?;
        (Some(broker) == self.broker() && epoch == mine).then_some(epoch)
    }

    /// Compares a new image with what the supervisor believes: a DELETE of our own key beats any renewal.
    pub fn observe(&self, image: &ClusterImage) {
        self.seen_revision.fetch_max(image.revision, Ordering::AcqRel);
        let (Some(broker), epoch) = (self.broker(), self.epoch()) else { return };
        if image.revision < epoch.get() {
            return;
        }
        if image.brokers.get(&broker).map(|live| live.epoch) != Some(epoch) {
            self.lose(epoch);
        } else if let Some((lease, candidacy)) = self.candidacy()
            && image.revision >= candidacy.get()
            && !image.candidates.contains_key(&lease)
        {
            self.set_candidacy(lease, 0);
            self.wake.notify_one();
        }
    }

    pub fn state(&self, image: &ClusterImage) -> SessionState {
        let refusal =
            self.refusal.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ToString::to_string);
        let why = self.outage.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|o| o.why.clone());
        let outage = self.outage_so_far();
        SessionState {
            broker_id: self.broker().unwrap_or(BrokerId(-1)),
            broker_epoch: self.epoch(),
            lease: self.lease(),
            reachable: outage.is_none(),
            outage,
            why: refusal.or(why),
            fenced: self.is_fenced(),
            remaining: self.remaining(),
            controller: self.controller(image),
        }
    }
}

/// The deadline of rule E6: the instant before the request was sent, plus the granted time, less a margin for other clocks.
fn deadline_of(sent: Duration, granted: Duration) -> Duration {
    let margin = Duration::from_millis(500).max(granted / 10);
    sent + granted.saturating_sub(margin)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::image::{BrokerImage, CandidateImage};

    fn registered(clock: &Clock) -> Session {
        let session = Session::new(clock.clone(), false);
        session.registered(
            BrokerId(1),
            BrokerEpoch(5),
            77,
            deadline_of(clock.elapsed(), Duration::from_secs(9)),
        );
        session
    }

    fn image(revision: i64, epoch: Option<i64>) -> ClusterImage {
        let mut image = ClusterImage { revision, ..ClusterImage::default() };
        if let Some(epoch) = epoch {
            let broker = BrokerImage::of(BrokerId(1), BrokerEpoch(epoch));
            image.brokers.insert(BrokerId(1), Arc::new(broker));
        }
        image
    }

    #[test]
    fn the_deadline_counts_from_before_the_request_and_keeps_a_margin() {
        let second = Duration::from_secs(1);
        assert_eq!(deadline_of(second, second * 9), Duration::from_millis(9_100));
        assert_eq!(deadline_of(second, second * 2), Duration::from_millis(2_500));
        assert_eq!(deadline_of(second, second / 4), second);
    }

    #[test]
    fn a_session_is_fenced_when_its_deadline_passes() {
        let clock = Clock::manual(1_000);
        let session = registered(&clock);
        assert!(!session.is_fenced());
        clock.advance(Duration::from_millis(8_099));
        assert!(!session.is_fenced());
        clock.advance(Duration::from_millis(1));
        assert!(session.is_fenced());
    }

    #[test]
    fn a_deleted_registration_fences_whatever_the_renewals_say() {
        let clock = Clock::manual(1_000);
        let session = registered(&clock);
        session.observe(&image(4, None));
        assert!(!session.is_fenced(), "an image older than the registration says nothing");
        session.observe(&image(5, Some(5)));
        assert!(!session.is_fenced());
        session.observe(&image(6, None));
        assert!(session.is_fenced());
        session.set_deadline(Duration::from_secs(1_000_000));
        assert!(session.is_fenced());
        session.registered(BrokerId(1), BrokerEpoch(9), 78, Duration::from_secs(1_000_000));
        assert!(!session.is_fenced());
    }

    #[test]
    fn a_refused_etcd_fences_whatever_the_renewals_say() {
        let clock = Clock::manual(1_000);
        let session = registered(&clock);
        let error = MetadataError::RolledBack { seen: 9, now: 3 };
        session.refuse(error.clone());
        session.set_deadline(Duration::from_secs(1_000_000));
        assert!(session.is_fenced());
        assert_eq!(session.check_reachable(), Err(error));
    }

    #[test]
    fn an_outage_fails_fast_and_is_counted() {
        let clock = Clock::manual(1_000);
        let session = registered(&clock);
        assert_eq!(session.check_reachable(), Ok(()));
        session.no_answer("frozen");
        clock.advance(Duration::from_secs(3));
        let since = Duration::from_secs(3);
        assert_eq!(
            session.check_reachable(),
            Err(MetadataError::Unreachable { why: "frozen".into(), since })
        );
        assert_eq!(session.state(&ClusterImage::default()).outage, Some(since));
        session.answered();
        assert_eq!(session.check_reachable(), Ok(()));
        assert_eq!(session.outage_total(), since);
    }

    #[test]
    fn only_the_first_candidate_is_the_controller() {
        let clock = Clock::manual(1_000);
        let session = registered(&clock);
        session.set_candidacy(77, 7);
        let mut seen = image(7, Some(5));
        let candidate = |epoch| CandidateImage {
            broker: BrokerId(1),
            broker_epoch: BrokerEpoch(5),
            epoch: ControllerEpoch(epoch),
        };
        seen.candidates.insert(77, candidate(7));
        seen.controller = Some((BrokerId(2), ControllerEpoch(3)));
        assert_eq!(session.controller(&seen), None);
        seen.controller = Some((BrokerId(1), ControllerEpoch(7)));
        assert_eq!(session.controller(&seen), Some(ControllerEpoch(7)));
        session.observe(&image(8, Some(5)));
        assert_eq!(session.candidacy(), None, "a lost candidacy is entered anew");
    }
}
