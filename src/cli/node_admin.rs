//! What the admin port tells of a running broker: health and numbers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{node_groups, node_replication};
use crate::broker::Broker;
use crate::server::Server;
use crate::server::admin::{AdminSource, Check, Probe, VersionInfo};
use crate::telemetry::metrics::{self, Scrape, ScrapeRegistration};

/// The data threads count as stuck when they do not run a new task for so long.
const DATA_THREADS_STUCK: Duration = Duration::from_secs(4);

/// Answers the admin port for one broker, as long as that lives.
pub struct NodeAdmin {
    broker: Arc<Broker>,
    server: Weak<Server>,
    _scrape: ScrapeRegistration,
}

impl NodeAdmin {
    /// Health and numbers of `broker`, served by `server`.
    #[must_use]
    pub fn new(broker: &Arc<Broker>, server: &Arc<Server>) -> Arc<Self> {
        let scraped = Arc::downgrade(broker);
        let scrape = metrics::on_scrape(move |scrape| {
            if let Some(broker) = scraped.upgrade() {
                tell(scrape, &broker);
            }
        });
        Arc::new(Self { broker: Arc::clone(broker), server: Arc::downgrade(server), _scrape: scrape })
    }

    /// The process works. Never depends on etcd: its outage must not restart brokers.
    async fn live(&self) -> Check {
        let responds = match self.server.upgrade() {
            Some(server) => server.responds_within(DATA_THREADS_STUCK).await,
            None => true,
        };
        Check::new("data threads", responds, "run new tasks")
    }

    /// Shown, and always well: an unready broker would turn an outage of change into one of service.
    fn etcd(&self) -> Check {
        let session = self.broker.metadata().session();
        let why = session.why.unwrap_or_default();
        let detail = match (session.outage, session.fenced) {
            (None, false) => "reachable".to_owned(),
            (None, true) if why.is_empty() => {
                "reachable; this broker's registration has ended and is being made anew".to_owned()
            }
            (None, true) => format!("not followed: {why}"),
            (Some(outage), false) => format!(
                "unreachable for {:.0} s ({why}): produce and fetch go on, changes wait",
                outage.as_secs_f64()
            ),
            (Some(outage), true) => format!(
                "unreachable for {:.0} s ({why}), longer than this broker's lease: produce with acks=all and fetch go on, \
                 acks=0 and 1 are as etcd.outage.acks1 says, changes wait",
                outage.as_secs_f64()
            ),
        };
        Check::new("etcd", true, detail)
    }

    /// Replicas that wait for an operator because etcd went back in time (rule E13): shown, and well as long as others serve.
    fn rolled_back(&self) -> Option<Check> {
        let count = rolled_back(&self.broker);
        let told = "replicas know newer leader epochs than etcd, and wait for etcd.accept.rollback=true";
        (count > 0).then(|| Check::new("epochs", true, format!("{count} {told}")))
    }

    fn directories(&self) -> Vec<Check> {
        let directories = self.broker.log_dirs().directories();
        let usable = directories.iter().any(|directory| directory.failed.is_none());
        directories
            .into_iter()
            .map(|directory| {
                let detail =
                    directory.failed.unwrap_or_else(|| format!("{} bytes free", directory.usable_bytes));
                Check::new(format!("log directory {}", directory.path.display()), usable, detail)
            })
            .collect()
    }
}

