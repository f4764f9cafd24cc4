//! What a broker tells its metadata room at the start.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::image::Endpoint;
use super::keys::Keys;
use crate::types::{BrokerId, Clock};

/// How to reach etcd.
#[derive(Clone)]
pub struct ConnectionOptions {
    /// `host:port`, `http://host:port` or `https://host:port`; tried in this order, the next one when one fails.
    pub endpoints: Vec<String>,
    /// User name, for servers with authentication.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// TLS; `None`: plain text.
    pub tls: Option<TlsOptions>,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
}

/// TLS towards etcd. All texts are PEM.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Certificates of the authorities that signed the servers' certificates.
    pub ca_pem: Option<Vec<u8>>,
    /// Our certificate and its key, if the servers ask for one (mTLS).
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the servers' certificates, if it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// How this broker registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// `node.id`; `None`: an automatic one is taken (which the caller keeps for the next start).
    pub node_id: Option<BrokerId>,
    /// Host name, for people and for rule B7.
    pub host: String,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Directory ids of `log.dirs`.
    pub directories: Vec<Uuid>,
    /// Names this lifetime of the process.
    pub incarnation: Uuid,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Version of ketcd.
    pub version: String,
    /// Something may have been lost since the last registration (rule B2).
    pub data_may_be_lost: bool,
}

/// Everything that [`super::Metadata::connect`] needs.
#[derive(Clone)]
pub struct MetadataOptions {
    /// How to reach etcd.
    pub connection: ConnectionOptions,
    /// Name of the cluster: its keys are under `/ketcd/<name>/`.
    pub cluster_name: String,
    /// Another prefix than that.
    pub prefix: Option<String>,
    /// Time to live of the broker's lease, whole seconds; the server may grant more.
    pub session_ttl: Duration,
    /// This broker.
    pub registration: Registration,
    /// The cluster id on this node's disks, if there is one.
    pub known_cluster_id: Option<String>,
    /// Lifetimes of this broker since which its disks lost nothing: the last one that registered is among them, or the disks are old
    /// (rule B2).
    pub vouched: Vec<Uuid>,
    /// Directory for the session's own small file (rules B7, E13).
    pub state_dir: PathBuf,
    /// The clock of the deadline (rule E6).
    pub clock: Clock,
    /// Go on although etcd went back in time (rule E13).
    pub accept_rollback: bool,
    /// Go on although this etcd holds a Kubernetes control plane.
    pub allow_kubernetes: bool,
    /// How long [`super::Metadata::connect`] waits for an etcd that does not answer.
    pub start_timeout: Duration,
    /// Time between two comparisons of the image with etcd (rule E7).
    pub resync_interval: Duration,
}

/// The default of `etcd.session.ttl`.
pub const SESSION_TTL: Duration = Duration::from_secs(9);
/// The longest wait for one answer of etcd: an admin call fails fast during an outage.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

impl ConnectionOptions {
    /// Plain text and no authentication.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self { endpoints, user: None, password: None, tls: None, request_timeout: REQUEST_TIMEOUT }
    }
}

impl std::fmt::Debug for ConnectionOptions {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl MetadataOptions {
    /// Options with the defaults of `operations.md`.
    #[must_use]
    pub fn new(
        connection: ConnectionOptions,
        cluster_name: impl Into<String>,
        registration: Registration,
        state_dir: PathBuf,
    ) -> Self {
        Self {
            connection,
            cluster_name: cluster_name.into(),
            prefix: None,
            session_ttl: SESSION_TTL,
            registration,
            known_cluster_id: None,
            vouched: Vec::new(),
            state_dir,
            clock: Clock::system(),
            accept_rollback: false,
            allow_kubernetes: false,
            start_timeout: Duration::from_secs(30),
            resync_interval: Duration::from_secs(180),
        }
    }

    /// The cluster's keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.prefix.as_deref().map_or_else(|| Keys::of_cluster(&self.cluster_name), Keys::under)
    }
}
