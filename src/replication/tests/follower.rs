use super::super::world::{at, guarded};
use super::*;

/// Where epochs begin, and where the log ends.
#[derive(Debug, Clone)]
struct Epochs(Vec<(i32, i64)>, i64);

impl EpochLog for Epochs {
    fn log_end(&self) -> Offset {
        at(self.1)
    }

    fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|(epoch, _)| LeaderEpoch(*epoch))
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let (latest, _) = *self.0.last()?;
        if epoch.get() >= latest {
            return (epoch.get() == latest).then(|| (epoch, at(self.1)));
        }
        let next = self.0.iter().position(|(known, _)| *known > epoch.get())?;
        let floor = next.checked_sub(1).map_or(epoch, |floor| LeaderEpoch(self.0[floor].0));
        Some((floor, at(self.0[next].1)))
    }
}

impl Epochs {
    fn cut(&mut self, to: Offset) {
        self.1 = self.1.min(to.get());
        self.0.retain(|(_, start)| *start < to.get());
    }
}

/// Rounds of fetch and cut until the leader would send records, and where the follower ends then.
fn reconcile(leader: &Epochs, follower: &mut Epochs, high_watermark: i64) -> (usize, Offset) {
    for round in 0..10 {
        match divergence(leader, position(follower)) {
            Some(says) => follower.cut(truncation(follower, at(high_watermark), says).to),
            None => return (round, follower.log_end()),
        }
    }
    panic!("{follower:?} does not converge on {leader:?}");
}

fn answer(leader: &Epochs, offset: i64, epoch: i32) -> Option<(i32, i64)> {
    let from = FetchFrom { offset: at(offset), last_fetched_epoch: Some(LeaderEpoch(epoch)) };
    divergence(leader, from).map(|(epoch, end)| (epoch.get(), end.get()))
}

#[test]
fn a_fetch_says_where_the_log_ends_and_in_which_epoch() {
    assert_eq!(
        position(&Epochs(vec![(2, 0), (5, 7)], 9)),
        FetchFrom { offset: at(9), last_fetched_epoch: Some(LeaderEpoch(5)) }
    );
    assert_eq!(position(&Epochs(vec![], 0)), FetchFrom { offset: at(0), last_fetched_epoch: None });
}

#[test]
fn a_log_that_parts_from_the_leaders_is_found() {
    guarded(&[Bug::L10NoDivergence], || {
        let leader = Epochs(vec![(1, 0), (3, 10), (5, 20)], 30);
        assert_eq!(answer(&leader, 12, 1), Some((1, 10)), "longer than the leader's in that epoch");
        assert_eq!(answer(&leader, 12, 2), Some((1, 10)), "an epoch that the leader never saw");
        assert_eq!(answer(&leader, 8, 2), Some((1, 10)), "wherever it ends");
        assert_eq!(answer(&leader, 30, 6), Some((5, 30)), "above all that the leader knows");
        assert_eq!(answer(&leader, 31, 5), Some((5, 30)));
    });
    let leader = Epochs(vec![(1, 0), (3, 10), (5, 20)], 30);
    for (offset, epoch) in [(10, 1), (9, 1), (15, 3), (20, 3), (20, 5), (30, 5)] {
        assert_eq!(answer(&leader, offset, epoch), None, "{offset} in {epoch} is the leader's own");
    }
    assert_eq!(divergence(&leader, FetchFrom { offset: at(9), last_fetched_epoch: None }), None);
}

#[test]
fn epochs_that_retention_removed_at_the_leader_do_not_diverge() {
    let leader = Epochs(vec![(5, 100)], 130);
    assert_eq!(answer(&leader, 100, 3), None);
    assert_eq!(answer(&leader, 101, 3), Some((3, 100)));
}

// N2.
#[test]
fn a_follower_keeps_what_is_above_its_high_watermark() {
    guarded(&[Bug::F2ToHighWatermark], || {
        // It led in epoch 3 without a record; all ten records are committed, it knows of five.
        let leader = Epochs(vec![(2, 0), (4, 10)], 12);
        let mut follower = Epochs(vec![(2, 0), (3, 10)], 10);
        assert_eq!(reconcile(&leader, &mut follower, 5), (1, at(10)));
    });
}

// N3.
#[test]
fn a_follower_is_cut_where_its_log_parts_from_the_leaders() {
    let leader = Epochs(vec![(1, 0), (3, 10)], 15);
    let mut follower = Epochs(vec![(1, 0), (2, 8)], 20);
    assert_eq!(reconcile(&leader, &mut follower, 8), (1, at(8)));
    let mut longer = Epochs(vec![(1, 0)], 20);
    assert_eq!(reconcile(&leader, &mut longer, 8), (1, at(10)));
}

