//! What happened to ISRs and to replicas on the move, one function per event.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::Scrape;

static ISR_SHRINKS: AtomicU64 = AtomicU64::new(0);
static ISR_EXPANDS: AtomicU64 = AtomicU64::new(0);
static ISR_FAILED: AtomicU64 = AtomicU64::new(0);
static REASSIGNMENTS: AtomicU64 = AtomicU64::new(0);

/// A leader's change of its ISR was written: some left, or some joined.
pub fn isr_changed(left: bool, joined: bool) {
    ISR_SHRINKS.fetch_add(u64::from(left), Ordering::Relaxed);
    ISR_EXPANDS.fetch_add(u64::from(joined), Ordering::Relaxed);
}

/// A leader's change of its ISR was not written.
pub fn isr_change_failed() {
    ISR_FAILED.fetch_add(1, Ordering::Relaxed);
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
    scrape.counter(
        "ketcd_controller_completed_reassignments",
        "Reassignments that this broker completed as controller",
        of(&REASSIGNMENTS),
    );
}
