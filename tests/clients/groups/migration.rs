//! A group that goes from the classic protocol to the one of KIP-848 and back, member by member, while it works.

use serde_json::json;

use super::flavour::{Flavour, everywhere};
use super::member::{Member, all_consumed, all_of, produce, settled};
use crate::family::Family;
use crate::fixture::short_sessions;

#[test]
fn a_group_rolls_to_the_new_protocol_and_back_and_loses_nothing() {
    const PARTITIONS: u64 = 4;
    let both = |flavour: Flavour| flavour.modern && flavour.strategy.is_none();
    everywhere(both, |flavour| {
        let cluster = short_sessions();
        let topic = flavour.own("migration");
        let all = all_of(&topic, PARTITIONS);
        cluster.create_topic(cluster.creator(), &topic, 4, &json!({}));
        // Eager members cannot be in a group with others that keep their partitions, in the client of franz-go.
        let strategy = (flavour.family == Family::ConfluentKafka).then_some("range");
        let classic = Flavour { modern: false, strategy, ..flavour };
        let join = |flavour: Flavour| {
            let mut joining = flavour.joining(&topic, &topic);
            joining["session_ms"] = json!(super::dying::SESSION_MS);
            Member::join(cluster, flavour, &joining)
        };
        let mut gone = Vec::new();
        let mut end = 0;
        let mut members = vec![join(classic), join(classic)];
        // Two members all the time: one more of the next kind comes, then the oldest leaves.
        for next in [flavour, flavour, classic, classic] {
            settled(&mut members.iter_mut().collect::<Vec<_>>(), &all);
            produce(cluster, flavour, &topic, PARTITIONS, 20);
            members.push(join(next));
            produce(cluster, flavour, &topic, PARTITIONS, 20);
            end += 40;
            settled(&mut members.iter_mut().collect::<Vec<_>>(), &all);
            all_consumed(&mut members.iter_mut().collect::<Vec<_>>(), &gone, &all, end);
            let mut oldest = members.remove(0);
            oldest.leave();
            gone.extend(oldest.records);
        }
        settled(&mut members.iter_mut().collect::<Vec<_>>(), &all);
        produce(cluster, flavour, &topic, PARTITIONS, 20);
        all_consumed(&mut members.iter_mut().collect::<Vec<_>>(), &gone, &all, end + 20);
        let described = cluster.ask(flavour.family, &json!({"do": "describe_group", "group": topic}));
        assert_eq!(
            (&described["state"], &described["members"]),
            (&json!("Stable"), &json!(2)),
            "{described}"
        );
        members.iter_mut().for_each(|member| drop(member.leave()));
    });
}
