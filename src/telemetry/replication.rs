//! What happened to partitions and their replicas, one function per event.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::Scrape;

static ISR_SHRINKS: AtomicU64 = AtomicU64::new(0);
static ISR_EXPANDS: AtomicU64 = AtomicU64::new(0);
static ISR_FAILED: AtomicU64 = AtomicU64::new(0);
static ELECTIONS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
static BALLOTS_LOST: AtomicU64 = AtomicU64::new(0);
static SESSIONS_ENDED: AtomicU64 = AtomicU64::new(0);
static CUTS_BELOW_HIGH_WATERMARK: AtomicU64 = AtomicU64::new(0);
static REASSIGNMENTS: AtomicU64 = AtomicU64::new(0);

/// How a leadership was won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Won {
    /// By a ballot of an in-sync replica.
    InSync,
    /// By a ballot of an eligible replica.
    Eligible,
    /// By the last known leader, all others having lost something.
    LastKnownLeader,
    /// By an unclean election.
    Unclean,
    /// By a hand-over: a drain, a stop, the preferred replica.
    HandOver,
}

/// A leader's change of its ISR was written: some left, or some joined.
pub fn isr_changed(left: bool, joined: bool) {
    ISR_SHRINKS.fetch_add(u64::from(left), Ordering::Relaxed);
    ISR_EXPANDS.fetch_add(u64::from(joined), Ordering::Relaxed);
}

/// A leader's change of its ISR was not written.
pub fn isr_change_failed() {
    ISR_FAILED.fetch_add(1, Ordering::Relaxed);
}

/// This broker wrote a record that names a new leader.
pub fn elected(won: Won) {
    if let Some(counter) = ELECTIONS.get(won as usize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A ballot of this broker was not taken: somebody was faster, or the record had moved.
pub fn ballot_lost() {
    BALLOTS_LOST.fetch_add(1, Ordering::Relaxed);
}

/// This broker ended the session of a dead one before its lease did.
pub fn session_ended() {
    SESSIONS_ENDED.fetch_add(1, Ordering::Relaxed);
}

/// A leader's log ended before the high watermark that its follower here knew: records were lost that had been committed (rule F3).
pub fn cut_below_high_watermark() {
    CUTS_BELOW_HIGH_WATERMARK.fetch_add(1, Ordering::Relaxed);
}

/// This broker, as controller, completed a reassignment.
pub fn reassigned() {
    REASSIGNMENTS.fetch_add(1, Ordering::Relaxed);
}

#[allow(clippy::cast_precision_loss, reason = "nobody sees the last digit of 2^53 events")]
pub(super) fn tell(scrape: &mut Scrape<'_>) {
    let of = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    let jmx = "kafka.server:type=ReplicaManager,name=";
    scrape.counter(
        "ketcd_replication_isr_shrinks",
        &format!("Changes by which replicas left the ISR of a partition led here ({jmx}IsrShrinksPerSec)"),
        of(&ISR_SHRINKS),
    );
    scrape.counter(
        "ketcd_replication_isr_expands",
        &format!("Changes by which replicas joined the ISR of a partition led here ({jmx}IsrExpandsPerSec)"),
        of(&ISR_EXPANDS),
    );
    scrape.counter(
        "ketcd_replication_isr_failed_changes",
        &format!(
            "Changes of an ISR that were refused or whose answer was lost ({jmx}FailedIsrUpdatesPerSec)"
        ),
        of(&ISR_FAILED),
    );
    let kinds = ["in_sync", "eligible", "last_known_leader", "unclean", "hand_over"];
    let labels: Vec<_> = kinds.iter().zip(&ELECTIONS).map(|(kind, n)| ([("won", *kind)], of(n))).collect();
    let samples: Vec<(&[(&str, &str)], f64)> = labels.iter().map(|(kind, n)| (kind.as_slice(), *n)).collect();
    scrape.counters(
        "ketcd_replication_elections",
        "Leaders that this broker wrote, by how they won \
         (kafka.controller:type=ControllerStats,name=ElectionRateAndTimeMs and UncleanLeaderElectionsPerSec)",
        &samples,
    );
    scrape.counter(
        "ketcd_replication_ballots_lost",
        "Ballots of this broker that were not taken: others were faster",
        of(&BALLOTS_LOST),
    );
    scrape.counter(
        "ketcd_replication_sessions_ended",
        "Sessions of dead brokers that this broker ended before their leases did",
        of(&SESSIONS_ENDED),
    );
    scrape.counter(
        "ketcd_replication_cuts_below_high_watermark",
        "Times that a replica here had committed records that its leader lacks: only after unclean elections",
        of(&CUTS_BELOW_HIGH_WATERMARK),
    );
    scrape.counter(
        "ketcd_controller_completed_reassignments",
        "Reassignments that this broker completed as controller",
        of(&REASSIGNMENTS),
    );
}