impl AdminSource for NodeAdmin {
    fn checks(&self, probe: Probe) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let mut checks = vec![self.live().await];
            if probe == Probe::Ready {
                checks.push(self.etcd());
                checks.extend(self.rolled_back());
                checks.extend(self.directories());
            }
            checks
        })
    }

    fn version(&self) -> VersionInfo {
        VersionInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: Some(self.broker.id().get()),
            cluster_id: Some(self.broker.image().cluster_id.to_string()),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell(scrape: &mut Scrape<'_>, broker: &Broker) {
    let topics = broker.partitions().topics();
    let partitions = topics.iter().flat_map(|topic| topic.partitions());
    let (count, bytes) = partitions
        .fold((0u64, 0u64), |(count, bytes), partition| (count + 1, bytes + partition.log().size_bytes()));
    scrape.gauge(
        "ketcd_broker_partitions",
        "Partitions held here (kafka.server:type=ReplicaManager,name=PartitionCount)",
        count as f64,
    );
    scrape.gauge("ketcd_broker_topics", "Topics of which partitions are held here", topics.len() as f64);
    scrape.gauge("ketcd_log_size_bytes", "Bytes of all logs (kafka.log:type=Log,name=Size)", bytes as f64);
    scrape.gauge(
        "ketcd_broker_fetch_sessions",
        "Fetch sessions (kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions)",
        broker.sessions().count() as f64,
    );
    tell_directories(scrape, broker);
    tell_metadata(scrape, broker);
    node_groups::tell(scrape, broker);
    node_replication::tell(scrape, broker);
    scrape.counter(
        "ketcd_sys_blocked_calls",
        "Calls on data threads that could have waited for a disk: anything but 0 is a defect",
        crate::sys::blocked_calls() as f64,
    );
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell_directories(scrape: &mut Scrape<'_>, broker: &Broker) {
    let directories = broker.log_dirs().directories();
    let offline = directories.iter().filter(|directory| directory.failed.is_some()).count();
    scrape.gauge(
        "ketcd_log_offline_directories",
        "Log directories that failed (kafka.log:type=LogManager,name=OfflineLogDirectoryCount)",
        offline as f64,
    );
    for directory in &directories {
        let path = directory.path.to_string_lossy();
        scrape.gauges(
            "ketcd_log_directory_free_bytes",
            "Room left on the disk of a log directory",
            &[(&[("directory", path.as_ref())], directory.usable_bytes as f64)],
        );
    }
}

fn rolled_back(broker: &Broker) -> usize {
    let accepted = broker.broker_config().etcd.accept_rollback;
    let topics = broker.partitions().topics();
    let partitions = topics.iter().flat_map(|topic| topic.partitions());
    partitions.filter(|partition| !accepted && partition.rolled_back().is_some()).count()
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell_metadata(scrape: &mut Scrape<'_>, broker: &Broker) {
    let session = broker.metadata().session();
    let counters = broker.metadata().counters();
    scrape.gauge("ketcd_metadata_reachable", "1 while etcd answers", f64::from(u8::from(session.reachable)));
    scrape.gauge(
        "ketcd_metadata_outage_current_seconds",
        "For how long etcd has not answered; 0 while it does",
        session.outage.unwrap_or_default().as_secs_f64(),
    );
    scrape.gauge(
        "ketcd_metadata_rolled_back_replicas",
        "Replicas whose log knows newer leader epochs than etcd, which was restored",
        rolled_back(broker) as f64,
    );
    scrape.gauge(
        "ketcd_metadata_fenced",
        "1 while others may act as if this broker were dead: its lease has run out",
        f64::from(u8::from(session.fenced)),
    );
    scrape.counter(
        "ketcd_metadata_outage_seconds",
        "Time without etcd since the start",
        counters.outage_ms as f64 / 1000.0,
    );
    scrape.gauge(
        "ketcd_metadata_image_revision",
        "etcd revision of the image that is served",
        broker.image().revision as f64,
    );
    scrape.gauge(
        "ketcd_controller_active",
        "1 if this broker is the controller (kafka.controller:type=KafkaController,name=ActiveControllerCount)",
        f64::from(u8::from(session.is_controller())),
    );
    scrape.counter(
        "ketcd_metadata_resyncs",
        "Full reads of the metadata after the first",
        counters.resyncs as f64,
    );
    scrape.counter(
        "ketcd_metadata_divergences",
        "Entries that a full read found different: 0 with a healthy etcd",
        counters.divergences as f64,
    );
}
