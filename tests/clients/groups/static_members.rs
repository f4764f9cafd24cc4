//! KIP-345: a member with a name of its own comes back within its session, and nobody else notices.

use serde_json::json;

use super::flavour::{Flavour, everywhere};
use super::member::{Member, all_consumed, all_of, produce, settled};
use crate::fixture::shared;

#[test]
fn a_static_member_that_restarts_disturbs_nobody() {
    const PARTITIONS: u64 = 4;
    everywhere(Flavour::has_static_members, |flavour| {
        let cluster = shared();
        let topic = flavour.own("static");
        let all = all_of(&topic, PARTITIONS);
        cluster.create_topic(cluster.creator(), &topic, 4, &json!({}));
        let joining = |instance: &str| {
            let mut joining = flavour.joining(&topic, &topic);
            joining["instance"] = json!(instance);
            joining
        };
        // The other one leads: a leader that comes back may ask for a rebalance by itself.
        let mut two = Member::join(cluster, flavour, &joining("two"));
        settled(&mut [&mut two], &all);
        let mut one = Member::join(cluster, flavour, &joining("one"));
        let before = settled(&mut [&mut one, &mut two], &all);
        produce(cluster, flavour, &topic, PARTITIONS, 20);
        all_consumed(&mut [&mut one, &mut two], &[], &all, 20);
        // Cooperative members join once more after they gave partitions away.
        let stable = json!({"do": "describe_group", "group": topic});
        let two_before = two.until("in the same generation", |_, seen| {
            seen.generation == one.look().generation
                && cluster.ask(flavour.family, &stable)["state"] == "Stable"
        });

        one.leave();
        produce(cluster, flavour, &topic, PARTITIONS, 20);
        let mut again = Member::join(cluster, flavour, &joining("one"));
        let back = again.until("back with its partitions", |_, seen| seen.assigned == before[0].assigned);
        all_consumed(&mut [&mut two, &mut again], &one.records, &all, 40);
        let two_after = two.look();
        assert_eq!(two_after.events, two_before.events, "the other member is left alone");
        if !flavour.modern {
            assert_eq!(two_after.generation, two_before.generation, "no rebalance: {back:?}");
        }
        again.leave();
        two.leave();
    });
}
