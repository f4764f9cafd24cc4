//! The supervisor: grants, renews, notices, registers again. It never gives up and never ends the process.
//!
//! It has a thread, a runtime and a connection of its own: no log, no map, no big range there, so that a page fault or a slow
//! watch never costs the lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::register::{Held, Registrar, unreachable};
use super::{Session, deadline_of};
use crate::metadata::client::{CallError, sort};
use crate::metadata::error::MetadataError;
use crate::metadata::keys::Key;
use crate::metadata::txn::{Outcome, shapes};
use crate::types::BrokerEpoch;

/// Longest wait for a renewal's answer: an outage is noticed within a third of the lease plus this.
const RENEWAL_TIMEOUT_MAX: Duration = Duration::from_millis(1_500);
/// Time between attempts while etcd does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Time between attempts to register again when a person has to act.
const REFUSED_RETRY: Duration = Duration::from_secs(5);
/// An etcd that looks like its own past this often in a row is refused (rule E13); old servers give a stale read now and then.
pub(in crate::metadata) const SUSPICIONS_MAX: u32 = 5;
/// Longest wait for the lease to be revoked at a graceful stop.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Owns the lease.
pub(in crate::metadata) struct Supervisor {
    pub session: Arc<Session>,
    pub registrar: Registrar,
    pub closing: CancellationToken,
    held: Option<Held>,
    stream: Option<(LeaseKeeper, LeaseKeepAliveStream)>,
    /// A renewal failed: before the next one counts, our own key must be seen to stand.
    doubtful: bool,
    /// How often in a row etcd looked like another cluster, or like its own past.
    suspicions: u32,
    /// What was said last, to be said once.
    last_error: Option<MetadataError>,
    /// The candidacy being entered.
    campaign: Option<JoinHandle<()>>,
}

/// What became of one renewal.
#[derive(Debug)]
enum Renewal {
    Granted(Duration),
    LeaseGone,
    NoAnswer(String),
}

impl Supervisor {
    pub fn new(session: Arc<Session>, registrar: Registrar, closing: CancellationToken) -> Self {
        Self {
            session,
            registrar,
            closing,
            held: None,
            stream: None,
            doubtful: false,
            suspicions: 0,
            last_error: None,
            campaign: None,
        }
    }

    /// Runs until closing. `started` gets the first registration's epoch, or why there is none.
    pub async fn run(mut self, started: oneshot::Sender<Result<BrokerEpoch, MetadataError>>) {
        let first = self.first_registration().await;
        let failed = first.is_err();
        let _ = started.send(first);
        if failed {
            return;
        }
        let closing = self.closing.clone();
        loop {
            let pause = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                pause = self.step() => pause,
            };
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = self.session.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.end().await;
    }

