//! Clients at work on one topic while the test breaks things, and the accounts that they give at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::agent::{Agent, Family};
use crate::checker::{self, FINAL, Report};
use crate::cluster::{Cluster, PATIENCE};
use crate::directory::{ANSWER_DEADLINE, Directory};
use crate::history::{History, Op, State};
use crate::producer::{Producer, Sending};
use crate::reader::Reader;
use crate::{replicas, skip};

/// The topic that everybody works on.
pub const TOPIC: &str = "t";
/// The number of the first producer that sends everything once.
const FIRST_ONCE: i64 = 500;
/// How many acknowledged sends show that a cluster makes progress (invariant I15).
pub const PROGRESS: u64 = 100;
/// How long replicas may take to be in sync again after the last fault (invariant I9).
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// What works on the topic.
#[derive(Clone)]
pub struct Work {
    pub partitions: i32,
    pub replicas: i16,
    /// Idempotent producers for each partition.
    pub producers: i64,
    pub sending: Sending,
    /// Producers that send once, one for each of the first partitions.
    pub once: i32,
    /// Records per second of each family of real clients; 0: without them.
    pub clients: u32,
    pub configs: Vec<(&'static str, &'static str)>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            partitions: 6,
            replicas: 3,
            producers: 1,
            sending: Sending::default(),
            once: 2,
            clients: 200,
            configs: vec![("segment.bytes", "1048576"), ("retention.ms", "-1")],
        }
    }
}

/// Clients at work.
pub struct Load {
    pub history: Arc<History>,
    pub directory: Arc<Directory>,
    work: Work,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
    readers: Vec<(i32, Arc<AtomicI64>, JoinHandle<bool>)>,
    agents: Vec<Agent>,
}

/// A stretch of time in which acknowledgements are counted.
#[derive(Clone)]
pub struct Window {
    name: String,
    begun: Instant,
    acked: BTreeMap<i32, u64>,
    partitions: Vec<i32>,
}

impl Load {
    /// Creates the topic and sets everybody to work; gives back when everything flows.
    pub async fn start(cluster: &Cluster, work: Work) -> Self {
        cluster.create_topic(TOPIC, work.partitions, work.replicas, &work.configs).await;
        cluster.until_whole(TOPIC, PATIENCE).await;
        let history = History::new();
        let directory = Directory::new(&cluster.bootstraps(), TOPIC, ANSWER_DEADLINE / 2, &history);
        directory.refresh(Duration::ZERO).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = Vec::new();
        for partition in 0..work.partitions {
            for turn in 0..work.producers {
                let number = i64::from(partition) + turn * i64::from(work.partitions);
                let producer = Producer::new(number, partition, work.sending, &directory, &history);
                senders.push(tokio::spawn(producer.run(Arc::clone(&stop))));
            }
        }
        for partition in 0..work.once.min(work.partitions) {
            let number = FIRST_ONCE + i64::from(partition);
            let sending = Sending { idempotent: false, pause: Duration::from_millis(40), ..work.sending };
            let producer = Producer::new(number, partition, sending, &directory, &history);
            senders.push(tokio::spawn(producer.run(Arc::clone(&stop))));
        }
        let mut readers = Vec::new();
        for partition in 0..work.partitions {
            let reader = Reader::new("reader", partition, &directory, &history);
            let end = Arc::new(AtomicI64::new(-1));
            readers.push((partition, Arc::clone(&end), tokio::spawn(reader.run(end, PATIENCE))));
        }
        let mut agents = Vec::new();
        for family in Family::ALL.into_iter().filter(|_| work.clients > 0) {
            let arguments = [
                "all".to_owned(),
                cluster.bootstraps().join(","),
                TOPIC.to_owned(),
                work.partitions.to_string(),
                family.first_producer().to_string(),
                work.clients.to_string(),
            ];
            match Agent::start(family, &arguments.each_ref().map(String::as_str), &history) {
                Ok(started) => agents.push(started),
                Err(why) => skip::skip(&format!("a family of clients, {family:?}: {why}")),
            }
        }
        let load = Self { history, directory, work, stop, senders, readers, agents };
        load.progress(&load.window("everything flows")).await;
        load
    }

    /// Begins to count in all partitions.
    pub fn window(&self, name: &str) -> Window {
        self.window_of(name, (0..self.work.partitions).collect())
    }

    /// Begins to count in some partitions.
    pub fn window_of(&self, name: &str, partitions: Vec<i32>) -> Window {
        let acked = self.history.acked_by_partition();
        Window { name: name.to_owned(), begun: Instant::now(), acked, partitions }
    }

    /// Acknowledged sends in a window until now: all, and of the partition with the fewest.
    pub fn acked_in(&self, window: &Window) -> (u64, u64) {
        let now = self.history.acked_by_partition();
        let at = |all: &BTreeMap<i32, u64>, partition: &i32| all.get(partition).copied().unwrap_or_default();
        let each = window.partitions.iter().map(|p| at(&now, p) - at(&window.acked, p));
        (each.clone().sum(), each.min().unwrap_or_default())
    }

