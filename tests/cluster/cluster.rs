//! Brokers and their etcd as processes: started, killed, paused, asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ketcd::protocol::peer::messages::{CreateTopicsRequest, TopicName};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::directory::{self, View, code, text};
use crate::etcds::Etcds;
use crate::network::Network;
use crate::node::{Node, START_DEADLINE};

/// How long things may take that take a moment on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The lease of a broker's session: short, so that tests of its end are.
pub const SESSION_TTL: Duration = Duration::from_secs(4);
/// The name in etcd, below `/ketcd/`.
const NAME: &str = "c";
/// The number of the first etcd member in a network; brokers are numbered by their ids.
const FIRST_ETCD: u8 = 101;
/// Where a broker listens that has a network namespace of its own.
const OWN_PORT: u16 = 9092;

/// What a cluster is made of.
pub struct Options {
    pub brokers: i32,
    pub etcds: usize,
    pub network: Option<Network>,
    /// The lease of a broker's session.
    pub session_ttl: Duration,
    /// More settings for every broker.
    pub settings: Vec<String>,
    /// The guard that every broker leaves out: programs with the feature `seeded-bugs` only.
    pub bug: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 3,
            etcds: 1,
            network: None,
            session_ttl: SESSION_TTL,
            settings: Vec::new(),
            bug: None,
        }
    }
}

/// Brokers by id, and their etcd. Everything ends with it.
pub struct Cluster {
    pub nodes: BTreeMap<i32, Node>,
    pub etcd: Etcds,
    pub network: Option<Network>,
    data: TempDir,
}

impl Cluster {
    /// Starts everything and waits until every broker serves. An error says what is missing on this machine.
    pub async fn start(mut options: Options) -> Result<Self, String> {
        let mut hosts = vec![("127.0.0.1".to_owned(), Vec::new()); options.etcds];
        if let Some(network) = &mut options.network {
            for (number, host) in (FIRST_ETCD..).zip(&mut hosts) {
                *host = (network.add(number)?, network.inside(number));
            }
        }
        let etcd = Etcds::start(&hosts).await?;
        let data = TempDir::with_prefix("ketcd-cluster-").map_err(|error| error.to_string())?;
        let mut cluster = Self { nodes: BTreeMap::new(), etcd, network: options.network, data };
        for id in 1..=options.brokers {
            let mut node = cluster.node(id, options.session_ttl, &options.settings)?;
            if let Some(bug) = options.bug {
                node = node.with_environment("KETCD_SEEDED_BUG", bug);
            }
            // To look into a failure: `KETCD_TEST_LOG_LEVEL=debug`.
            if let Ok(level) = std::env::var("KETCD_TEST_LOG_LEVEL") {
                node = node.with_environment("KETCD_LOG_LEVEL", &level);
            }
            node.spawn();
            cluster.nodes.insert(id, node);
        }
        for node in cluster.nodes.values() {
            node.wait_for_line(0, "ready", START_DEADLINE);
        }
        Ok(cluster)
    }

    fn node(&mut self, id: i32, session_ttl: Duration, more: &[String]) -> Result<Node, String> {
        let mut settings = vec![
            format!("node.id={id}"),
            format!("cluster.name={NAME}"),
            format!("etcd.session.ttl={}s", session_ttl.as_secs()),
            "default.replication.factor=3".to_owned(),
            "min.insync.replicas=2".to_owned(),
            "offsets.topic.num.partitions=5".to_owned(),
            "replica.lag.time.max.ms=4000".to_owned(),
        ];
        settings.extend_from_slice(more);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let (data, endpoints) = (self.data_of(id), self.etcd.endpoints());
        let Some(network) = &mut self.network else { return Ok(Node::broker(&data, &endpoints, &settings)) };
        let number = u8::try_from(id).expect("few brokers");
        let host = network.add(number)?;
        Ok(Node::broker_at(&host, OWN_PORT, &data, &endpoints, &settings).under(&network.inside(number)))
    }

    /// Where a broker keeps its logs.
    pub fn data_of(&self, id: i32) -> PathBuf {
        self.data.path().join(format!("broker-{id}"))
    }

    pub fn ids(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    pub fn running(&self) -> Vec<i32> {
        self.nodes.iter().filter(|(_, node)| node.is_running()).map(|(&id, _)| id).collect()
    }

    pub fn bootstraps(&self) -> Vec<String> {
        self.nodes.values().map(Node::bootstrap).collect()
    }

    pub fn at(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).expect("a broker of this cluster")
    }

    /// kill -9.
    pub fn kill(&mut self, id: i32) {
        self.at(id).kill();
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self, id: i32) -> ExitStatus {
        self.at(id).stop()
    }

