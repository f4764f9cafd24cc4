//! The etcd of a cluster: one member, or three.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::etcd::Release;

/// How long the members may take to answer after a start.
const START_DEADLINE: Duration = Duration::from_secs(60);

struct Member {
    name: String,
    client: String,
    peer: String,
    under: Vec<String>,
    child: Option<Child>,
}

/// The members, by number from 0. Killed when dropped.
pub struct Etcds {
    folder: TempDir,
    members: Vec<Member>,
}

impl Etcds {
    /// Starts members at the given hosts; `under` is what each one's program is run under.
    pub async fn start(hosts: &[(String, Vec<String>)]) -> Result<Self, String> {
        let folder = TempDir::with_prefix("ketcd-etcd-").map_err(|error| error.to_string())?;
        let mut members = Vec::new();
        // Held until all ports are known, so that no two are the same.
        let mut taken = Vec::new();
        for (number, (host, under)) in hosts.iter().enumerate() {
            let mut port = |usual: u16| {
                if !under.is_empty() {
                    return Ok(usual);
                }
                let listener = TcpListener::bind((host.as_str(), 0)).map_err(|error| error.to_string())?;
                let port = listener.local_addr().map_err(|error| error.to_string())?.port();
                taken.push(listener);
                Ok::<u16, String>(port)
            };
            members.push(Member {
                name: format!("m{number}"),
                client: format!("http://{host}:{}", port(2379)?),
                peer: format!("http://{host}:{}", port(2380)?),
                under: under.clone(),
                child: None,
            });
        }
        drop(taken);
        let mut etcds = Self { folder, members };
        for number in 0..etcds.members.len() {
            etcds.spawn(number)?;
        }
        etcds.until_it_answers().await?;
        Ok(etcds)
    }

    /// For `etcd.endpoints`.
    pub fn endpoints(&self) -> String {
        self.members.iter().map(|member| member.client.as_str()).collect::<Vec<_>>().join(",")
    }

    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// A connection to one member.
    pub async fn client(&self, number: usize) -> Client {
        Client::connect([self.members[number].client.clone()], None).await.expect("connecting is lazy")
    }

    /// The number of the member that leads.
    pub async fn leader(&self) -> Option<usize> {
        for number in 0..self.members.len() {
            let mut client = self.client(number).await;
            let asked = tokio::time::timeout(Duration::from_secs(1), client.status()).await;
            if let Ok(Ok(status)) = asked
                && status.leader() != 0
                && status.header().is_some_and(|header| header.member_id() == status.leader())
            {
                return Some(number);
            }
        }
        None
    }

    /// kill -9.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    pub fn freeze(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    pub fn thaw(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    /// Starts a killed member again, with its data.
    pub fn restart(&mut self, number: usize) {
        self.kill(number);
        self.spawn(number).unwrap();
    }

    /// All keys below a prefix with the lease that each hangs on.
    pub async fn keys(&self, prefix: &str) -> Vec<(String, i64)> {
        for number in 0..self.members.len() {
            let mut client = self.client(number).await;
            // Not "keys only": that leaves the leases out.
            let options = GetOptions::new().with_prefix();
            let asked = tokio::time::timeout(Duration::from_secs(5), client.get(prefix, Some(options))).await;
            if let Ok(Ok(answer)) = asked {
                return answer
                    .kvs()
                    .iter()
                    .map(|kv| (kv.key_str().unwrap().to_owned(), kv.lease()))
                    .collect();
            }
        }
        panic!("etcd does not answer");
    }

    /// Waits until a linearizable read is answered.
    pub async fn until_it_answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            for number in 0..self.members.len() {
                if let Some(Ok(Some(status))) = self.members[number].child.as_mut().map(Child::try_wait) {
                    return Err(format!("etcd ended with {status}:\n{}", self.log(number)));
                }
            }
            let mut client = self.client(0).await;
            let asked = tokio::time::timeout(Duration::from_secs(1), client.get("health", None)).await;
            if matches!(asked, Ok(Ok(_))) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("etcd does not answer:\n{}", self.log(0)));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("m{number}.log"))).unwrap_or_default()
    }

    fn signal(&self, number: usize, signal: Signal) {
        let child = self.members[number].child.as_ref().expect("the member runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }

    fn spawn(&mut self, number: usize) -> Result<(), String> {
        let all: Vec<_> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer)).collect();
        let member = &mut self.members[number];
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{}.log", member.name)))
            .map_err(|error| error.to_string())?;
        let etcd = Release::Current.etcd()?;
        let mut program = member.under.clone();
        program.push(etcd.display().to_string());
        let child = Command::new(&program[0])
            .args(&program[1..])
            .env("GOMAXPROCS", "1")
            // What ends here is the process, not the machine: no fsync.
            .args(["--name", &member.name, "--logger", "zap", "--log-level", "error", "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(self.folder.path().join(&member.name))
            .args(["--listen-client-urls", &member.client, "--advertise-client-urls", &member.client])
            .args(["--listen-peer-urls", &member.peer, "--initial-advertise-peer-urls", &member.peer])
            .args(["--initial-cluster", &all.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.join(" ")))?;
        member.child = Some(child);
        Ok(())
    }
}

impl Drop for Etcds {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}
