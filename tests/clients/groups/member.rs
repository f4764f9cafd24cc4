//! One member of a group, in the program of its client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::flavour::Flavour;
use crate::agent::Agent;
use crate::fixture::Cluster;

/// How long anything about a group may take: several sessions and rebalances on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A partition of a topic.
pub type Partition = (String, u64);

/// A member that consumes in the background.
pub struct Member<'a> {
    cluster: &'a Cluster,
    pub flavour: Flavour,
    pub name: String,
    /// A program of its own, so that it can be killed.
    own: Option<Agent>,
    /// Everything that it consumed, in its order.
    pub records: Vec<(Partition, u64)>,
}

/// What a member tells of itself.
#[derive(Debug)]
pub struct Seen {
    pub assigned: BTreeSet<Partition>,
    /// `["assigned" | "revoked" | "lost", [[topic, partition], ...]]`, and others in between.
    pub events: Vec<Value>,
    /// The end of the commits that the broker acknowledged.
    pub commits: BTreeMap<String, u64>,
    pub failed: Vec<Value>,
    pub alive: bool,
    pub generation: Option<i64>,
}

impl<'a> Member<'a> {
    /// Joins with `settings`, of [`Flavour::joining`], in the program that the client's cases share.
    pub fn join(cluster: &'a Cluster, flavour: Flavour, settings: &Value) -> Self {
        Self::start(cluster, flavour, settings, None)
    }

    /// Joins in a process of its own.
    pub fn join_alone(cluster: &'a Cluster, flavour: Flavour, settings: &Value) -> Self {
        let agent = Agent::start(flavour.family.name(), &mut flavour.family.command(cluster.bootstrap()));
        Self::start(cluster, flavour, settings, Some(agent))
    }

    fn start(cluster: &'a Cluster, flavour: Flavour, settings: &Value, own: Option<Agent>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("m{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut member = Self { cluster, flavour, name, own, records: Vec::new() };
        member.ask(settings);
        member
    }

    /// Sends `command` about this member.
    pub fn ask(&mut self, command: &Value) -> Value {
        let mut command = command.clone();
        command["member"] = json!(self.name);
        let Some(agent) = self.own.as_mut() else { return self.cluster.ask(self.flavour.family, &command) };
        let answer = agent.ask(&command);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {command}\n{}", agent.errors()));
        assert!(answer.get("error").is_none(), "{}: {command}\nanswered {answer}", self.flavour.name());
        answer
    }

    /// What it is doing now; its new records go to `records`. Fails when its consumer ended with an error.
    pub fn look(&mut self) -> Seen {
        let answer = self.ask(&json!({"do": "member", "first": self.records.len()}));
        let seen = self.seen(&answer);
        assert!(
            seen.alive && seen.failed.is_empty(),
            "{}: {:?}, after {:?}",
            self.flavour.name(),
            seen.failed,
            seen.events
        );
        seen
    }

    fn seen(&mut self, answer: &Value) -> Seen {
        for record in answer["records"].as_array().expect("records") {
            self.records.push((partition(record), record[2].as_u64().expect("an offset")));
        }
        let commits = answer["commits"].as_object().expect("commits");
        Seen {
            assigned: partitions(&answer["assigned"]),
            events: answer["events"].as_array().expect("events").clone(),
            commits: commits
                .iter()
                .map(|(name, offset)| (name.clone(), offset.as_u64().expect("an offset")))
                .collect(),
            failed: answer["failed"].as_array().expect("failed").clone(),
            alive: answer["alive"] == true,
            generation: answer["generation"].as_i64(),
        }
    }