    /// Starts a killed or stopped one and waits until it serves.
    pub fn restart(&mut self, id: i32) {
        self.at(id).start();
    }

    /// SIGSTOP.
    pub fn freeze(&mut self, id: i32) {
        self.at(id).signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self, id: i32) {
        self.at(id).signal(Signal::CONT);
    }

    /// Drops what one server sends to another one. Servers are brokers by id, and etcd members by [`Self::etcd_host`].
    pub fn cut(&mut self, from: u8, to: u8) {
        self.network.as_mut().expect("a cluster with a network").cut(from, to);
    }

    /// Drops everything between two servers.
    pub fn cut_both(&mut self, one: u8, other: u8) {
        self.network.as_mut().expect("a cluster with a network").cut_both(one, other);
    }

    /// Nothing is dropped any more.
    pub fn heal(&mut self) {
        if let Some(network) = &mut self.network {
            network.heal();
        }
    }

    /// The number of an etcd member in the network.
    pub fn etcd_host(number: usize) -> u8 {
        FIRST_ETCD + number as u8
    }

    /// Creates a topic, as an admin client does: retriable answers are tried again.
    pub async fn create_topic(&self, name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let broker = self.nodes[&self.running()[0]].bootstrap();
            let mut peer = Peer::connect(&broker, "cluster-test", PATIENCE).await.unwrap();
            let answer = peer.call(&request).await.unwrap();
            let told = &answer.topics[0];
            match code(told.error_code) {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => return,
                // Not every broker is known yet.
                ErrorCode::InvalidReplicationFactor => {}
                error => assert!(error.retriable(), "{error:?}: {:?}", told.error_message),
            }
            assert!(Instant::now() < deadline, "{name} is not created: {told:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What one broker knows of a topic, if it answers.
    pub async fn view_of(&self, id: i32, topic: &str) -> Option<View> {
        directory::ask(&self.nodes[&id].bootstrap(), topic).await.ok()
    }

    /// What the first broker that answers knows.
    pub async fn view(&self, topic: &str) -> View {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for id in self.running() {
                if let Some(view) = self.view_of(id, topic).await {
                    return view;
                }
            }
            assert!(Instant::now() < deadline, "no broker answers");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until one broker's view is as wanted; gives it, and how long that took.
    pub async fn until(
        &self,
        topic: &str,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut(&View) -> bool,
    ) -> (View, Duration) {
        let begun = Instant::now();
        loop {
            let view = self.view(topic).await;
            if holds(&view) {
                return (view, begun.elapsed());
            }
            assert!(begun.elapsed() < limit, "not within {limit:?}: {what}\n{view:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every running broker says that every replica of a topic is in sync.
    pub async fn until_whole(&self, topic: &str, limit: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let mut seen = BTreeMap::new();
            for id in self.running() {
                seen.insert(id, self.view_of(id, topic).await);
            }
            if seen.values().all(|view| view.as_ref().is_some_and(View::is_whole)) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < limit, "under-replicated for {limit:?}: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until some broker is the controller, as the others see it.
    pub async fn controller(&self) -> i32 {
        let running = self.running();
        let (view, _) =
            self.until("none", "a controller", PATIENCE, |view| running.contains(&view.controller)).await;
        view.controller
    }

    /// No broker ended by itself, and none panicked or found an invariant broken (invariant I14).
    pub fn assert_all_well(&mut self) {
        for (id, node) in &mut self.nodes {
            assert!(node.is_running(), "broker {id} is not running");
            let ended = node.ended();
            assert!(ended.is_none(), "broker {id} ended with {ended:?}:\n{}", node.output());
            assert_eq!(node.lines_with(0, "panicked at"), 0, "broker {id} panicked:\n{}", node.output());
        }
    }

    /// What is in etcd is what the cluster needs and no more (invariant I12): one registration and one candidate for each broker, each
    /// under a lease, and nothing else under one.
    pub async fn assert_etcd_is_tidy(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let keys = self.etcd.keys(&format!("/ketcd/{NAME}/")).await;
            let family = |name: &str| {
                let prefix = format!("/ketcd/{NAME}/{name}/");
                keys.iter().filter(|(key, _)| key.starts_with(&prefix)).collect::<Vec<_>>()
            };
            let (live, candidates) = (family("brokers/live"), family("controller"));
            let leased = keys.iter().filter(|(_, lease)| *lease != 0).count();
            let immortal = live.iter().chain(&candidates).filter(|(_, lease)| *lease == 0).count();
            let brokers = self.nodes.len();
            if live.len() == brokers && candidates.len() == brokers && leased == 2 * brokers && immortal == 0
            {
                return;
            }
            assert!(Instant::now() < deadline, "left in etcd: {keys:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
