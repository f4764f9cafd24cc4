//! What a case runs against, and brokers for it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use etcd_client::Client;
use ketcd::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use ketcd::metadata::image::{ClusterImage, Endpoint};
use ketcd::metadata::{ConnectionOptions, Metadata, MetadataOptions, NewTopic, Registration};
use ketcd::types::{BrokerId, TopicId, TopicName, random};
use tempfile::TempDir;

use crate::etcd::{RealEtcd, Release, skip};

/// How long one case may take.
const CASE_DEADLINE: Duration = Duration::from_secs(120);
/// How long anything that must come may take.
pub const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Debian,
    Current,
}

/// A running server.
pub enum Server {
    Embedded(Option<EmbeddedEtcd>, SocketAddr, TempDir),
    Real(RealEtcd),
}

/// Declares one test per server for each case.
#[macro_export]
macro_rules! on_every_server {
    ($($case:ident),+ $(,)?) => {
        mod embedded { $(#[test] fn $case() { $crate::server::run($crate::server::Kind::Embedded, stringify!($case), super::$case); })+ }
        $crate::on_real_servers!($($case),+);
    };
}

/// The same for servers that are processes of their own.
#[macro_export]
macro_rules! on_real_servers {
    ($($case:ident),+ $(,)?) => {
        mod debian { $(#[test] fn $case() { $crate::server::run($crate::server::Kind::Debian, stringify!($case), super::$case); })+ }
        mod current { $(#[test] fn $case() { $crate::server::run($crate::server::Kind::Current, stringify!($case), super::$case); })+ }
    };
}

/// Runs one case on one server.
pub fn run(kind: Kind, name: &str, case: impl AsyncFnOnce(&mut Server)) {
    if std::env::var_os("RUST_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .try_init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut server = match Server::start(kind).await {
            Ok(server) => server,
            Err(why) => return skip(&format!("{name} on {kind:?}"), &why),
        };
        tokio::time::timeout(CASE_DEADLINE, case(&mut server))
            .await
            .unwrap_or_else(|_| panic!("{name} hangs"));
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

impl Server {
    async fn start(kind: Kind) -> Result<Self, String> {
        let release = match kind {
            Kind::Embedded => {
                let folder = TempDir::with_prefix("ketcd-metadata-").unwrap();
                let listen = SocketAddr::from(([127, 0, 0, 1], 0));
                let store = start_embedded(folder.path(), listen).await;
                let listen = store.address();
                return Ok(Self::Embedded(Some(store), listen, folder));
            }
            Kind::Debian => Release::Debian,
            Kind::Current => Release::Current,
        };
        // A program that is there and does not start is a failure, not a skip.
        release.etcd()?;
        Ok(Self::Real(RealEtcd::start(release).await.unwrap()))
    }

    pub fn endpoint(&self) -> String {
        match self {
            Self::Embedded(_, listen, _) => format!("http://{listen}"),
            Self::Real(server) => server.endpoint(),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Embedded(_, listen, _) => listen.port(),
            Self::Real(server) => server.port(),
        }
    }

    /// Ends the server at once (the embedded one: closes its connections).
    pub async fn kill(&mut self) {
        match self {
            Self::Embedded(store, ..) => store.take().unwrap().shutdown().await,
            Self::Real(server) => server.kill(),
        }
    }

    /// Starts it again, on the same port and data.
    pub async fn restart(&mut self) {
        match self {
            Self::Embedded(store, listen, folder) => {
                *store = Some(start_embedded(folder.path(), *listen).await)
            }
            Self::Real(server) => server.restart().await.unwrap(),
        }
    }

    pub fn real(&self) -> &RealEtcd {
        match self {
            Self::Real(server) => server,
            Self::Embedded(..) => panic!("this case needs a process of its own"),
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.unwrap()
    }
}

async fn start_embedded(folder: &Path, listen: SocketAddr) -> EmbeddedEtcd {
    let path = Some(folder.join("store"));
    EmbeddedEtcd::start(EmbeddedOptions { path, listen, ..Default::default() }).await.unwrap()
}

/// Options of broker `id`, with a state directory of its own.
pub fn options(endpoint: &str, id: Option<i32>, state: &Path) -> MetadataOptions {
    let registration = Registration {
        node_id: id.map(BrokerId),
        host: "host".into(),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            host: "host".into(),
            port: 9092,
            security_protocol: "PLAINTEXT".into(),
        }],
        rack: None,
        directories: vec![random::uuid()],
        incarnation: random::uuid(),
        boot_id: "boot".into(),
        version: "test".into(),
        data_may_be_lost: true,
    };
    let connection = ConnectionOptions::new(vec![endpoint.to_owned()]);
    MetadataOptions::new(connection, "test", registration, state.to_owned())
}

/// A broker and its state directory.
pub struct Broker {
    pub metadata: Metadata,
    pub state: TempDir,
}

impl Broker {
    pub async fn start(endpoint: &str, id: i32) -> Self {
        Self::start_with(endpoint, id, |_| {}).await
    }

    pub async fn start_with(endpoint: &str, id: i32, change: impl FnOnce(&mut MetadataOptions)) -> Self {
        let state = TempDir::with_prefix("ketcd-state-").unwrap();
        let mut options = options(endpoint, Some(id), state.path());
        change(&mut options);
        Self { metadata: Metadata::connect(options).await.unwrap(), state }
    }

    /// Waits until the image is as wanted.
    pub async fn sees(&self, what: &str, wanted: impl Fn(&ClusterImage) -> bool) {
        let mut images = self.metadata.images();
        tokio::time::timeout(SOON, images.wait_for(|image| wanted(image)))
            .await
            .unwrap_or_else(|_| panic!("the image never showed: {what}"))
            .unwrap();
    }

    /// Waits until something holds that no image tells.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Metadata) -> bool) {
        until(what, || wanted(&self.metadata)).await;
    }
}

/// Waits until something holds.
pub async fn until(what: &str, wanted: impl Fn() -> bool) {
    let waited = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// A topic on broker 1.
pub fn new_topic(name: &str, partitions: usize) -> NewTopic {
    NewTopic {
        name: TopicName::new(name).unwrap(),
        id: TopicId::new(random::uuid()).unwrap(),
        assignment: vec![vec![BrokerId(1)]; partitions],
        configs: Default::default(),
    }
}
