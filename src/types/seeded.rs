//! Deliberate faults, one per guard of the rules: the test of the tests. None of them exists in a shipped binary.
//!
//! A guard asks [`seeded`] whether it is to be left out. Without the tests and without the feature `seeded-bugs` the answer is
//! `false` at compile time. The simulation switches faults on per thread ([`sow`]); a real process with the feature takes the name
//! from `KETCD_SEEDED_BUG`.

/// The guards that can be left out, by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A change of a record does not compare the record that was read.
    E1NoCompare,
    /// A controller writes without the compare of its own candidacy.
    E2NoFence,
    /// A registration that was seen to change its epoch counts as the same lifetime.
    E3Aba,
    /// A restarted process goes on leading in its old leader epoch.
    E3LeadsOn,
    /// An ISR expansion does not compare the follower's epoch.
    E4NoEpoch,
    /// A broker leads on the strength of its lease alone: an unknown ballot counts as won.
    E5LeaseIsProof,
    /// The deadline of the session is not looked at: acks=1 goes on (rule L12).
    E6NoDeadline,
    /// After a gap of the watch nothing is read anew.
    E7NoResync,
    /// An unknown outcome of an ISR change is taken for a rejection.
    E9UnknownIsRejected,
    /// A ballot does not compare the entries that it keeps.
    E10NoIntact,
    /// That etcd went back in time is not looked at.
    E13Believes,
    /// Where that was accepted, new leaders get the next epoch all the same.
    E13NotRaised,
    /// A new leader takes its followers' positions for known before they have fetched in its epoch.
    L1NoReset,
    /// The high watermark goes by the leader's own ISR of the moment, not the maximal one.
    L3LocalIsr,
    /// The high watermark moves whatever the size of the ISR is.
    L3NoMinIsr,
    /// The position of a follower counts whatever its replica epoch is.
    L3NoReplicaEpoch,
    /// A follower that may not join holds the high watermark back.
    L3IneligibleHolds,
    /// A follower that is being removed counts no more before the removal stands.
    L4ShrinkEarly,
    /// The outcome of a change is taken for that of the next one.
    L4OtherOutcome,
    /// A follower is added that did not fetch in this epoch.
    L5NotThisEpoch,
    /// A follower is added below the high watermark.
    L5BelowHighWatermark,
    /// A follower is added below the start of the epoch.
    L5BelowEpochStart,
    /// A shrink takes the leader itself out.
    L6RemovesItself,
    /// acks=all answers whatever the size of the ISR is.
    L7NoMinIsr,
    /// The leader epoch of a fetch is not looked at.
    L8NoEpochCheck,
    /// The diverging epoch is not looked for.
    L10NoDivergence,
    /// A produce parked in the old epoch is acknowledged after the step-down.
    L11LateAck,
    /// After an unclean election the ISR grows before the recovery is recorded.
    L13ExpandBeforeRecovered,
    /// A follower takes an answer of another leader epoch.
    F1OtherEpoch,
    /// A follower truncates to its high watermark instead of by epoch.
    F2ToHighWatermark,
    /// One round: only an epoch that the leader never saw is a divergence, the shorter epoch below it is not asked for.
    F2OneRound,
    /// Batches are appended without a look at their epoch and offset.
    F5Blind,
    /// An epoch older than one already seen is honoured.
    F7OldEpoch,
    /// The clean-shutdown marker is written before the logs are.
    B1MarkerFirst,
    /// Lost data is not recorded with the registration.
    B2Ignored,
    /// The proof of intactness is written before the registration has succeeded.
    B2ProofEarly,
    /// A broker campaigns before its image shows its own registration.
    B3TooEarly,
    /// A registration in the way is ended, whoever it is of.
    B7AnyLease,
    /// Whoever is there is elected, although the topic does not allow it.
    U1Unclean,
    /// A last known leader is elected while an entry is unknown.
    U1UnknownIgnored,
    /// The last known leader is elected although others have all records.
    U1LastKnownFirst,
    /// A member that leaves a small ISR does not become eligible.
    U2NoElr,
    /// The ELR is kept when the ISR is large enough again.
    U2NoClear,
    /// A refuted entry counts towards the size of the ISR.
    U2RefutedCounts,
    /// A preferred leader is elected outside of the ISR.
    U4OutsideIsr,
    /// A broker that stops is taken back into the ISR.
    U5TakenBack,
    /// "Latest" is told before the high watermark has reached the epoch's start.
    C2Early,
    /// A consumer beyond the high watermark is told that its offset is out of range.
    C3OutOfRange,
}

#[cfg(any(test, feature = "seeded-bugs"))]
mod sown {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Bug;

    thread_local! {
        static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// The whole process's fault, for real processes.
    pub(super) static EVERYWHERE: OnceLock<Option<String>> = OnceLock::new();

    pub(super) fn seeded(bug: Bug) -> bool {
        if HERE.get() == Some(bug) {
            return true;
        }
        let everywhere = EVERYWHERE.get_or_init(|| std::env::var("KETCD_SEEDED_BUG").ok());
        everywhere.as_ref().is_some_and(|name| *name == format!("{bug:?}"))
    }

    /// Leaves the guard of `bug` out on this thread, or with `None` no guard.
    pub fn sow(bug: Option<Bug>) {
        HERE.set(bug);
    }
}

#[cfg(any(test, feature = "seeded-bugs"))]
pub use sown::sow;

/// Whether the guard of `bug` is to be left out.
#[must_use]
#[cfg(any(test, feature = "seeded-bugs"))]
pub fn seeded(bug: Bug) -> bool {
    sown::seeded(bug)
}

/// Whether the guard of `bug` is to be left out: never.
#[must_use]
#[cfg(not(any(test, feature = "seeded-bugs")))]
pub const fn seeded(_: Bug) -> bool {
    false
}
