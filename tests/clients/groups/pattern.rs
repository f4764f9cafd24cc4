//! Subscriptions to a pattern of names.

use serde_json::{Value, json};

use super::flavour::{Flavour, everywhere};
use super::member::{Member, all_consumed, all_of, produce, settled};
use crate::fixture::short_sessions;

fn joining(flavour: Flavour, group: &str) -> Value {
    let mut joining = flavour.joining(group, "");
    joining["topics"] = Value::Null;
    joining["pattern"] = json!(format!("^{group}-(one|two|three)$"));
    joining
}

#[test]
fn a_pattern_finds_the_topics_that_are_there() {
    everywhere(
        |_| true,
        |flavour| {
            let cluster = short_sessions();
            let group = flavour.own("pattern");
            let topics = ["one", "two", "unrelated"].map(|topic| format!("{group}-{topic}"));
            for topic in &topics {
                cluster.create_topic(cluster.creator(), topic, 2, &json!({}));
                produce(cluster, flavour, topic, 2, 5);
            }
            let wanted = &all_of(&topics[0], 2) | &all_of(&topics[1], 2);
            let mut member = Member::join(cluster, flavour, &joining(flavour, &group));
            settled(&mut [&mut member], &wanted);
            all_consumed(&mut [&mut member], &[], &wanted, 5);
            if flavour.modern {
                // The broker resolves the pattern, so a new topic needs no look of the client's at all topics.
                let late = format!("{group}-three");
                cluster.create_topic(cluster.creator(), &late, 1, &json!({}));
                produce(cluster, flavour, &late, 1, 5);
                let more = &wanted | &all_of(&late, 1);
                settled(&mut [&mut member], &more);
                all_consumed(&mut [&mut member], &[], &all_of(&late, 1), 5);
            }
            member.leave();
        },
    );
}
