//! The connection to etcd: one endpoint at a time, every call with a deadline, every failure sorted.
//!
//! The client crate's defaults are not used: without keep-alive and timeouts a frozen server is never noticed, and answers above
//! 4 MiB are refused.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, GetResponse, Identity, LeaseKeepAliveStream,
    LeaseKeeper, WatchOptions, WatchStream,
};
use tonic::Code;

use super::error::MetadataError;
use super::options::ConnectionOptions;
use super::txn::{GuardedTxn, Outcome, Stored};

/// Largest answer taken from etcd. Pages aim far below; one Txn of ours or one watch response of a busy second may be larger.
const DECODED_BYTES_MAX: usize = 64 << 20;
/// Time between HTTP/2 pings. Not below 5 s: etcd closes connections that ping more often (`--grpc-keepalive-min-time`). It only
/// finds dead connections; a frozen server is found by the deadlines of calls.
const PING_INTERVAL: Duration = Duration::from_secs(6);
/// Longest wait for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer: the server is away, frozen, or has no leader.
    #[error("{why}")]
    NoAnswer {
        /// What was met.
        why: String,
        /// The request cannot have reached a server.
        not_sent: bool,
    },
    /// The server's definite answer: no.
    #[error("{message}")]
    Refused {
        /// gRPC code.
        code: Code,
        /// Its message.
        message: String,
    },
}

impl CallError {
    /// The revision asked for is compacted.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Refused { code: Code::OutOfRange, message } if message.contains("compacted"))
    }

    /// The answer was larger than we take.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused { code: Code::OutOfRange | Code::ResourceExhausted, message }
            if message.contains("too large") || message.contains("larger than max"))
    }

    /// The server has forgotten our login, or its users have changed since.
    #[must_use]
    pub fn is_stale_login(&self) -> bool {
        matches!(self, Self::Refused { message, .. }
            if message.contains("auth store is old") || message.contains("invalid auth token"))
    }

    /// The lease named does not exist (any more).
    #[must_use]
    pub fn is_lease_gone(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("lease not found"))
    }

    /// The error of an operation that changed nothing.
    #[must_use]
    pub fn into_metadata_error(self, what: &str, since: Duration) -> MetadataError {
        match self {
            Self::NoAnswer { why, .. } => MetadataError::Unreachable { why, since },
            Self::Refused { message, .. } if message.contains("space exceeded") => MetadataError::NoSpace,
            Self::Refused { message, .. } => MetadataError::Refused { what: what.to_owned(), why: message },
        }
    }
}

/// A connection that is opened when needed and moves to the next endpoint when one fails. Cheap to clone. Belongs to the runtime
/// it is first used on.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    options: ConnectionOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    /// Index of the endpoint in use.
    endpoint: usize,
    /// Grows with each client dropped.
    generation: u64,
}

impl Connector {
    /// A connector that has not connected yet.
    ///
    /// # Errors
    /// [`MetadataError::InvalidOption`].
    pub fn new(options: ConnectionOptions) -> Result<Self, MetadataError> {
        if options.endpoints.is_empty() {
            let why = "no endpoint is given".to_owned();
            return Err(MetadataError::InvalidOption { option: "etcd.endpoints", why });
        }
        let plain = options.endpoints.iter().find(|endpoint| endpoint.starts_with("http://"));
        if let (Some(endpoint), Some(_)) = (plain, &options.tls) {
            let why = format!("{endpoint} is plain text, but etcd.tls keys are given; write https://");
            return Err(MetadataError::InvalidOption { option: "etcd.endpoints", why });
        }
        if options.user.is_some() != options.password.is_some() {
            let why = "user and password belong together".to_owned();
            return Err(MetadataError::InvalidOption { option: "etcd.user", why });
        }
        Ok(Self(Arc::new(Inner { options, state: Mutex::new(State::default()) })))
    }

    /// The longest wait for one answer.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.0.options.request_timeout
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client in use, or a new one to the endpoint that is next.
    async fn client(&self) -> Result<(Client, u64), Error> {
        let (endpoint, generation) = {
            let state = self.state();
            if let Some(client) = &state.client {
                return Ok((client.clone(), state.generation));
            }
            let endpoints = &self.0.options.endpoints;
            (endpoints.get(state.endpoint % endpoints.len()).cloned(), state.generation)
        };
        let endpoint = endpoint.ok_or_else(|| Error::InvalidArgs("no endpoint".into()))?;
        let client = Client::connect([endpoint], Some(self.connect_options())).await?;
        let mut state = self.state();
        if state.generation == generation && state.client.is_none() {
            state.client = Some(client.clone());
        }
        Ok((client, generation))
    }

