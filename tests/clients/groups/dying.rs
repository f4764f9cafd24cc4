//! Members that die without a word.

use serde_json::json;

use super::flavour::everywhere;
use super::member::{Member, all_consumed, all_of, produce, settled};
use crate::fixture::short_sessions;

/// The shortest that Kafka allows by default.
pub const SESSION_MS: u64 = 6000;

#[test]
fn a_killed_member_is_replaced_after_its_session() {
    const PARTITIONS: u64 = 4;
    everywhere(
        |_| true,
        |flavour| {
            let cluster = short_sessions();
            let topic = flavour.own("killed");
            let all = all_of(&topic, PARTITIONS);
            cluster.create_topic(cluster.creator(), &topic, 4, &json!({}));
            let mut joining = flavour.joining(&topic, &topic);
            joining["session_ms"] = json!(SESSION_MS);
            let mut survivor = Member::join(cluster, flavour, &joining);
            let mut victim = Member::join_alone(cluster, flavour, &joining);
            settled(&mut [&mut survivor, &mut victim], &all);
            produce(cluster, flavour, &topic, PARTITIONS, 20);
            all_consumed(&mut [&mut survivor, &mut victim], &[], &all, 20);
            let before = victim.kill();
            produce(cluster, flavour, &topic, PARTITIONS, 20);
            settled(&mut [&mut survivor], &all);
            all_consumed(&mut [&mut survivor], &before, &all, 40);
            survivor.leave();
        },
    );
}
