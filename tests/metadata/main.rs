//! The conformance suite of etcd's semantics: every case runs against the embedded store and against real servers, and must pass
//! on each. A server that is not installed skips its cases by name; with `KETCD_NO_SKIPS=1` that is a failure.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod backend;
#[path = "../common/etcd.rs"]
mod etcd;
mod etcdctl;
mod lease;
mod limits;
mod only_embedded;
mod outage;
mod range;
mod restart;
mod sequence;
mod twins;
mod txn;
mod watch;

/// Makes one test per backend of each case.
macro_rules! conformance {
    ($($file:ident::$case:ident),* $(,)?) => {
        conformance!(@backend embedded Embedded $($file::$case)*);
        conformance!(@backend etcd_3_4 Debian $($file::$case)*);
        conformance!(@backend etcd_3_7 Current $($file::$case)*);
    };
    (@backend $name:ident $kind:ident $($file:ident::$case:ident)*) => {
        mod $name {
            $(
                #[test]
                fn $case() {
                    let name = concat!(stringify!($name), "::", stringify!($case));
                    crate::backend::run(crate::backend::Kind::$kind, name, crate::$file::$case);
                }
            )*
        }
    };
}

conformance![
    txn::every_compare_target_and_operator_holds_exactly_when_it_should,
    txn::a_compare_on_a_missing_key_sees_zeros_and_no_value,
    txn::a_compare_over_a_range_must_hold_for_every_key,
    txn::operations_see_the_changes_before_them_and_share_one_revision,
    txn::a_range_is_deleted_inside_a_txn,
    txn::nested_compares_are_decided_before_the_first_change,
    txn::a_txn_that_changes_nothing_uses_no_revision,
    txn::puts_can_keep_the_value_or_the_lease,
    limits::a_txn_takes_128_operations_and_not_129,
    limits::one_txn_must_not_change_a_key_twice,
    limits::a_request_above_1_5_mib_is_refused,
    limits::malformed_requests_are_refused_in_etcds_words,
    range::a_prefix_is_paged_at_a_fixed_revision_while_writes_go_on,
    range::every_sort_target_and_order_with_a_limit,
    range::filters_by_revision_keep_the_count_of_the_whole_range,
    range::keys_only_count_only_and_open_ends,
    range::future_and_compacted_revisions_are_refused,
    range::a_deleted_key_starts_anew,
    sequence::a_thousand_concurrent_creators_of_sequential_keys_each_get_one,
    watch::a_watch_from_a_past_revision_tells_everything_once_and_in_order,
    watch::a_txn_is_told_in_one_message,
    watch::filters_and_previous_values,
    watch::several_watches_share_a_stream_and_one_is_cancelled,
    watch::progress_is_told_on_demand_after_everything_before_it,
    watch::progress_is_told_periodically,
    watch::a_watch_below_the_compaction_is_cancelled_with_its_revision,
    watch::a_watch_that_was_open_survives_a_compaction,
    watch::large_messages_are_split_when_allowed,
    lease::a_lease_that_is_not_renewed_takes_its_keys_in_one_revision,
    lease::a_renewed_lease_stays,
    lease::a_revoked_lease_takes_its_keys_at_once,
    lease::a_put_with_a_dead_lease_is_refused_and_changes_nothing,
    lease::a_key_hangs_on_the_lease_of_its_last_put,
    lease::grants_are_checked,
    restart::everything_answered_is_there_after_a_restart,
];