    fn connect_options(&self) -> ConnectOptions {
        let options = &self.0.options;
        let mut connect = ConnectOptions::new()
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(options.request_timeout)
            .with_require_leader(true);
        if let (Some(user), Some(password)) = (&options.user, &options.password) {
            connect = connect.with_user(user, password).with_auto_token_refresh(true);
        }
        if let Some(tls) = &options.tls {
            let mut config = etcd_client::TlsOptions::new();
            if let Some(ca) = &tls.ca_pem {
                config = config.ca_certificate(Certificate::from_pem(ca));
            }
            if let Some((certificate, key)) = &tls.identity_pem {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            if let Some(name) = &tls.server_name {
                config = config.domain_name(name);
            }
            connect = connect.with_tls(config);
        }
        connect
    }

    /// Drops the client in use; calls under way keep it.
    pub fn reset(&self) {
        let generation = self.state().generation;
        self.failed(generation);
    }

    /// Drops the client of `generation`, so that the next call opens a new one, at the next endpoint.
    fn failed(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.generation += 1;
            state.endpoint = state.endpoint.wrapping_add(1);
            state.client = None;
        }
    }

    /// One call with a deadline; its failure is sorted. A login that the server does not know any more is renewed, once.
    async fn call<T, F>(
        &self,
        deadline: Duration,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        match self.call_once(deadline, &call).await {
            Err(error) if error.is_stale_login() => self.call_once(deadline, &call).await,
            other => other,
        }
    }

    async fn call_once<T, F>(
        &self,
        deadline: Duration,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let generation = self.state().generation;
        let attempt = async {
            let (client, generation) = self.client().await.map_err(|error| (error, generation, true))?;
            call(client).await.map_err(|error| (error, generation, false))
        };
        match tokio::time::timeout(deadline, attempt).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((error, generation, not_sent))) => {
                let error = sort(error, not_sent);
                if error.is_stale_login() || matches!(error, CallError::NoAnswer { .. }) {
                    self.failed(generation);
                }
                Err(error)
            }
            Err(_) => {
                self.failed(generation);
                let why = format!("no answer within {:.1} s", deadline.as_secs_f64());
                Err(CallError::NoAnswer { why, not_sent: false })
            }
        }
    }

    /// A linearizable read of a key or a range.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(
        &self,
        key: impl Into<Vec<u8>>,
        options: Option<GetOptions>,
    ) -> Result<GetResponse, CallError> {
        let key = key.into();
        self.call(self.request_timeout(), |client: Client| {
            let (key, options) = (key.clone(), options.clone());
            let mut client = client.kv_client().max_decoding_message_size(DECODED_BYTES_MAX);
            async move { client.get(key, options).await }
        })
        .await
    }

    /// A linearizable read of one key; `None` if it does not exist. Also the header's revision.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn read(&self, key: Vec<u8>) -> Result<(Option<Stored>, i64), CallError> {
        let answer = self.get(key, None).await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok((answer.kvs().first().map(Stored::from), revision))
    }

    /// Sends one guarded change. A lost answer is an outcome, not an error (rule E9).
    ///
    /// # Errors
    /// [`MetadataError`] if nothing was changed and nothing will be: too large, refused, or never sent.
    pub async fn submit(&self, txn: GuardedTxn) -> Result<Outcome, MetadataError> {
        txn.check()?;
        let what = txn.what.clone();
        let request = txn.into_request();
        let answer = self
            .call(self.request_timeout(), |client: Client| {
                let request = request.clone();
                let mut client = client.kv_client().max_decoding_message_size(DECODED_BYTES_MAX);
                async move { client.txn(request).await }
            })
            .await;
        match answer {
            Ok(answer) => {
                let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
                if answer.succeeded() {
                    return Ok(Outcome::Applied { revision });
                }
                let found = answer
                    .op_responses()
                    .iter()
                    .filter_map(|response| match response {
                        etcd_client::TxnOpResponse::Get(get) => Some(get.kvs().iter().map(Stored::from)),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                Ok(Outcome::Rejected { revision, found })
            }
            Err(CallError::NoAnswer { why, not_sent: false }) => Ok(Outcome::Unknown { why }),
            Err(error) => Err(error.into_metadata_error(&what, Duration::ZERO)),
        }
    }

    /// Grants a lease: its id and the granted time to live.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn grant(&self, ttl: Duration) -> Result<(i64, Duration), CallError> {
        let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let answer = self
            .call(self.request_timeout(), move |client: Client| async move {
                client.lease_client().grant(seconds, None).await
            })
            .await?;
        Ok((answer.id(), Duration::from_secs(answer.ttl().unsigned_abs())))
    }

    /// Revokes a lease; its keys go. A lease that is gone already counts as revoked.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke(&self, lease: i64) -> Result<(), CallError> {
        let revoked = self
            .call(self.request_timeout(), move |client: Client| async move {
                client.lease_client().revoke(lease).await.map(|_| ())
            })
            .await;
        match revoked {
            Err(error) if error.is_lease_gone() => Ok(()),
            other => other,
        }
    }

    /// Remaining time to live of a lease; zero if it is gone.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remaining(&self, lease: i64) -> Result<Duration, CallError> {
        let answer = self
            .call(self.request_timeout(), move |client: Client| async move {
                client.lease_client().time_to_live(lease, None).await
            })
            .await?;
        Ok(Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0)))
    }

    /// Opens a stream of renewals and renews once. The crate reports a lease that is gone as an error of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn keep_alive(
        &self,
        lease: i64,
        deadline: Duration,
    ) -> Result<(LeaseKeeper, LeaseKeepAliveStream), CallError> {
        self.call(
            deadline,
            move |client: Client| async move { client.lease_client().keep_alive(lease).await },
        )
        .await
    }

    /// Opens a watch on all keys in `[from, to)`, starting with the events of `revision`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn watch(&self, from: Vec<u8>, to: Vec<u8>, revision: i64) -> Result<WatchStream, CallError> {
        let options = WatchOptions::new()
            .with_range(to)
            .with_start_revision(revision)
            .with_progress_notify()
            .with_fragment();
        self.call(self.request_timeout(), |client: Client| {
            let (from, options) = (from.clone(), Some(options.clone()));
            let mut client = client.watch_client().max_decoding_message_size(DECODED_BYTES_MAX);
            async move { client.watch(from, options).await }
        })
        .await
    }
}

