//! TLS towards a real etcd, with certificates on both sides.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ketcd::metadata::{ConnectionOptions, Metadata, MetadataError, TlsOptions};
use tempfile::TempDir;

use crate::etcd::{Release, skip};
use crate::server::{new_topic, options};

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) -> Result<(), String> {
    let run = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let run = run.map_err(|error| format!("openssl: {error}"))?;
    run.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&run.stderr).into_owned())
}

/// An authority, and a certificate of it for servers and for clients.
fn certificates(folder: &Path) -> Result<(), String> {
    let extensions = "subjectAltName=DNS:etcd.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
    std::fs::write(folder.join("extensions"), extensions).map_err(|error| error.to_string())?;
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2",
    )?;
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout one.key -out one.csr -subj /CN=one",
    )?;
    openssl(
        folder,
        "x509 -req -in one.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out one.pem",
    )
}

#[test]
fn a_server_that_asks_for_certificates_is_spoken_to() {
    let name = "a_server_that_asks_for_certificates_is_spoken_to";
    let folder = TempDir::with_prefix("ketcd-tls-").unwrap();
    let program = match Release::Current.etcd().or_else(|_| Release::Debian.etcd()) {
        Ok(program) => program,
        Err(why) => return skip(name, &why),
    };
    if let Err(why) = certificates(folder.path()) {
        return skip(name, &why);
    }
    let ports = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port());
    let [client, peer] =
        [format!("https://127.0.0.1:{}", ports[0]), format!("http://127.0.0.1:{}", ports[1])];
    let at = |file: &str| folder.path().join(file).display().to_string();
    let server = Command::new(program)
        .args(["--name", "test", "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error"])
        .args(["--data-dir", &at("data"), "--client-cert-auth", "--trusted-ca-file", &at("ca.pem")])
        .args(["--cert-file", &at("one.pem"), "--key-file", &at("one.key")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Running(server.unwrap());

    let pem = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    let tls = TlsOptions {
        ca_pem: Some(pem("ca.pem")),
        identity_pem: Some((pem("one.pem"), pem("one.key"))),
        server_name: Some("etcd.test".into()),
    };
    let state = TempDir::new().unwrap();
    let mut good = options(&client, Some(1), state.path());
    good.connection = ConnectionOptions { tls: Some(tls.clone()), ..good.connection };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let metadata = Metadata::connect(good.clone()).await.unwrap();
        metadata.create_topic(new_topic("t", 1)).await.unwrap();
        metadata.close().await;
        // Without our certificate, or without their authority, there is no session, and the reason is told.
        for tls in
            [TlsOptions { identity_pem: None, ..tls.clone() }, TlsOptions { ca_pem: None, ..tls.clone() }]
        {
            let mut bad = good.clone();
            bad.connection.tls = Some(tls);
            bad.start_timeout = std::time::Duration::from_millis(500);
            let refused = Metadata::connect(bad).await.err().unwrap();
            eprintln!("{refused}");
            assert!(matches!(refused, MetadataError::Unreachable { .. }), "{refused:?}");
        }
    });
}
