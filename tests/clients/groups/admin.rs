//! Groups as administrators see them, and offsets that are committed without a group.

use serde_json::json;

use super::flavour::{Flavour, everywhere};
use super::member::{Member, all_of, committed, produce, settled};
use crate::family::Family;
use crate::fixture::shared;

/// One flavour of each client: administration is the same for all of them.
fn each_client(flavour: Flavour) -> bool {
    !flavour.modern && flavour.strategy.is_none_or(|strategy| strategy == "range")
}

const NON_EMPTY_GROUP: i64 = 68;
const GROUP_ID_NOT_FOUND: i64 = 69;

#[test]
fn every_client_lists_describes_and_deletes_groups() {
    everywhere(each_client, |flavour| {
        let cluster = shared();
        let family = flavour.family;
        let group = flavour.own("administered-group");
        cluster.create_topic(cluster.creator(), &group, 2, &json!({}));
        produce(cluster, flavour, &group, 2, 5);
        let mut member = Member::join(cluster, flavour, &flavour.joining(&group, &group));
        settled(&mut [&mut member], &all_of(&group, 2));
        let about = |what: &str| json!({"do": what, "group": group});
        let listed = cluster.ask(family, &about("list_groups"));
        assert!(listed["groups"].as_array().expect("groups").contains(&json!(group)), "{listed}");
        cluster.until(family, &about("describe_group"), |told| {
            told["state"] == "Stable" && told["members"] == 1
        });
        member.until("all records", |member, _| member.records.len() == 10);
        let deletes = family != Family::Aiokafka;
        if deletes {
            assert_eq!(cluster.refused(family, &about("delete_group")), NON_EMPTY_GROUP);
        }
        member.leave();
        cluster
            .until(family, &about("describe_group"), |told| told["state"] == "Empty" && told["members"] == 0);
        assert!(committed(cluster, flavour, &group, &group).into_values().eq([5; 2]));
        if deletes {
            cluster.ask(family, &about("delete_group"));
            let listed = cluster.ask(family, &about("list_groups"));
            assert!(!listed["groups"].as_array().expect("groups").contains(&json!(group)), "{listed}");
            assert_eq!(cluster.refused(family, &about("delete_group")), GROUP_ID_NOT_FOUND);
        }
    });
}

#[test]
fn offsets_are_committed_without_joining() {
    everywhere(each_client, |flavour| {
        let cluster = shared();
        let topic = flavour.own("standalone");
        cluster.create_topic(cluster.creator(), &topic, 2, &json!({}));
        produce(cluster, flavour, &topic, 2, 10);
        for (partition, offset) in [(0, 3), (1, 7), (0, 4)] {
            let commit = json!({"do": "commit_standalone", "group": topic, "topic": topic, "partition": partition, "offset": offset});
            cluster.ask(flavour.family, &commit);
        }
        assert_eq!(committed(cluster, flavour, &topic, &topic), [(0, 4), (1, 7)].into());
        // A member of that group begins there.
        let mut member = Member::join(cluster, flavour, &flavour.joining(&topic, &topic));
        member.until("the rest", |member, _| member.records.len() >= 9);
        assert_eq!(member.offsets(&(topic.clone(), 0)), (4..10).collect::<Vec<u64>>());
        assert_eq!(member.offsets(&(topic.clone(), 1)), (7..10).collect::<Vec<u64>>());
        member.leave();
    });
}