/// Tells a definite answer from none.
pub(super) fn sort(error: Error, not_sent: bool) -> CallError {
    match error {
        Error::GRpcStatus(status) => {
            let message = status.message().to_owned();
            match status.code() {
                Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
                | Code::Aborted
                | Code::DataLoss
                | Code::Ok => {
                    let not_sent = not_sent || connect_failed(&status);
                    CallError::NoAnswer { why: explain(&status), not_sent }
                }
                code => CallError::Refused { code, message },
            }
        }
        // The crate's word for "the server says that the lease does not exist".
        Error::LeaseKeepAliveError(message) => CallError::Refused { code: Code::NotFound, message },
        other => CallError::NoAnswer { why: other.to_string(), not_sent },
    }
}

/// Whether no connection could be made: then the request was not sent.
fn connect_failed(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>()
            || error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// The status with the innermost cause, e.g. `connection refused`, which its own message hides.
fn explain(status: &tonic::Status) -> String {
    let mut innermost = None;
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        innermost = Some(error.to_string());
        source = error.source();
    }
    match innermost {
        Some(cause) if !status.message().contains(&cause) => format!("{}: {cause}", status.message()),
        _ => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let option = |options: ConnectionOptions| match Connector::new(options) {
            Err(MetadataError::InvalidOption { option, .. }) => option,
            _ => "accepted",
        };
        assert_eq!(option(ConnectionOptions::new(vec![])), "etcd.endpoints");
        let plain = ConnectionOptions::new(vec!["http://a:1".into()]);
        assert_eq!(
            option(ConnectionOptions { tls: Some(Default::default()), ..plain.clone() }),
            "etcd.endpoints"
        );
        assert_eq!(option(ConnectionOptions { user: Some("u".into()), ..plain.clone() }), "etcd.user");
        assert_eq!(option(plain), "accepted");
    }

    #[test]
    fn answers_and_lost_answers_are_told_apart() {
        let of = |code, text: &str| sort(Error::GRpcStatus(tonic::Status::new(code, text)), false);
        assert!(matches!(of(Code::Unavailable, "x"), CallError::NoAnswer { not_sent: false, .. }));
        assert!(matches!(of(Code::Unknown, "x"), CallError::NoAnswer { .. }));
        assert!(matches!(of(Code::InvalidArgument, "x"), CallError::Refused { .. }));
        assert!(of(Code::NotFound, "etcdserver: requested lease not found").is_lease_gone());
        assert!(
            of(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted").is_compacted()
        );
        let space = of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert_eq!(space.into_metadata_error("x", Duration::ZERO), MetadataError::NoSpace);
        let gone = sort(Error::LeaseKeepAliveError("lease not found".into()), false);
        assert!(gone.is_lease_gone());
    }
}
