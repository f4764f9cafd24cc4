//! Members share partitions, and who comes later goes on where the group was.

use std::collections::BTreeSet;

use serde_json::json;

use super::flavour::{ALL, Flavour, everywhere};
use super::member::{Member, all_consumed, all_of, committed, in_events, produce, settled, times_consumed};
use crate::fixture::shared;

#[test]
fn a_lone_consumer_reads_everything_and_goes_on_after_a_restart() {
    everywhere(
        |_| true,
        |flavour| {
            let cluster = shared();
            let topic = flavour.own("lone");
            cluster.create_topic(cluster.creator(), &topic, 3, &json!({}));
            produce(cluster, flavour, &topic, 3, 50);
            let all = all_of(&topic, 3);
            let mut joining = flavour.joining(&topic, &topic);
            joining["commit"] = json!("none");
            let mut first = Member::join(cluster, flavour, &joining);
            settled(&mut [&mut first], &all);
            all_consumed(&mut [&mut first], &[], &all, 50);
            let told = first.commit();
            assert_eq!(
                told,
                json!({format!("{topic}-0"): 50, format!("{topic}-1"): 50, format!("{topic}-2"): 50})
            );
            assert!(committed(cluster, flavour, &topic, &topic).into_values().eq([50; 3]));
            first.leave();

            produce(cluster, flavour, &topic, 3, 30);
            let mut second = Member::join(cluster, flavour, &joining);
            all_consumed(&mut [&mut second], &first.records, &all, 80);
            let again = times_consumed([&*first.records, &*second.records].into_iter(), &all, 80);
            assert!(again.values().all(|times| *times == 1), "exactly once: {again:?}");
            second.leave();
            // Not committed: nothing is committed by itself with auto commit off.
            assert!(committed(cluster, flavour, &topic, &topic).into_values().eq([50; 3]));
        },
    );
}

/// One group, handed from client to client: each begins exactly where the one before committed.
#[test]
fn every_client_resumes_from_what_another_committed() {
    let cluster = shared();
    let flavours: Vec<Flavour> =
        ALL.into_iter().filter(|flavour| flavour.family.missing().is_none()).collect();
    let Some(first) = flavours.first() else { return };
    let topic = &*first.own("handed-on");
    cluster.create_topic(cluster.creator(), topic, 2, &json!({}));
    let mut end = 0;
    for flavour in flavours {
        produce(cluster, flavour, topic, 2, 10);
        let mut joining = flavour.joining(topic, topic);
        joining["commit"] = json!("none");
        let mut member = Member::join(cluster, flavour, &joining);
        member.until("all new records", |member, _| member.records.len() >= 20);
        for partition in all_of(topic, 2) {
            let seen = member.offsets(&partition);
            assert_eq!(seen, (end..end + 10).collect::<Vec<u64>>(), "{} of {partition:?}", flavour.name());
        }
        end += 10;
        member.commit();
        member.leave();
        assert!(committed(cluster, flavour, topic, topic).into_values().eq([end; 2]), "{}", flavour.name());
    }
}

#[test]
fn two_then_three_then_one_member_share_every_record() {
    const PARTITIONS: u64 = 6;
    everywhere(
        |_| true,
        |flavour| {
            let cluster = shared();
            let topic = flavour.own("shared");
            let all = all_of(&topic, PARTITIONS);
            cluster.create_topic(
                cluster.creator(),
                &topic,
                u32::try_from(PARTITIONS).expect("few"),
                &json!({}),
            );
            let mut end = 0;
            let mut more = || {
                produce(cluster, flavour, &topic, PARTITIONS, 40);
                end += 40;
                end
            };
            let joining = flavour.joining(&topic, &topic);
            let mut a = Member::join(cluster, flavour, &joining);
            let mut b = Member::join(cluster, flavour, &joining);
            more();
            settled(&mut [&mut a, &mut b], &all);
            let end_of_two = more();
            all_consumed(&mut [&mut a, &mut b], &[], &all, end_of_two);

            let mut c = Member::join(cluster, flavour, &joining);
            more();
            settled(&mut [&mut a, &mut b, &mut c], &all);
            let end_of_three = more();
            all_consumed(&mut [&mut a, &mut b, &mut c], &[], &all, end_of_three);

            a.leave();
            more();
            b.leave();
            settled(&mut [&mut c], &all);
            let last = more();
            let before = [&*a.records, &*b.records].concat();
            all_consumed(&mut [&mut c], &before, &all, last);
            c.leave();
            let times = times_consumed([&*a.records, &*b.records, &*c.records].into_iter(), &all, last);
            let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
            if flavour.commits_before_it_gives_away() {
                assert!(wrong.is_empty(), "not exactly once: {wrong:?}");
            }
            let ends = committed(cluster, flavour, &topic, &topic);
            assert!(ends.values().eq([last; 6].iter()), "everything is committed at the end: {ends:?}");
        },
    );
}

#[test]
fn partitions_that_stay_are_never_taken_away() {
    const PARTITIONS: u64 = 6;
    everywhere(Flavour::cooperative, |flavour| {
        let cluster = shared();
        let topic = flavour.own("stay");
        let all = all_of(&topic, PARTITIONS);
        cluster.create_topic(cluster.creator(), &topic, u32::try_from(PARTITIONS).expect("few"), &json!({}));
        let joining = flavour.joining(&topic, &topic);
        let mut a = Member::join(cluster, flavour, &joining);
        settled(&mut [&mut a], &all);
        let mut b = Member::join(cluster, flavour, &joining);
        produce(cluster, flavour, &topic, PARTITIONS, 20);
        let seen = settled(&mut [&mut a, &mut b], &all);
        let kept: &BTreeSet<_> = &seen[0].assigned;
        let taken: BTreeSet<_> = &in_events(&seen[0], "revoked") | &in_events(&seen[0], "lost");
        assert!(kept.is_disjoint(&taken), "kept {kept:?}, but {:?}", seen[0].events);
        assert_eq!(taken, seen[1].assigned, "exactly what moved was taken away");
        all_consumed(&mut [&mut a, &mut b], &[], &all, 20);
        a.leave();
        b.leave();
    });
}
