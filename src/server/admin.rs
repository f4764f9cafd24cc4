//! The admin port: health, metrics and version over HTTP. Reads only; bound to loopback unless told otherwise (rule X16).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::listener::ServerError;
use crate::telemetry::exposition::Format;
use crate::telemetry::{metrics, process};

/// What kubelet and its like ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/livez`, `/healthz`: does the process work? Never depends on etcd.
    Live,
    /// `/readyz`: may clients come?
    Ready,
    /// `/startupz`: is the start over?
    Startup,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, e.g. `listeners`.
    pub name: Cow<'static, str>,
    /// Whether it is well.
    pub ok: bool,
    /// More about it; shown with `?verbose`, and always if it is not well.
    pub detail: String,
}

impl Check {
    /// A check with its result.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, ok: bool, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok, detail: detail.into() }
    }
}

/// What `/version` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionInfo {
    /// Version of ketcd.
    pub version: String,
    /// `node.id`, once known.
    pub node_id: Option<i32>,
    /// Cluster id, once known.
    pub cluster_id: Option<String>,
}

/// Who answers what the admin port is asked: the broker.
pub trait AdminSource: Send + Sync + 'static {
    /// Looks at everything that `probe` depends on. Well if all checks are.
    fn checks(&self, probe: Probe) -> BoxFuture<'_, Vec<Check>>;

    /// What runs here.
    fn version(&self) -> VersionInfo;
}

/// The checks of a probe that take longer than this count as failed.
const CHECKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The admin port, served on the runtime that started it.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens on `address` and answers from `source`.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(address: SocketAddr, source: Arc<dyn AdminSource>) -> Result<Self, ServerError> {
        let refused = |source: std::io::Error| {
            let listener: Arc<str> = "admin.listen".into();
            if source.kind() == std::io::ErrorKind::AddrInUse {
                let holder = process::listener_of(address.port());
                ServerError::PortTaken { listener, address, holder }
            } else {
                ServerError::Bind { listener, address, source }
            }
        };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(source)).with_graceful_shutdown(stopped).await {
                tracing::warn!(%error, "the admin port failed");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening; connections that are open have `grace` to end.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

fn router(source: Arc<dyn AdminSource>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/healthz", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics_text))
        .route("/version", get(version))
        .with_state(source)
}

type Source = State<Arc<dyn AdminSource>>;

async fn livez(State(source): Source, RawQuery(query): RawQuery) -> Response {
    probe(source, Probe::Live, query.as_deref()).await
}

async fn readyz(State(source): Source, RawQuery(query): RawQuery) -> Response {
    probe(source, Probe::Ready, query.as_deref()).await
}

async fn startupz(State(source): Source, RawQuery(query): RawQuery) -> Response {
    probe(source, Probe::Startup, query.as_deref()).await
}

/// As Kubernetes' own components answer: `ok`, or one line for each check.
async fn probe(source: Arc<dyn AdminSource>, probe: Probe, query: Option<&str>) -> Response {
    let checks = tokio::time::timeout(CHECKS_TIMEOUT, source.checks(probe)).await.unwrap_or_else(|_| {
        vec![Check::new("checks", false, format!("no result within {} s", CHECKS_TIMEOUT.as_secs()))]
    });
    let well = checks.iter().all(|check| check.ok);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if well && !verbose {
        return (status, "ok").into_response();
    }
    (status, lines(&checks, well)).into_response()
}

fn lines(checks: &[Check], well: bool) -> String {
    let mut text = String::new();
    for check in checks {
        let (mark, word) = if check.ok { ('+', "ok") } else { ('-', "failed") };
        let detail = if check.detail.is_empty() { String::new() } else { format!(": {}", check.detail) };
        let _ = writeln!(text, "[{mark}]{} {word}{detail}", check.name);
    }
    text.push_str(if well { "check passed\n" } else { "check failed\n" });
    text
}

async fn metrics_text(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = if accepts.contains("application/openmetrics-text") {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    };
    match metrics::render(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be written").into_response(),
    }
}

async fn version(State(source): Source) -> Json<VersionInfo> {
    Json(source.version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_a_line_and_a_failed_one_says_why() {
        let checks = [Check::new("listeners", true, ""), Check::new("lease", false, "ended 3 s ago")];
        assert_eq!(lines(&checks, false), "[+]listeners ok\n[-]lease failed: ended 3 s ago\ncheck failed\n");
    }
}