// N4: KIP-279.
#[test]
fn two_quick_failovers_take_two_rounds() {
    guarded(&[Bug::F2OneRound], || {
        let leader = Epochs(vec![(1, 0), (2, 10), (4, 20)], 30);
        let mut follower = Epochs(vec![(1, 0), (3, 15)], 25);
        assert_eq!(reconcile(&leader, &mut follower, 10), (2, at(10)));
    });
}

#[test]
fn a_cut_is_never_beyond_the_own_log() {
    let follower = Epochs(vec![(1, 0), (3, 15)], 25);
    let cut = |says: (i32, i64)| truncation(&follower, at(0), (LeaderEpoch(says.0), at(says.1))).to.get();
    assert_eq!(cut((3, 90)), 25);
    assert_eq!(cut((3, 20)), 20);
    assert_eq!(cut((9, 90)), 25, "an epoch above all of ours");
    assert_eq!(cut((2, 18)), 15, "an epoch that is not known here: to the end of the one before");
    assert_eq!(truncation(&Epochs(vec![], 4), at(0), (LeaderEpoch(2), at(3))).to, at(3));
}

#[test]
fn a_cut_below_the_high_watermark_is_told() {
    let follower = Epochs(vec![(1, 0)], 25);
    let says = (LeaderEpoch(1), at(20));
    assert!(truncation(&follower, at(21), says).below_high_watermark);
    assert!(!truncation(&follower, at(20), says).below_high_watermark);
}

#[test]
fn a_follower_believes_no_high_watermark_beyond_its_log() {
    assert_eq!(high_watermark(at(7), at(5)), at(5));
    assert_eq!(high_watermark(at(5), at(7)), at(5));
}

#[test]
fn a_position_outside_of_the_leaders_log_begins_anew_only_below_it() {
    assert_eq!(out_of_range(at(5), at(6), at(9)), OutOfRange::StartAt(at(6)));
    assert_eq!(out_of_range(at(9), at(2), at(7)), OutOfRange::TruncateTo(at(7)));
    assert_eq!(out_of_range(at(6), at(6), at(9)), OutOfRange::Retry);
    assert_eq!(out_of_range(at(9), at(6), at(9)), OutOfRange::Retry);
}

mod any_logs {
    use proptest::prelude::*;

    use super::*;

    /// What was appended where, by epochs: a log's records as the epoch of each offset.
    fn epochs_of(records: &[i32]) -> Epochs {
        let mut starts: Vec<(i32, i64)> = Vec::new();
        for (offset, epoch) in (0..).zip(records) {
            if starts.last().is_none_or(|(last, _)| last != epoch) {
                starts.push((*epoch, offset));
            }
        }
        Epochs(starts, i64::try_from(records.len()).unwrap())
    }

    /// Two logs that agree on a prefix; after it they have no epoch in common with the same content.
    fn logs() -> impl Strategy<Value = (Vec<i32>, Vec<i32>, usize)> {
        let runs = || proptest::collection::vec((1..4_i32, 0..4_usize), 0..5);
        (runs(), runs(), runs()).prop_map(|(shared, left, right)| {
            let mut epoch = 0;
            let mut grow = |log: &mut Vec<i32>, parity: i32, runs: &[(i32, usize)]| {
                for (step, count) in runs {
                    epoch += 2 * step;
                    log.extend(std::iter::repeat_n(epoch + parity, *count));
                }
            };
            let mut both = Vec::new();
            grow(&mut both, 0, &shared);
            let prefix = both.len();
            let (mut follower, mut leader) = (both.clone(), both);
            // Epochs of the two never meet: an epoch has one leader (rule E1).
            grow(&mut follower, 1, &left);
            grow(&mut leader, 0, &right);
            (leader, follower, prefix)
        })
    }

    proptest! {
        #[test]
        fn end_where_they_part((leader, follower, prefix) in logs()) {
            let leader_log = {
                // The leader has begun its epoch (rule L1).
                let mut log = epochs_of(&leader);
                log.0.push((99, log.1));
                log
            };
            let mut follower_log = epochs_of(&follower);
            let (_, end) = reconcile(&leader_log, &mut follower_log, 0);
            let end = usize::try_from(end.get()).unwrap();
            prop_assert_eq!(&follower[..end], &leader[..end], "what is left is the leader's");
            prop_assert!(end >= prefix, "nothing that both have is cut");
        }
    }
}