    /// Registers for the first time; an etcd that does not answer is waited for.
    async fn first_registration(&mut self) -> Result<BrokerEpoch, MetadataError> {
        let clock = self.registrar.options.clock.clone();
        let until = clock.elapsed() + self.registrar.options.start_timeout;
        let begun = clock.elapsed();
        loop {
            match self.register().await {
                Ok(held) => {
                    let epoch = held.epoch;
                    self.hold(held);
                    return Ok(epoch);
                }
                Err(MetadataError::Unreachable { why, .. }) => {
                    self.session.no_answer(&why);
                    if clock.elapsed() >= until || self.closing.is_cancelled() {
                        let since = clock.elapsed().saturating_sub(begun);
                        return Err(MetadataError::Unreachable { why, since });
                    }
                    tokio::time::sleep(RETRY / 2).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn register(&mut self) -> Result<Held, MetadataError> {
        let lost = self.session.take_data_lost();
        let registered = self.registrar.register(lost).await;
        if lost && registered.is_err() {
            self.session.note_data_lost();
        }
        registered
    }

    fn hold(&mut self, held: Held) {
        self.session.registered(held.broker, held.epoch, held.lease, held.deadline);
        self.registrar.node_id = Some(held.broker);
        self.held = Some(held);
        self.stream = None;
        self.doubtful = false;
        self.suspicions = 0;
        self.last_error = None;
    }

    /// One round: renew, or register again. Gives the time until the next one.
    async fn step(&mut self) -> Duration {
        if self.session.is_lost()
            && let Some(over) = self.held.take()
        {
            // Whoever ended this lifetime left its lease, which may still hold a candidacy.
            let connector = self.registrar.connector.clone();
            tokio::spawn(async move { connector.revoke(over.lease).await });
        }
        match self.held.as_ref().map(|held| (held.lease, held.granted, held.epoch)) {
            Some((lease, granted, epoch)) => self.keep(lease, granted, epoch).await,
            None if self.session.is_last_lifetime() => REFUSED_RETRY,
            None => self.register_again().await,
        }
    }

    async fn keep(&mut self, lease: i64, granted: Duration, epoch: BrokerEpoch) -> Duration {
        let sent = self.registrar.options.clock.elapsed();
        let renewal = self.renew(lease, granted).await;
        tracing::debug!(?renewal, lease, "renewal");
        match renewal {
            Renewal::Granted(ttl) => {
                if self.doubtful && !self.own_key_stands(epoch).await {
                    return if self.held.is_some() { RETRY } else { Duration::ZERO };
                }
                self.doubtful = false;
                self.session.set_deadline(deadline_of(sent, ttl));
                self.session.answered();
                self.campaign(lease, epoch);
                self.until_third(sent, ttl)
            }
            Renewal::LeaseGone => {
                self.held = None;
                self.stream = None;
                self.session.lose(epoch);
                Duration::ZERO
            }
            Renewal::NoAnswer(why) => {
                self.stream = None;
                self.doubtful = true;
                self.session.no_answer(&why);
                RETRY
            }
        }
    }

    /// The time left until a third of the lease is over, counted from when its renewal was sent.
    fn until_third(&self, sent: Duration, granted: Duration) -> Duration {
        (sent + granted / 3).saturating_sub(self.registrar.options.clock.elapsed())
    }

    /// Sends one renewal and waits for its answer, on the open stream or on a new one.
    async fn renew(&mut self, lease: i64, granted: Duration) -> Renewal {
        let deadline = (granted / 3).min(RENEWAL_TIMEOUT_MAX);
        let Some((keeper, stream)) = &mut self.stream else {
            return match self.registrar.connector.keep_alive(lease, deadline).await {
                Ok(opened) => {
                    self.stream = Some(opened);
                    Renewal::Granted(granted)
                }
                Err(error) if error.is_lease_gone() => Renewal::LeaseGone,
                Err(error) => Renewal::NoAnswer(error.to_string()),
            };
        };
        let exchange = async {
            keeper.keep_alive().await?;
            stream.message().await
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(Some(answer))) if answer.ttl() > 0 => {
                Renewal::Granted(Duration::from_secs(answer.ttl().unsigned_abs()))
            }
            Ok(Ok(Some(_))) => Renewal::LeaseGone,
            Ok(Ok(None)) => Renewal::NoAnswer("the stream of renewals ended".into()),
            Ok(Err(error)) => match sort(error, false) {
                error if error.is_lease_gone() => Renewal::LeaseGone,
                CallError::NoAnswer { why, .. } => Renewal::NoAnswer(why),
                CallError::Refused { message, .. } => Renewal::NoAnswer(message),
            },
            Err(_) => Renewal::NoAnswer(format!("no answer within {:.1} s", deadline.as_secs_f64())),
        }
    }

    /// After an outage: does our own registration still stand? If not, it is made anew.
    async fn own_key_stands(&mut self, epoch: BrokerEpoch) -> bool {
        let Some(id) = self.registrar.node_id else { return false };
        let key = self.registrar.keys.bytes(&Key::BrokerLive(id));
        match self.registrar.connector.read(key).await {
            Ok((Some(live), _)) if live.create_revision == epoch.get() => true,
            Ok((_, revision)) => {
                info!(broker_epoch = %epoch, revision, "registration did not outlive the outage");
                self.held = None;
                self.stream = None;
                self.session.lose(epoch);
                false
            }
            Err(error) => {
                self.session.no_answer(&error.to_string());
                false
            }
        }
    }

    /// Registers anew after the old registration ended; roles and logs are the reader's business.
    async fn register_again(&mut self) -> Duration {
        self.stream = None;
        match self.register().await {
            Ok(held) => {
                let (lease, epoch) = (held.lease, held.epoch);
                self.hold(held);
                self.campaign(lease, epoch);
                // However long that took, the first renewal confirms the session at once.
                Duration::ZERO
            }
            Err(MetadataError::Unreachable { why, .. }) => {
                self.session.no_answer(&why);
                RETRY
            }
            Err(error @ (MetadataError::RolledBack { .. } | MetadataError::ClusterIdMismatch { .. })) => {
                self.suspicions += 1;
                if self.suspicions >= SUSPICIONS_MAX {
                    self.session.refuse(error);
                }
                RETRY
            }
            Err(error) => {
                if self.last_error.as_ref() != Some(&error) {
                    error!(%error, "cannot register again, this broker stays fenced");
                    self.last_error = Some(error);
                }
                REFUSED_RETRY
            }
        }
    }

    /// Enters the election of the controller, unless entered. In a task of its own: no write may hold up a renewal.
    fn campaign(&mut self, lease: i64, epoch: BrokerEpoch) {
        let Some(id) = self.registrar.node_id.filter(|_| self.session.candidacy().is_none()) else { return };
        if self.campaign.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let session = Arc::clone(&self.session);
        let connector = self.registrar.connector.clone();
        let txn = shapes::candidacy(&self.registrar.keys, id, epoch, lease);
        self.campaign = Some(tokio::spawn(async move {
            match connector.submit(txn).await {
                Ok(Outcome::Applied { revision }) => session.set_candidacy(lease, revision),
                Ok(Outcome::Rejected { found, .. }) => {
                    // An earlier attempt of ours got through after all.
                    if let Some(candidate) = found.first().filter(|found| found.lease == lease) {
                        session.set_candidacy(lease, candidate.create_revision);
                    }
                }
                // The next renewal tries again.
                Ok(Outcome::Unknown { .. }) | Err(_) => {}
            }
        }));
    }

    /// A graceful stop: the session ends now, not when its lease does.
    async fn end(&mut self) {
        let Some(held) = self.held.take().filter(|_| self.session.graceful.load(Ordering::Acquire)) else {
            return;
        };
        let revoked = tokio::time::timeout(REVOKE_TIMEOUT, self.registrar.connector.revoke(held.lease)).await;
        self.session.set_deadline(Duration::ZERO);
        match revoked {
            Ok(Ok(())) => info!(broker_epoch = %held.epoch, "session closed"),
            Ok(Err(error)) => {
                let error = unreachable(error);
                warn!(%error, "lease is not revoked, it ends by itself");
            }
            Err(_) => warn!("lease is not revoked in time, it ends by itself"),
        }
    }
}
