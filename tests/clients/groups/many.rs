//! Fifty members in one process, joining, leaving, dying and restarting while records come in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::flavour::{Flavour, long, together};
use super::member::{Member, Partition, all_consumed, all_of, committed, produce, settled};
use crate::family::Family;
use crate::fixture::{Cluster, short_sessions};

const PARTITIONS: u64 = 60;
const MOST: usize = 50;
/// Of the first members, so many have names of their own.
const STATIC: usize = 10;

/// A group under load, and what must never happen to it.
struct Crowd<'a> {
    cluster: &'a Cluster,
    flavour: Flavour,
    topic: String,
    members: Vec<Member<'a>>,
    joined: usize,
    consumed: Vec<(Partition, u64)>,
    end: u64,
    committed: BTreeMap<u64, u64>,
}

impl<'a> Crowd<'a> {
    fn joining(&self, number: usize) -> Value {
        let mut joining = self.flavour.joining(&self.topic, &self.topic);
        joining["session_ms"] = json!(super::dying::SESSION_MS);
        joining["commit"] = json!("batch");
        if number < STATIC {
            joining["instance"] = json!(format!("static-{number}"));
        }
        joining
    }

    fn join(&mut self, count: usize) {
        for _ in 0..count {
            let joining = self.joining(self.joined);
            self.members.push(Member::join(self.cluster, self.flavour, &joining));
            self.joined += 1;
        }
        self.more();
    }

    /// Some records to every partition, and a look at the commits: none went back.
    fn more(&mut self) {
        produce(self.cluster, self.flavour, &self.topic, PARTITIONS, 5);
        self.end += 5;
        let now = committed(self.cluster, self.flavour, &self.topic, &self.topic);
        for (partition, before) in &self.committed {
            let now = now.get(partition).copied().unwrap_or_default();
            assert!(now >= *before, "the commit of {partition} went back from {before} to {now}");
        }
        self.committed = now;
    }

    /// Every partition has one owner, every record came to somebody, and what the members saw on the way was right.
    fn settle(&mut self) {
        let all = all_of(&self.topic, PARTITIONS);
        let mut members: Vec<&mut Member<'_>> = self.members.iter_mut().collect();
        settled(&mut members, &all);
        all_consumed(&mut members, &self.consumed, &all, self.end);
        let watched = self.cluster.ask(Family::FranzGo, &json!({"do": "watched", "group": self.topic}));
        assert_eq!(watched["broken"], json!([]), "{}", self.flavour.name());
    }

    fn end(&mut self, number: usize, how: &str) {
        let mut member = self.members.remove(number);
        member.end(how);
        self.consumed.append(&mut member.records);
    }
}

#[test]
fn fifty_members_come_go_die_and_restart_under_load() {
    let flavours = [(false, None), (false, Some("range")), (true, None)];
    let flavours = flavours.map(|(modern, strategy)| Flavour { family: Family::FranzGo, modern, strategy });
    together(&flavours, |flavour| {
        let cluster = short_sessions();
        let topic = flavour.own("many");
        cluster.create_topic(cluster.creator(), &topic, u32::try_from(PARTITIONS).expect("few"), &json!({}));
        let mut crowd = Crowd {
            cluster,
            flavour,
            topic,
            members: Vec::new(),
            joined: 0,
            consumed: Vec::new(),
            end: 0,
            committed: BTreeMap::new(),
        };
        crowd.join(1);
        crowd.settle();
        for _ in 0..long(1) {
            while crowd.members.len() < MOST {
                crowd.join(7.min(MOST - crowd.members.len()));
            }
            crowd.settle();

            // Without a word, then with one, then static members for a moment.
            (0..10).for_each(|_| crowd.end(STATIC, "die"));
            crowd.more();
            (0..5).for_each(|_| crowd.end(STATIC, "leave"));
            crowd.more();
            crowd.settle();
            for number in 0..STATIC {
                crowd.end(number, "leave");
                let joining = crowd.joining(number);
                crowd.members.insert(number, Member::join(cluster, flavour, &joining));
            }
            crowd.more();
            crowd.settle();
            // The dead may be static too; nobody comes back for them.
            if crowd.joined < 2 * MOST {
                (0..3).for_each(|_| crowd.end(STATIC - 3, "die"));
            }
            crowd.join(10);
            crowd.settle();
        }
        while crowd.members.len() > 1 {
            crowd.end(1, "leave");
        }
        crowd.more();
        crowd.settle();
        let end = crowd.end;
        cluster.until(
            Family::FranzGo,
            &json!({"do": "committed", "group": crowd.topic, "topic": crowd.topic}),
            |told| {
                let offsets = told["offsets"].as_object().expect("offsets");
                offsets.len() == 60 && offsets.values().all(|offset| *offset == end)
            },
        );
        crowd.end(0, "leave");
    });
}
