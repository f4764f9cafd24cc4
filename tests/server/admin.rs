//! The admin port over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ketcd::server::admin::{AdminServer, AdminSource, Check, Probe, VersionInfo};

use crate::service::{PATIENCE, block_on};

struct Source {
    has_lease: AtomicBool,
}

impl AdminSource for Source {
    fn checks(&self, probe: Probe) -> BoxFuture<'_, Vec<Check>> {
        let has_lease = self.has_lease.load(Ordering::SeqCst);
        Box::pin(async move {
            let mut checks = vec![Check::new("threads", true, "")];
            if probe == Probe::Ready {
                checks.push(Check::new("lease", has_lease, if has_lease { "" } else { "ended" }));
            }
            checks
        })
    }

    fn version(&self) -> VersionInfo {
        VersionInfo { version: "1.2.3".into(), node_id: Some(4), cluster_id: None }
    }
}

fn get(address: SocketAddr, path: &str, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn health_metrics_and_version_are_told() {
    let source = Arc::new(Source { has_lease: AtomicBool::new(true) });
    block_on(async {
        let admin = AdminServer::start("127.0.0.1:0".parse().unwrap(), source.clone()).await.unwrap();
        let address = admin.address();
        let ask = |path: &'static str, accept: &'static str| {
            tokio::task::spawn_blocking(move || get(address, path, accept))
        };
        let live = ask("/livez", "*/*").await.unwrap();
        assert!(live.starts_with("HTTP/1.1 200") && live.ends_with("\r\n\r\nok"), "{live}");
        let ready = ask("/readyz?verbose", "*/*").await.unwrap();
        assert!(ready.contains("[+]threads ok\n[+]lease ok\ncheck passed"), "{ready}");
        source.has_lease.store(false, Ordering::SeqCst);
        let unready = ask("/readyz", "*/*").await.unwrap();
        assert!(
            unready.starts_with("HTTP/1.1 503") && unready.contains("[-]lease failed: ended"),
            "{unready}"
        );
        for path in ["/livez", "/healthz", "/startupz"] {
            assert!(ask(path, "*/*").await.unwrap().starts_with("HTTP/1.1 200"), "{path}");
        }
        let version = ask("/version", "*/*").await.unwrap();
        assert!(version.contains(r#"{"version":"1.2.3","node_id":4,"cluster_id":null}"#), "{version}");
        let plain = ask("/metrics", "*/*").await.unwrap();
        assert!(plain.contains("text/plain; version=0.0.4") && !plain.contains("# EOF"), "{plain}");
        let open = ask("/metrics", "application/openmetrics-text;version=1.0.0").await.unwrap();
        assert!(open.contains("# EOF") && open.contains("ketcd_build_info"), "{open}");
        assert!(ask("/nothing", "*/*").await.unwrap().starts_with("HTTP/1.1 404"));
        admin.stop(Duration::from_secs(5)).await;
        assert!(TcpStream::connect(address).is_err());
    });
}
