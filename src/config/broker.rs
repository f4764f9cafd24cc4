//! A broker's configuration, typed: everything that takes effect, checked across keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::groups::{self, GroupConfig};
use super::load::LoadOptions;
use super::merge::Settings;
use super::origin::Origin;
use super::problem::Problem;
use super::replication::{self, ReplicationConfig};
use super::{listeners, machine, template};
use crate::types::{BrokerId, Millis};

/// What a broker runs with. Times are in milliseconds, sizes in bytes, unless the type says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `node.id`, or the pod's ordinal on Kubernetes; `None`: the data directory's number, else the first free one.
    pub node_id: Option<BrokerId>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners` without those of controllers.
    pub listeners: Vec<ListenerConfig>,
    /// `advertised.listeners`, at most one for each listener.
    pub advertised_listeners: Vec<AdvertisedListener>,
    /// `log.dirs`, else `log.dir`; at least one.
    pub log_dirs: Vec<PathBuf>,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `message.max.bytes`. Topics may have their own: use [`super::TopicConfig::max_message_bytes`] for appends.
    pub message_max_bytes: u32,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: usize,
    /// `queued.max.request.bytes`, with -1 resolved to a quarter of the memory limit.
    pub queued_max_request_bytes: usize,
    /// `connections.max.idle.ms`; `None`: never.
    pub connections_max_idle: Option<Duration>,
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: usize,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: Millis,
    /// `log.flush.scheduler.interval.ms`; `None`: never.
    pub log_flush_scheduler_interval_ms: Option<Millis>,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: Millis,
    /// `num.recovery.threads.per.data.dir`.
    pub num_recovery_threads_per_data_dir: usize,
    /// `group.*` and `offsets.*`.
    pub groups: GroupConfig,
    /// `replica.*` and how leaderships move.
    pub replication: ReplicationConfig,
    /// `cluster.name`.
    pub cluster_name: String,
    /// `cluster.id`, for a new cluster.
    pub cluster_id: Option<String>,
    /// `etcd.*`.
    pub etcd: EtcdConfig,
    /// `stale.reads` is `reject`.
    pub stale_reads_reject: bool,
    /// `data.threads`; `None`: one per core.
    pub data_threads: Option<usize>,
    /// `storage.threads`; `None`: as the log room chooses.
    pub storage_threads: Option<usize>,
    /// `admin.listen`; `None`: no admin port.
    pub admin_listen: Option<SocketAddr>,
    /// `log.format`.
    pub log_format: LogFormat,
    /// `log.level`.
    pub log_level: String,
    /// `dev.ephemeral`.
    pub dev_ephemeral: bool,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, in capitals.
    pub name: String,
    /// Address or host name to bind; empty: every interface.
    pub host: String,
    /// Port to bind; 0: the system chooses.
    pub port: u16,
    /// What it speaks.
    pub security_protocol: SecurityProtocol,
}

/// What a listener speaks. TLS and SASL come with security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Kafka's protocol over plain TCP.
    Plaintext,
}

/// What clients of a listener are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedListener {
    /// Name of the listener, in capitals.
    pub name: String,
    /// Host name or address, never empty.
    pub host: String,
    /// Port; 0: the one that the listener got.
    pub port: u16,
}

/// Where the metadata lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `etcd.endpoints`.
    pub endpoints: EtcdEndpoints,
    /// `etcd.prefix`, else `/ketcd/` and the cluster's name. Without a slash at its end.
    pub prefix: String,
    /// `etcd.user` and `etcd.password`.
    pub credentials: Option<(String, String)>,
    /// `etcd.tls.ca`.
    pub tls_ca: Option<PathBuf>,
    /// `etcd.tls.cert` and `etcd.tls.key`.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
    /// `etcd.accept.rollback`.
    pub accept_rollback: bool,
    /// `etcd.allow.kubernetes`.
    pub allow_kubernetes: bool,
    /// `etcd.dedicated`.
    pub dedicated: bool,
    /// `etcd.session.ttl`.
    pub session_ttl: Duration,
    /// `initial.broker.registration.timeout.ms`.
    pub start_timeout: Duration,
    /// `etcd.outage.acks1` is `serve`.
    pub outage_acks1_serve: bool,
}

/// `etcd.endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdEndpoints {
    /// The store inside this process.
    Embedded {
        /// `etcd.embedded.listen`; port 0: the system chooses.
        listen: SocketAddr,
    },
    /// Servers, as `http://host:port` or `https://host:port`.
    Servers(Vec<String>),
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Memory for requests where the machine does not say how much it has.
const QUEUED_MAX_REQUEST_BYTES_UNKNOWN: u64 = 256 << 20;

/// Builds the typed configuration; everything that is wrong across keys goes to `problems`.
pub fn build(options: &LoadOptions, settings: &Settings, problems: &mut Vec<Problem>) -> BrokerConfig {
    let host_name = machine::host_name(&options.env, &options.read);
    let (listeners, advertised_listeners) = listeners::build(settings, &host_name, problems);
    check_roles(settings, problems);
    check_replication(settings, problems);
    check_sizes(settings, problems);
    let size = |name: &str| usize::try_from(settings.integer(name)).unwrap_or(0);
    let some = |number: i64| usize::try_from(number).ok().filter(|number| *number > 0);
    let scheduler_ms = settings.integer("log.flush.scheduler.interval.ms");
    BrokerConfig {
        node_id: node_id(options, settings, problems),
        rack: settings.text("broker.rack"),
        listeners,
        advertised_listeners,
        log_dirs: log_dirs(settings),
        num_partitions: i32::try_from(settings.integer("num.partitions")).unwrap_or(1),
        default_replication_factor: i16::try_from(settings.integer("default.replication.factor"))
            .unwrap_or(1),
        auto_create_topics_enable: settings.boolean("auto.create.topics.enable"),
        delete_topic_enable: settings.boolean("delete.topic.enable"),
        message_max_bytes: u32::try_from(settings.integer("message.max.bytes")).unwrap_or(0),
        socket_request_max_bytes: size("socket.request.max.bytes"),
        queued_max_request_bytes: queued_bytes(options, settings),
        connections_max_idle: u64::try_from(settings.integer("connections.max.idle.ms"))
            .ok()
            .map(Duration::from_millis),
        max_connections: size("max.connections"),
        max_connections_per_ip: size("max.connections.per.ip"),
        fetch_max_bytes: size("fetch.max.bytes"),
        max_incremental_fetch_session_cache_slots: size("max.incremental.fetch.session.cache.slots"),
        max_request_partition_size_limit: i32::try_from(settings.integer("max.request.partition.size.limit"))
            .unwrap_or(i32::MAX),
        log_retention_check_interval_ms: settings.integer("log.retention.check.interval.ms"),
        log_flush_scheduler_interval_ms: (1..i64::MAX).contains(&scheduler_ms).then_some(scheduler_ms),
        producer_id_expiration_ms: settings.integer("producer.id.expiration.ms"),
        num_recovery_threads_per_data_dir: size("num.recovery.threads.per.data.dir"),
        groups: groups::build(settings, problems),
        replication: replication::build(settings),
        cluster_name: settings.text("cluster.name").unwrap_or_default(),
        cluster_id: cluster_id(settings, problems),
        etcd: etcd(settings, problems),
        stale_reads_reject: settings.text("stale.reads").as_deref() == Some("reject"),
        data_threads: some(settings.integer("data.threads")),
        storage_threads: some(settings.integer("storage.threads")),
        admin_listen: socket_address(settings, "admin.listen", problems),
        log_format: match settings.text("log.format").as_deref() {
            Some("json") => LogFormat::Json,
            Some("logfmt") => LogFormat::Logfmt,
            _ => LogFormat::Pretty,
        },
        log_level: settings.text("log.level").unwrap_or_default(),
        dev_ephemeral: settings.boolean("dev.ephemeral"),
    }
}

fn node_id(options: &LoadOptions, settings: &Settings, problems: &mut Vec<Problem>) -> Option<BrokerId> {
    let number = |name: &str| {
        let number = settings.get(name).map(|setting| setting.value.integer()).filter(|id| *id >= 0);
        number.and_then(|id| i32::try_from(id).ok()).map(BrokerId)
    };
    match (number("node.id"), number("broker.id")) {
        (Some(node), Some(broker)) if node != broker => {
            problems.push(
                Problem::error(format!("broker.id = {broker} contradicts node.id = {node}"))
                    .at(&settings.origin("broker.id"))
                    .detail(format!("node.id is set at {}", settings.origin("node.id").place()))
                    .help("broker.id is the older name of node.id: remove it"),
            );
            None
        }
        (None, None)
            if options.env.contains_key("POD_INDEX")
                || options.env.contains_key("KUBERNETES_SERVICE_HOST") =>
        {
            template::ordinal(&options.env).and_then(|id| i32::try_from(id).ok()).map(BrokerId)
        }
        (node, broker) => node.or(broker),
    }
}

fn log_dirs(settings: &Settings) -> Vec<PathBuf> {
    let dirs = settings.list("log.dirs");
    // Kafka's order: log.dirs, else log.dir. Over a mode's bundle, though, either one of the user's counts.
    let user = settings.is_set_by_user("log.dirs") || !settings.is_set_by_user("log.dir");
    let dirs = if dirs.is_empty() || !user { settings.list("log.dir") } else { dirs };
    dirs.into_iter().map(PathBuf::from).collect()
}

fn queued_bytes(options: &LoadOptions, settings: &Settings) -> usize {
    let set = settings.integer("queued.max.request.bytes");
    let bytes = match u64::try_from(set) {
        Ok(bytes) if bytes > 0 => bytes,
        _ => machine::memory_limit_bytes(&options.read)
            .map_or(QUEUED_MAX_REQUEST_BYTES_UNKNOWN, |limit| limit / 4),
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn cluster_id(settings: &Settings, problems: &mut Vec<Problem>) -> Option<String> {
    let text = settings.text("cluster.id")?;
    // Kafka's own tools take any text; only what cannot stand in meta.properties or on a line is refused.
    if text.len() <= 249 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text);
    }
    problems.push(
        Problem::error(format!("cluster.id = {text:?} cannot be a cluster id"))
            .at(&settings.origin("cluster.id"))
            .help("use 22 characters of base64, as kafka-storage random-uuid prints them, or remove the key"),
    );
    None
}

fn check_roles(settings: &Settings, problems: &mut Vec<Problem>) {
    let roles = settings.list("process.roles");
    if !roles.is_empty() && !roles.iter().any(|role| role == "broker") {
        problems.push(
            Problem::error(format!("process.roles = {:?} makes no broker", roles.join(",")))
                .at(&settings.origin("process.roles"))
                .detail("ketcd has no controller processes: its controller is elected among brokers")
                .help("do not start this node, or remove the key"),
        );
    }
}

fn check_replication(settings: &Settings, problems: &mut Vec<Problem>) {
    let factor = settings.integer("default.replication.factor");
    if !(1..=i64::from(i16::MAX)).contains(&factor) {
        problems.push(
            Problem::error(format!(
                "default.replication.factor = \"{factor}\" must be from 1 to {}",
                i16::MAX
            ))
            .at(&settings.origin("default.replication.factor"))
            .help("1 on one broker, 3 in production"),
        );
    }
    let in_sync = settings.integer("min.insync.replicas");
    if in_sync > factor && factor >= 1 {
        problems.push(
            Problem::warning(format!(
                "min.insync.replicas = {in_sync} is more than default.replication.factor = {factor}"
            ))
            .at(&settings.origin("min.insync.replicas"))
            .detail("topics created without a replication factor could not be written with acks=all")
            .help("raise default.replication.factor or lower min.insync.replicas"),
        );
    }
}

fn check_sizes(settings: &Settings, problems: &mut Vec<Problem>) {
    let message = settings.integer("message.max.bytes");
    let request = settings.integer("socket.request.max.bytes");
    if message > request {
        problems.push(
            Problem::warning(format!(
                "message.max.bytes = {message} is more than socket.request.max.bytes = {request}"
            ))
            .at(&settings.origin("message.max.bytes"))
            .detail("a batch of that size does not fit into a request")
            .help("raise socket.request.max.bytes or lower message.max.bytes"),
        );
    }
    for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        if settings.get(name).is_some_and(|setting| setting.value.integer() == 0) {
            problems.push(
                Problem::error(format!("{name} = \"0\" must be -1 or at least 1"))
                    .at(&settings.origin(name))
                    .help("-1 keeps records for ever"),
            );
        }
    }
}

