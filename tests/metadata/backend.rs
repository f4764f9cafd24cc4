//! What a case runs against.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{Client, Error, GetOptions, KeyValue, WatchResponse, WatchStream};
use ketcd::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use tempfile::TempDir;
use tonic::Code;

use crate::etcd::{RealEtcd, Release, skip};

/// How long one case may take.
const CASE_DEADLINE: Duration = Duration::from_secs(120);
/// How long anything that must come may take.
pub const SOON: Duration = Duration::from_secs(15);
/// Time between progress notes in these tests.
pub const PROGRESS: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Debian,
    Current,
}

/// A running server with an empty store and a client of it.
pub struct Backend {
    pub client: Client,
    server: Server,
}

enum Server {
    Embedded { store: Option<EmbeddedEtcd>, folder: TempDir },
    Real(RealEtcd),
}

/// Runs one case on one backend.
pub fn run(kind: Kind, name: &str, case: impl AsyncFnOnce(&mut Backend)) {
    block_on(async {
        let mut backend = match Backend::start(kind).await {
            Ok(backend) => backend,
            Err(why) => return skip(name, &why),
        };
        tokio::time::timeout(CASE_DEADLINE, case(&mut backend))
            .await
            .unwrap_or_else(|_| panic!("{name} hangs"));
    });
}

/// Runs a test on a runtime of its own, as the broker's metadata runtime is: one thread.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

impl Backend {
    /// Starts a server; an error says why it cannot be had here.
    pub async fn start(kind: Kind) -> Result<Self, String> {
        let server = match kind {
            Kind::Embedded => {
                let folder = TempDir::with_prefix("ketcd-embedded-").unwrap();
                let store = start_embedded(folder.path().join("store")).await;
                Server::Embedded { store: Some(store), folder }
            }
            Kind::Debian => Server::Real(
                start_real(Release::Debian, "--experimental-watch-progress-notify-interval").await?,
            ),
            Kind::Current => {
                Server::Real(start_real(Release::Current, "--watch-progress-notify-interval").await?)
            }
        };
        let client = connect(&endpoint(&server)).await;
        Ok(Self { client, server })
    }

    pub fn endpoint(&self) -> String {
        endpoint(&self.server)
    }

    /// Stops and starts the server on the same data. The old client may be of no use after that; a new one is in place.
    pub async fn restart(&mut self) {
        match &mut self.server {
            Server::Embedded { store, folder } => {
                store.take().unwrap().shutdown().await;
                *store = Some(start_embedded(folder.path().join("store")).await);
            }
            Server::Real(server) => server.restart().await.unwrap(),
        }
        self.client = connect(&self.endpoint()).await;
    }

    /// Puts a key and returns the revision.
    pub async fn put(&mut self, key: &str, value: &str) -> i64 {
        self.client.put(key, value, None).await.unwrap().header().unwrap().revision()
    }

    /// Deletes a key and returns the revision.
    pub async fn delete(&mut self, key: &str) -> i64 {
        self.client.delete(key, None).await.unwrap().header().unwrap().revision()
    }

    /// The key's newest state.
    pub async fn get(&mut self, key: &str) -> Option<KeyValue> {
        self.client.get(key, None).await.unwrap().take_kvs().pop()
    }

    /// The keys under a prefix, in order.
    pub async fn keys(&mut self, prefix: &str) -> Vec<String> {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let found = self.client.get(prefix, Some(options)).await.unwrap();
        found.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned()).collect()
    }

    /// The newest revision.
    pub async fn revision(&mut self) -> i64 {
        self.client.get("none", None).await.unwrap().header().unwrap().revision()
    }
}

fn endpoint(server: &Server) -> String {
    match server {
        Server::Embedded { store, .. } => store.as_ref().unwrap().endpoint(),
        Server::Real(server) => server.endpoint(),
    }
}

async fn start_embedded(path: PathBuf) -> EmbeddedEtcd {
    let options =
        EmbeddedOptions { path: Some(path), fsync: false, progress_interval: PROGRESS, ..Default::default() };
    EmbeddedEtcd::start(options).await.unwrap()
}

async fn start_real(release: Release, progress_flag: &str) -> Result<RealEtcd, String> {
    // A program that is there and does not start is a failure, not a skip.
    release.etcd()?;
    let interval = format!("{}ms", PROGRESS.as_millis());
    Ok(RealEtcd::start_with(release, &[progress_flag, &interval]).await.unwrap())
}

pub async fn connect(endpoint: &str) -> Client {
    Client::connect([endpoint], None).await.unwrap()
}

/// The next message of a watch; panics if none comes.
pub async fn next(stream: &mut WatchStream) -> WatchResponse {
    let message = tokio::time::timeout(SOON, stream.message()).await.expect("a watch message comes");
    message.expect("the watch works").expect("the watch goes on")
}

/// The next message of a watch that is not a note of progress: periodic ones are frequent in these tests.
pub async fn next_change(stream: &mut WatchStream) -> WatchResponse {
    loop {
        let message = next(stream).await;
        if !message.events().is_empty() || message.created() || message.canceled() {
            return message;
        }
    }
}

/// Checks that a call was refused with a code and etcd's exact words.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code, words: &str) {
    match result {
        Err(Error::GRpcStatus(status)) => {
            assert_eq!((status.code(), status.message()), (code, words));
        }
        other => panic!("expected {words:?}, got {other:?}"),
    }
}