    /// Looks until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self, &Seen) -> bool) -> Seen {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.look();
            if done(self, &seen) {
                return seen;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{}: not {what}: {} records, {seen:?}", self.flavour.name(), self.records.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Commits what it consumed; how far, by `topic-partition`.
    pub fn commit(&mut self) -> Value {
        self.ask(&json!({"do": "commit"}))["committed"].take()
    }

    /// Closes the consumer as an application does.
    pub fn leave(&mut self) -> Seen {
        self.end("leave")
    }

    /// The command `how` that ends it.
    pub fn end(&mut self, how: &str) -> Seen {
        let answer = self.ask(&json!({"do": how, "first": self.records.len()}));
        self.seen(&answer)
    }

    /// kill -9 of its process, which must be its own.
    pub fn kill(mut self) -> Vec<(Partition, u64)> {
        self.look();
        drop(self.own.take().expect("a process of its own"));
        self.records
    }

    /// The offsets that it consumed of a partition, in its order.
    pub fn offsets(&self, of: &Partition) -> Vec<u64> {
        self.records.iter().filter(|(partition, _)| partition == of).map(|(_, offset)| *offset).collect()
    }
}

fn partition(of: &Value) -> Partition {
    (of[0].as_str().expect("a topic").to_owned(), of[1].as_u64().expect("a partition"))
}

/// `[[topic, partition], ...]`.
pub fn partitions(list: &Value) -> BTreeSet<Partition> {
    list.as_array().expect("partitions").iter().map(partition).collect()
}

/// All partitions that events of this kind name.
pub fn in_events(seen: &Seen, kind: &str) -> BTreeSet<Partition> {
    let of_kind = seen.events.iter().filter(|event| event[0] == kind);
    of_kind.flat_map(|event| partitions(&event[1])).collect()
}

/// The partitions of a topic.
pub fn all_of(topic: &str, count: u64) -> BTreeSet<Partition> {
    (0..count).map(|number| (topic.to_owned(), number)).collect()
}

/// Waits until the members own `all` between them: each partition once, no member without one.
pub fn settled(members: &mut [&mut Member<'_>], all: &BTreeSet<Partition>) -> Vec<Seen> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen: Vec<Seen> = members.iter_mut().map(|member| member.look()).collect();
        let owned: usize = seen.iter().map(|one| one.assigned.len()).sum();
        let union: BTreeSet<Partition> = seen.iter().flat_map(|one| one.assigned.clone()).collect();
        let busy = seen.iter().all(|one| !one.assigned.is_empty());
        if union == *all && owned == all.len() && busy {
            return seen;
        }
        assert!(Instant::now() < deadline, "{}: never settled: {seen:#?}", members[0].flavour.name());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes numbers to `partitions` partitions in turn, `count` to each.
pub fn produce(cluster: &Cluster, flavour: Flavour, topic: &str, partitions: u64, count: u64) {
    let command = json!({"do": "produce_numbers", "topic": topic, "partitions": partitions, "count": count * partitions});
    cluster.ask(flavour.family, &command);
}

/// How often each offset of each partition below `end` was consumed, by all of `consumed` together.
pub fn times_consumed<'a>(
    consumed: impl Iterator<Item = &'a [(Partition, u64)]>,
    all: &BTreeSet<Partition>,
    end: u64,
) -> BTreeMap<(Partition, u64), usize> {
    let expected =
        all.iter().flat_map(|partition| (0..end).map(move |offset| ((partition.clone(), offset), 0)));
    let mut times: BTreeMap<(Partition, u64), usize> = expected.collect();
    for record in consumed.flatten() {
        *times.entry(record.clone()).or_default() += 1;
    }
    times
}

/// Waits until the members, with what others consumed before, have seen every offset below `end` of every partition.
pub fn all_consumed(
    members: &mut [&mut Member<'_>],
    before: &[(Partition, u64)],
    all: &BTreeSet<Partition>,
    end: u64,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen: Vec<Seen> = members.iter_mut().map(|member| member.look()).collect();
        let lists = members.iter().map(|member| member.records.as_slice()).chain([before]);
        let missing: Vec<_> =
            times_consumed(lists, all, end).into_iter().filter(|(_, times)| *times == 0).collect();
        if missing.is_empty() {
            return;
        }
        let late = Instant::now() > deadline;
        assert!(
            !late,
            "{}: {} records never came: {:?}...\n{seen:#?}",
            members[0].flavour.name(),
            missing.len(),
            &missing[..3.min(missing.len())]
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The committed offsets of `group` in `topic`, by partition, as `family` reads them.
pub fn committed(cluster: &Cluster, flavour: Flavour, group: &str, topic: &str) -> BTreeMap<u64, u64> {
    let command = json!({"do": "committed", "group": group, "topic": topic});
    let answer = cluster.ask(flavour.family, &command);
    let offsets = answer["offsets"].as_object().expect("offsets");
    offsets
        .iter()
        .map(|(number, offset)| (number.parse().expect("a number"), offset.as_u64().expect("an offset")))
        .collect()
}