fn socket_address(settings: &Settings, name: &str, problems: &mut Vec<Problem>) -> Option<SocketAddr> {
    let text = settings.text(name)?;
    let address = text.replace("localhost:", "127.0.0.1:");
    let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address };
    match address.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            problems.push(
                Problem::error(format!("{name} = {text:?} is not an address and a port"))
                    .at(&settings.origin(name))
                    .help(format!("e.g. {name}=127.0.0.1:9192")),
            );
            None
        }
    }
}

fn etcd(settings: &Settings, problems: &mut Vec<Problem>) -> EtcdConfig {
    let prefix = settings
        .text("etcd.prefix")
        .unwrap_or_else(|| format!("/ketcd/{}", settings.text("cluster.name").unwrap_or_default()));
    let endpoints = etcd_endpoints(settings, problems);
    let pair = |one: &str, other: &str, problems: &mut Vec<Problem>| match (
        settings.text(one),
        settings.text(other),
    ) {
        (Some(one), Some(other)) => Some((one, other)),
        (None, None) => None,
        (first, _) => {
            let (set, unset) = if first.is_some() { (one, other) } else { (other, one) };
            problems.push(
                Problem::error(format!("{set} is set without {unset}"))
                    .at(&settings.origin(set))
                    .help(format!("set {unset} too, or remove {set}")),
            );
            None
        }
    };
    let credentials = pair("etcd.user", "etcd.password", problems);
    let plain = matches!(&endpoints, EtcdEndpoints::Servers(urls) if urls.iter().any(|url| url.starts_with("http://")));
    if credentials.is_some() && plain && !settings.boolean("etcd.insecure") {
        problems.push(
            Problem::error("etcd.password would be sent without encryption")
                .at(&settings.origin("etcd.endpoints"))
                .detail("an endpoint starts with http://")
                .help("use https:// endpoints, or allow it: etcd.insecure=true"),
        );
    }
    let session_ms = u64::try_from(settings.integer("etcd.session.ttl")).unwrap_or_default();
    EtcdConfig {
        endpoints,
        prefix: prefix.trim_end_matches('/').to_owned(),
        credentials,
        tls_ca: settings.text("etcd.tls.ca").map(PathBuf::from),
        tls_identity: pair("etcd.tls.cert", "etcd.tls.key", problems)
            .map(|(cert, key)| (cert.into(), key.into())),
        accept_rollback: settings.boolean("etcd.accept.rollback"),
        allow_kubernetes: settings.boolean("etcd.allow.kubernetes"),
        dedicated: settings.boolean("etcd.dedicated"),
        session_ttl: Duration::from_millis(session_ms),
        start_timeout: Duration::from_millis(
            u64::try_from(settings.integer("initial.broker.registration.timeout.ms")).unwrap_or_default(),
        ),
        outage_acks1_serve: settings.text("etcd.outage.acks1").as_deref() == Some("serve"),
    }
}

