//! etcd's own command line client against the embedded store.

use std::path::PathBuf;

use crate::backend::{Backend, Kind, block_on};
use crate::etcd::{Release, skip};

async fn etcdctl(program: &PathBuf, backend: &Backend, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    if program.starts_with("/usr") {
        // 3.4 speaks the old API unless told; newer ones complain about the variable.
        command.env("ETCDCTL_API", "3");
    }
    command.args(["--endpoints", &backend.endpoint()]).args(arguments);
    // The store runs on this thread's runtime: the wait must not block it.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "etcdctl {arguments:?}: {text}");
    text
}

fn etcdctl_shows_and_changes_the_embedded_store(release: Release, name: &str) {
    let program = match release.etcdctl() {
        Ok(program) => program,
        Err(why) => return skip(name, &why),
    };
    block_on(async {
        let mut backend = Backend::start(Kind::Embedded).await.unwrap();
        backend.put("/ketcd/test/cluster", "id").await;
        backend.put("/ketcd/test/topics/name/hello", "uuid").await;
        backend.put("/other", "x").await;
        let shown = etcdctl(&program, &backend, &["get", "--prefix", "/ketcd"]).await;
        assert_eq!(shown, "/ketcd/test/cluster\nid\n/ketcd/test/topics/name/hello\nuuid\n");
        assert_eq!(etcdctl(&program, &backend, &["put", "k", "v"]).await, "OK\n");
        assert_eq!(backend.get("k").await.unwrap().value(), b"v");
        assert_eq!(etcdctl(&program, &backend, &["del", "k"]).await, "1\n");
        let granted = etcdctl(&program, &backend, &["lease", "grant", "30"]).await;
        assert!(granted.contains("granted with TTL(30s)"), "{granted}");
        // 3.4's calls to one endpoint send an :authority that is none, which the HTTP/2 library here rightly refuses.
        if release == Release::Current {
            let status = etcdctl(&program, &backend, &["endpoint", "status"]).await;
            assert!(status.contains(ketcd::metadata::embedded::API_VERSION), "{status}");
            etcdctl(&program, &backend, &["defrag"]).await;
        }
        let health = etcdctl(&program, &backend, &["endpoint", "health"]).await;
        assert!(health.contains("is healthy"), "{health}");
        let members = etcdctl(&program, &backend, &["member", "list"]).await;
        assert!(members.contains("ketcd-embedded") && members.contains(&backend.endpoint()), "{members}");
        let revision = backend.revision().await.to_string();
        etcdctl(&program, &backend, &["compact", &revision]).await;
    });
}

#[test]
fn etcdctl_3_4_shows_and_changes_the_embedded_store() {
    etcdctl_shows_and_changes_the_embedded_store(Release::Debian, "etcdctl_3_4");
}

#[test]
fn etcdctl_3_7_shows_and_changes_the_embedded_store() {
    etcdctl_shows_and_changes_the_embedded_store(Release::Current, "etcdctl_3_7");
}
