//! Brokers' replicas with real logs, and the records and images that give them their roles.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use crate::broker::fetcher::Fetchers;
use crate::config::{ReplicationConfig, TopicConfig};
use crate::log::{AppendOptions, LogDirs, LogDirsOptions, LogOptions, ReadOptions, Storage};
use crate::metadata::image::{BrokerImage, ClusterImage, Endpoint, PartitionImage, ReplicaEntry};
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::replication::leader::Rules;
use crate::replication::{Applied, Partition};
use crate::types::{
    BrokerEpoch, BrokerId, Clock, LeaderEpoch, Offset, PartitionEpoch, TopicId, TopicName, TopicPartition,
};

/// The follower.
pub const ME: i32 = 1;

/// The logs of one broker, and its partitions.
pub struct Replica {
    pub me: ReplicaEntry,
    pub partitions: Vec<Arc<Partition>>,
    _dirs: LogDirs,
    _root: TempDir,
}

pub fn topic() -> TopicId {
    TopicId::new(Uuid::from_u128(7)).unwrap()
}

pub fn at(raw: i64) -> Offset {
    Offset::new(raw).unwrap()
}

pub fn entry(id: i32) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(100 + i64::from(id)) }
}

pub fn topic_config() -> TopicConfig {
    let set = vec!["etcd.endpoints=embedded".to_owned()];
    let options = crate::config::LoadOptions {
        mode: crate::config::Mode::Dev,
        file: None,
        env: std::collections::BTreeMap::new(),
        flags: Vec::new(),
        set,
        read: Arc::new(|_| Err(std::io::ErrorKind::NotFound.into())),
    };
    let config = crate::config::load(&options).unwrap();
    let built = config.topic_config(&std::collections::BTreeMap::new(), &crate::config::Dynamic::default());
    TopicConfig { retention_ms: None, ..built }
}

impl Replica {
    pub fn new(id: i32, partitions: i32, config: &TopicConfig) -> Self {
        let root = TempDir::new().unwrap();
        let clock = Clock::system();
        let dirs = LogDirs::open(LogDirsOptions {
            dirs: vec![root.path().to_owned()],
            node_id: BrokerId(id),
            cluster_id: None,
            clock: clock.clone(),
            storage: Storage::start(2),
            options: LogOptions { reserve_bytes: 0, ..LogOptions::default() },
        })
        .unwrap();
        let open = |index: i32| {
            let name = TopicPartition::new(TopicName::new("t").unwrap(), index);
            let log = dirs.open_log(&name, topic(), Arc::new(config.clone())).unwrap();
            Partition::new(name, topic(), log, clock.clone(), Arc::default())
        };
        let partitions = (0..partitions).map(open).collect();
        Self { me: entry(id), partitions, _dirs: dirs, _root: root }
    }

    pub fn take(&self, image: &Arc<ClusterImage>, state: &Arc<PartitionImage>) {
        let rules = Rules { min_insync_replicas: 1, lag_max: Duration::from_secs(30) };
        for partition in &self.partitions {
            partition.apply(&Applied { state, image, me: self.me, rules });
            partition.ready().wait_blocking().unwrap();
        }
    }

    pub fn bytes(&self, index: usize) -> Vec<u8> {
        let log = self.partitions[index].log();
        let mut next = log.log_start_offset();
        let mut bytes = Vec::new();
        while next < log.log_end_offset() {
            let options = ReadOptions {
                max_bytes: 1 << 20,
                min_one_batch: true,
                end: log.log_end_offset(),
                cursor: None,
            };
            let read = log.read(next, options).wait_blocking().unwrap();
            for chunk in &read.chunks {
                for batch in crate::protocol::batch::split(chunk) {
                    next = at(batch.unwrap().0.next_offset());
                }
                bytes.extend_from_slice(chunk);
            }
        }
        bytes
    }
}

/// Leaders 0 and 2, follower 1.
pub fn record(leader: i32, epoch: i32, in_sync: &[i32]) -> Arc<PartitionImage> {
    Arc::new(PartitionImage {
        replicas: vec![BrokerId(0), BrokerId(1), BrokerId(2)],
        leader: Some(entry(leader)),
        leader_epoch: LeaderEpoch(epoch),
        isr: in_sync.iter().map(|id| entry(*id)).collect(),
        partition_epoch: PartitionEpoch(i64::from(epoch)),
        ..PartitionImage::assigned(Vec::new())
    })
}

pub fn image(addresses: &[(i32, &str)]) -> Arc<ClusterImage> {
    let mut image = ClusterImage::default();
    for id in 0..3 {
        let address =
            addresses.iter().find(|(of, _)| *of == id).map_or("127.0.0.1:1", |(_, address)| address);
        let (host, port) = address.rsplit_once(':').unwrap();
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: host.to_owned(),
            port: port.parse().unwrap(),
            security_protocol: "PLAINTEXT".to_owned(),
        };
        let broker = BrokerImage {
            endpoints: vec![endpoint],
            mod_revision: 1,
            ..BrokerImage::of(BrokerId(id), entry(id).epoch)
        };
        image.brokers.insert(BrokerId(id), Arc::new(broker));
    }
    Arc::new(image)
}

pub fn keys() -> ReplicationConfig {
    ReplicationConfig {
        fetchers: 1,
        lag_max: Duration::from_secs(30),
        fetch_min_bytes: 1,
        fetch_max_bytes: 1 << 20,
        fetch_response_max_bytes: 10 << 20,
        // Long: whatever must not wait for it fails a test that has to.
        fetch_wait_max_ms: 120_000,
        fetch_backoff: Duration::from_millis(50),
        socket_timeout: Duration::from_secs(30),
        high_watermark_checkpoint_interval: Duration::from_secs(5),
        auto_leader_rebalance: false,
        leader_imbalance_check_interval: Duration::from_secs(300),
        controlled_shutdown: false,
        inter_broker_listener: None,
    }
}

/// Has the follower take `state`, and follow whoever leads.
pub fn follow(
    fetchers: &Fetchers,
    follower: &Replica,
    image: &Arc<ClusterImage>,
    state: &Arc<PartitionImage>,
) {
    fetchers.set_brokers(image, follower.me);
    follower.take(image, state);
    for partition in &follower.partitions {
        fetchers.look(partition, state);
    }
}

pub fn batch(base: i64, epoch: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(base).leader_epoch(epoch);
    for value in values {
        let record = NewRecord {
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.push(record).unwrap();
    }
    builder.build()
}

/// Appends as leader of `epoch`.
pub fn lead(partition: &Arc<Partition>, epoch: i32, values: &[&str]) {
    let options = AppendOptions::default();
    partition.log().append(batch(0, epoch, values), LeaderEpoch(epoch), options).wait_blocking().unwrap();
}

/// Fills a log with single records: from which offset on in which epoch, up to `end`.
pub fn fill(partition: &Arc<Partition>, epochs: &[(i32, i64)], end: i64) {
    for (number, (epoch, start)) in epochs.iter().enumerate() {
        let until = epochs.get(number + 1).map_or(end, |(_, next)| *next);
        for offset in *start..until {
            let bytes = batch(offset, *epoch, &[&format!("{epoch}-{offset}")]);
            partition.log().append_as_follower(bytes, LeaderEpoch(*epoch)).wait_blocking().unwrap();
        }
    }
}