fn etcd_endpoints(settings: &Settings, problems: &mut Vec<Problem>) -> EtcdEndpoints {
    let texts = settings.list("etcd.endpoints");
    let origin = settings.origin("etcd.endpoints");
    if texts.iter().any(|text| text == "embedded") {
        if texts.len() > 1 {
            problems.push(
                Problem::error("etcd.endpoints mixes embedded with addresses")
                    .at(&origin)
                    .help("either etcd.endpoints=embedded, or a list of addresses"),
            );
        }
        let listen = socket_address(settings, "etcd.embedded.listen", problems);
        return EtcdEndpoints::Embedded {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        };
    }
    if texts.is_empty() && !settings.is_set_by_user("etcd.endpoints") && origin == Origin::Default {
        problems.push(
            Problem::error("etcd.endpoints is not set")
                .detail("a broker keeps its metadata in etcd")
                .help("etcd.endpoints=http://etcd-0:2379,http://etcd-1:2379,http://etcd-2:2379")
                .help("for one node without a server: etcd.endpoints=embedded, or `ketcd dev`"),
        );
    }
    let scheme = if settings.text("etcd.tls.ca").is_some() { "https" } else { "http" };
    let mut servers = Vec::new();
    for text in texts {
        let url = if text.contains("://") { text.clone() } else { format!("{scheme}://{text}") };
        let address = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let port = address.and_then(|address| address.trim_end_matches('/').rsplit_once(':'));
        if port.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            servers.push(url.trim_end_matches('/').to_owned());
        } else {
            problems.push(
                Problem::error(format!("etcd.endpoints has {text:?}, which is not an address of etcd"))
                    .at(&origin)
                    .help("write http://host:2379 or https://host:2379"),
            );
        }
    }
    EtcdEndpoints::Servers(servers)
}
