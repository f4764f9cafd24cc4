//! The broker is killed in the middle of commits and rebalances: what it acknowledged is there, and every group goes on.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::flavour::{Flavour, long};
use super::member::{DEADLINE, Member, Partition, all_consumed, all_of, settled};
use crate::broker::Broker;
use crate::family::Family::{self, ConfluentKafka, FranzGo, Java};
use crate::fixture::{Cluster, SHORT_SESSIONS};
use crate::skip::skip;

const PARTITIONS: u64 = 4;
const TOPIC: &str = "killed";

/// One group of one flavour: two members that stay, and one that comes and goes.
struct Group<'a> {
    cluster: &'a Cluster,
    flavour: Flavour,
    name: String,
    members: Vec<Member<'a>>,
    gone: Vec<(Partition, u64)>,
    /// The highest commit that a member was told is done.
    acknowledged: BTreeMap<String, u64>,
}

impl<'a> Group<'a> {
    fn join(&mut self) {
        let mut joining = self.flavour.joining(&self.name, TOPIC);
        joining["session_ms"] = json!(super::dying::SESSION_MS);
        joining["commit"] = json!("batch");
        self.members.push(Member::join(self.cluster, self.flavour, &joining));
    }

    fn look(&mut self) -> u64 {
        for member in &mut self.members {
            for (partition, offset) in member.look().commits {
                let known = self.acknowledged.entry(partition).or_default();
                *known = offset.max(*known);
            }
        }
        self.acknowledged.values().sum()
    }

    /// Waits until commits go on.
    fn progress(&mut self) {
        let begun = self.look();
        let deadline = Instant::now() + DEADLINE;
        while self.look() < begun + 200 {
            assert!(Instant::now() < deadline, "{}: no commits, after {:?}", self.name, self.acknowledged);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the broker has is what it acknowledged, or later, as `reader` sees it. (The administrator of librdkafka
    /// may take longer than a minute to find its way back.)
    fn expect_commits(&self, reader: Family, before: &BTreeMap<String, u64>) {
        let command = json!({"do": "committed", "group": self.name, "topic": TOPIC});
        let told = self.cluster.until(reader, &command, |told| told.get("offsets").is_some());
        for (partition, offset) in before {
            let number = partition.rsplit('-').next().expect("a number");
            let stored = told["offsets"][number].as_u64().unwrap_or_default();
            assert!(stored >= *offset, "{}: {partition} was committed up to {offset}, now {told}", self.name);
        }
    }

    fn part(&mut self) {
        let mut member = self.members.pop().expect("a third member");
        member.end("leave");
        self.gone.append(&mut member.records);
    }

    fn settle(&mut self) {
        settled(&mut self.members.iter_mut().collect::<Vec<_>>(), &all_of(TOPIC, PARTITIONS));
    }
}

#[test]
fn no_commit_is_lost_and_no_group_stuck_when_the_broker_is_killed() {
    let flavours = [
        Flavour { family: ConfluentKafka, modern: false, strategy: Some("range") },
        Flavour { family: ConfluentKafka, modern: true, strategy: None },
        Flavour { family: Java, modern: false, strategy: Some("cooperative-sticky") },
        Flavour { family: Java, modern: true, strategy: None },
    ];
    let there: Vec<Flavour> = flavours
        .into_iter()
        .filter(|flavour| flavour.family.missing().inspect(|why| skip(why)).is_none())
        .collect();
    let Some(writer) = there.first().map(|flavour| flavour.family) else { return };
    let readers = [FranzGo, Java, ConfluentKafka];
    let reader = readers.into_iter().find(|family| family.missing().is_none()).expect("at least the writer");
    let broker = Broker::start_on_fixed_port_with(&SHORT_SESSIONS);
    let bootstrap = broker.bootstrap();
    let cluster = Cluster::new(Some(broker), bootstrap);
    let with_broker = |work: &dyn Fn(&mut Broker)| {
        let mut broker = cluster.broker.lock().unwrap_or_else(PoisonError::into_inner);
        work(broker.as_mut().expect("a broker"));
    };
    cluster.create_topic(writer, TOPIC, u32::try_from(PARTITIONS).expect("few"), &json!({}));
    cluster.ask(writer, &json!({"do": "stream_start", "topic": TOPIC, "partitions": PARTITIONS}));
    let mut groups: Vec<Group<'_>> = there
        .into_iter()
        .map(|flavour| Group {
            cluster: &cluster,
            flavour,
            name: flavour.own("killed"),
            members: Vec::new(),
            gone: Vec::new(),
            acknowledged: BTreeMap::new(),
        })
        .collect();
    for group in &mut groups {
        group.join();
        group.join();
    }
    groups.iter_mut().for_each(Group::settle);
    groups.iter_mut().for_each(Group::progress);

    for number in 0..2 * long(1) {
        // A third member comes, or goes: the kill falls into its rebalance, earlier or later.
        for group in &mut groups {
            if group.members.len() == 2 { group.join() } else { group.part() }
        }
        std::thread::sleep(Duration::from_millis(number * 137 % 500));
        with_broker(&Broker::kill);
        groups.iter_mut().for_each(|group| drop(group.look()));
        let before: Vec<_> = groups.iter().map(|group| group.acknowledged.clone()).collect();
        with_broker(&Broker::restart);
        for (group, before) in groups.iter().zip(&before) {
            group.expect_commits(reader, before);
        }
        groups.iter_mut().for_each(Group::settle);
        groups.iter_mut().for_each(Group::progress);
    }

    let told = cluster.ask(writer, &json!({"do": "stream_stop"}));
    assert_eq!(told["failed"], json!([]), "{told}");
    let shortest = told["acknowledged"].as_array().expect("counts").iter().filter_map(Value::as_u64).min();
    let end = shortest.expect("partitions");
    for group in &mut groups {
        let mut members: Vec<&mut Member<'_>> = group.members.iter_mut().collect();
        all_consumed(&mut members, &group.gone, &all_of(TOPIC, PARTITIONS), end);
        while !group.members.is_empty() {
            group.part();
        }
    }
}