    /// Waits until a window holds progress in every one of its partitions (invariant I15). A test without progress proves nothing.
    pub async fn progress(&self, window: &Window) {
        self.progress_within(window, PATIENCE).await;
    }

    /// The same within a limit.
    pub async fn progress_within(&self, window: &Window, limit: Duration) {
        loop {
            let (all, least) = self.acked_in(window);
            if all >= PROGRESS && least >= 3 {
                return;
            }
            assert!(
                window.begun.elapsed() < limit,
                "INVALID: {all} acknowledged sends in {limit:?}, {least} in the slowest partition: {}\n{:#?}\nerrors: {:?}",
                window.name,
                self.directory.view(),
                self.history.errors()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the sending of the raw clients; everybody reads on.
    pub async fn senders_stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.await.expect("a producer");
        }
    }

    /// Ends the sending at once: what is on its way has no known end.
    pub fn senders_stop_hard(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            sender.abort();
        }
    }

    /// Ends the work when every fault is over, waits until the cluster is whole, reads everything back and checks it.
    pub async fn finish(mut self, cluster: &mut Cluster) -> Report {
        cluster.heal();
        if !self.stop.load(Ordering::Relaxed) {
            self.progress(&self.window("after the last fault")).await;
        }
        let whole = cluster.until_whole(TOPIC, WHOLE_WITHIN).await;
        let begun = Instant::now();
        self.senders_stop().await;
        let mut agents = std::mem::take(&mut self.agents);
        for agent in &mut agents {
            agent.tell("stop");
        }
        for agent in &mut agents {
            if !agent.done("stop", PATIENCE * 3).await {
                self.fail(format!("{:?} does not stop", agent.family));
            }
        }
        let ends = self.ends().await;
        for (partition, end, _) in &self.readers {
            end.store(ends[partition], Ordering::Relaxed);
        }
        for (partition, _, reader) in std::mem::take(&mut self.readers) {
            if !reader.await.expect("a reader") {
                self.fail(format!("{partition} is not read to its end"));
            }
        }
        for mut agent in agents {
            if !self.took_part(agent.family) {
                self.fail(format!("nothing of {:?} was acknowledged", agent.family));
            }
            agent.tell(&format!("drain {}", serde_json::to_string(&ends).unwrap()));
            if !agent.done("drain", PATIENCE).await {
                self.fail(format!("{:?} does not read to the ends {ends:?}", agent.family));
            }
        }
        for (&partition, &end) in &ends {
            let reader = Reader::new(FINAL, partition, &self.directory, &self.history);
            if !reader.run(Arc::new(AtomicI64::new(end)), PATIENCE).await {
                self.fail(format!("{partition} cannot be read back"));
            }
        }
        self.note_view(cluster).await;
        let entries = self.history.entries();
        let report =
            tokio::task::spawn_blocking(move || checker::check(&entries)).await.expect("the checker");
        eprintln!("{report}whole after {whole:?}, drained and checked in {:?}", begun.elapsed());
        if !report.violations.is_empty() {
            panic!("{report}{}", self.kept());
        }
        cluster.assert_all_well();
        replicas::assert_identical(cluster, TOPIC, self.work.partitions).await;
        cluster.assert_etcd_is_tidy().await;
        report
    }

    fn took_part(&self, family: Family) -> bool {
        let first = family.first_producer();
        let producers = first..first + i64::from(self.work.partitions);
        self.history.entries().iter().any(|entry| {
            matches!(entry.op, Op::Send { state: State::Ok, producer, .. } if producers.contains(&producer))
        })
    }

    /// What the checker is to report with the rest.
    fn fail(&self, why: String) {
        self.history.note("the test", Op::Error { why });
    }

    /// Every broker's word on who leads.
    async fn note_view(&self, cluster: &Cluster) {
        for id in cluster.running() {
            let view = cluster.view_of(id, TOPIC).await.unwrap_or_default();
            for (partition, known) in view.partitions {
                let op = Op::Leader { partition, leader: known.leader, epoch: known.epoch };
                self.history.note(&format!("broker-{id}"), op);
            }
        }
    }

    /// Where every partition ends.
    async fn ends(&self) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        for partition in 0..self.work.partitions {
            let end = loop {
                if let Some(end) = self.directory.latest(partition).await {
                    break end;
                }
                assert!(Instant::now() < deadline, "nobody tells the end of {partition}");
                self.directory.refresh(Duration::from_millis(50)).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            };
            ends.insert(partition, end);
        }
        ends
    }

    /// The history of a failed test in a file that stays.
    fn kept(&self) -> String {
        let path = std::env::temp_dir().join(format!("ketcd-history-{}.jsonl", std::process::id()));
        match self.history.save(&path) {
            Ok(()) => format!("the history is in {}", path.display()),
            Err(error) => format!("the history cannot be kept: {error}"),
        }
    }
}
