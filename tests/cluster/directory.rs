//! Who leads what, as the brokers tell it: the part of a client that every other part asks first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::{MetadataRequest, TopicName};
use ketcd::protocol::peer::{Peer, PeerError, StrBytes};

use crate::history::{History, Op};

/// How long one answer to a question about the cluster may take.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// The last versions that name topics by their names.
const METADATA_VERSION: i16 = 12;

/// One partition of the topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionView {
    pub error: i16,
    pub leader: i32,
    pub epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// What one broker knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub brokers: BTreeMap<i32, String>,
    pub controller: i32,
    pub partitions: BTreeMap<i32, PartitionView>,
}

impl View {
    /// The partitions that a broker leads.
    pub fn led_by(&self, broker: i32) -> Vec<i32> {
        self.partitions.iter().filter(|(_, p)| p.leader == broker).map(|(&number, _)| number).collect()
    }

    /// Whether every partition has all of its replicas in sync.
    pub fn is_whole(&self) -> bool {
        !self.partitions.is_empty()
            && self.partitions.values().all(|p| p.leader >= 0 && p.isr.len() == p.replicas.len())
    }
}

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub fn code(raw: i16) -> ErrorCode {
    ErrorCode::from_code(raw).expect("a code of Kafka's")
}

/// Asks one broker about a topic.
pub async fn ask(bootstrap: &str, topic: &str) -> Result<View, PeerError> {
    let mut peer = Peer::connect(bootstrap, "directory", ANSWER_DEADLINE).await?;
    view_of(&mut peer, topic).await
}

async fn view_of(peer: &mut Peer, topic: &str) -> Result<View, PeerError> {
    let request = MetadataRequest::default()
        .with_allow_auto_topic_creation(false)
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))))]));
    let answer = peer.call_at(&request, METADATA_VERSION).await?;
    let brokers = answer.brokers.iter().map(|b| (b.node_id.0, format!("{}:{}", b.host, b.port))).collect();
    let ids = |ids: &[ketcd::protocol::peer::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
    let partitions = answer.topics.first().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let view = PartitionView {
                error: p.error_code,
                leader: p.leader_id.0,
                epoch: p.leader_epoch,
                replicas: ids(&p.replica_nodes),
                isr: ids(&p.isr_nodes),
            };
            (p.partition_index, view)
        });
        partitions.collect()
    });
    Ok(View { brokers, controller: answer.controller_id.0, partitions: partitions.unwrap_or_default() })
}

/// What the clients of one test know together: the newest leader of each partition.
pub struct Directory {
    bootstraps: Vec<String>,
    pub topic: String,
    known: Mutex<Arc<View>>,
    history: Arc<History>,
    /// How long one broker may take to answer before the next one is asked.
    patience: Duration,
    /// One question at a time, and its answer is everybody's.
    asking: tokio::sync::Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    next: usize,
    last: Option<Instant>,
    peers: BTreeMap<usize, Peer>,
}

impl Directory {
    pub fn new(bootstraps: &[String], topic: &str, patience: Duration, history: &Arc<History>) -> Arc<Self> {
        Arc::new(Self {
            bootstraps: bootstraps.to_vec(),
            topic: topic.to_owned(),
            known: Mutex::default(),
            history: Arc::clone(history),
            patience,
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Any broker's address, another one each time.
    pub async fn some_broker(&self) -> String {
        let mut asking = self.asking.lock().await;
        asking.next += 1;
        self.bootstraps[asking.next % self.bootstraps.len()].clone()
    }

    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leader, its address and the epoch of a partition.
    pub fn leader(&self, partition: i32) -> Option<(i32, String, i32)> {
        let view = self.view();
        let known = view.partitions.get(&partition)?;
        Some((known.leader, view.brokers.get(&known.leader)?.clone(), known.epoch))
    }

    /// Asks the next broker, unless somebody did within `fresh`. A broker that does not answer is passed over.
    pub async fn refresh(&self, fresh: Duration) {
        let mut asking = self.asking.lock().await;
        if asking.last.is_some_and(|last| last.elapsed() < fresh) {
            return;
        }
        for _ in 0..self.bootstraps.len() {
            asking.next += 1;
            let number = asking.next % self.bootstraps.len();
            let mut peer = match asking.peers.remove(&number) {
                Some(peer) => peer,
                None => match Peer::connect(&self.bootstraps[number], "directory", self.patience).await {
                    Ok(peer) => peer,
                    Err(_) => continue,
                },
            };
            if let Ok(view) = view_of(&mut peer, &self.topic).await {
                asking.peers.insert(number, peer);
                self.merge(view);
                asking.last = Some(Instant::now());
                return;
            }
        }
    }

    /// Takes what is newer by leader epoch, as clients do (KIP-951).
    fn merge(&self, mut view: View) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, partition) in &mut view.partitions {
            let before = known.partitions.get(number);
            if let Some(before) = before.filter(|before| before.epoch > partition.epoch) {
                *partition = before.clone();
            } else if before
                .is_none_or(|before| before.leader != partition.leader || before.epoch != partition.epoch)
            {
                let op = Op::Leader { partition: *number, leader: partition.leader, epoch: partition.epoch };
                self.history.note("directory", op);
            }
        }
        for (id, address) in &known.brokers {
            view.brokers.entry(*id).or_insert_with(|| address.clone());
        }
        *known = Arc::new(view);
    }
}

impl Directory {
    /// "Latest" of a partition, if its leader tells.
    pub async fn latest(&self, partition: i32) -> Option<i64> {
        let (_, address, epoch) = self.leader(partition)?;
        let mut peer = Peer::connect(&address, "directory", self.patience).await.ok()?;
        crate::reader::latest(&mut peer, &self.topic, partition, epoch).await.ok()?.ok()
    }
}
