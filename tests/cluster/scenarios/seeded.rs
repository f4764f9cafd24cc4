//! The test of the tests: brokers with one guard left out (`types::seeded`) must be found out. Built with `--features seeded-bugs` only.

use super::losses;
use crate::turn;

#[test]
#[should_panic(expected = "LostWrite")]
fn b2_ignored_is_found() {
    turn::alone(|| losses::power_failure_of_a_leader(Some("B2Ignored")));
}

#[test]
#[should_panic(expected = "LostWrite")]
fn u1_unknown_ignored_is_found() {
    turn::alone(|| losses::power_failure_of_a_leader(Some("U1UnknownIgnored")));
}

#[test]
#[should_panic(expected = "LostWrite")]
fn u2_no_elr_is_found() {
    turn::alone(|| losses::power_failure_of_the_last(Some("U2NoElr")));
}

#[test]
#[should_panic]
fn l10_no_divergence_is_found() {
    turn::alone(|| losses::divergence(Some("L10NoDivergence")));
}
