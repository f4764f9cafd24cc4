//! The commands of the README for a cluster of plain processes and a real etcd, as they stand there but for the ports.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::etcd::Release;
use crate::node::{free_ports, ketcd};
use crate::skip;

const SOON: Duration = Duration::from_secs(90);

/// The block of commands that starts `etcd`.
fn commands() -> String {
    let readme = include_str!("../../README.md");
    let block = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    block.into_iter().find(|block| block.starts_with("etcd ")).expect("the README has it").to_owned()
}

/// The shell and everything that it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The shell's group is our own: it was made for it.
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_readmes_commands_make_a_cluster_of_three_brokers_with_ids_of_their_own() {
    let etcd = match Release::Current.etcd() {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let place = tempfile::tempdir().unwrap();
    let programs = place.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(etcd, programs.join("etcd")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ketcd"), programs.join("ketcd")).unwrap();
    // Brokers on tens, as in the text: 9091 to 9093 become P+1 to P+3.
    let port = free_ports(20).next_multiple_of(10);
    let (client, peer) = (port + 8, port + 9);
    let text = commands()
        .replace("/tmp/ketcd", place.path().to_str().unwrap())
        .replace("2379", &client.to_string())
        .replace(":909", &format!(":{}", port / 10))
        .replace(":919", &format!(":{}", port / 10 + 10));
    let _all = Group(shell(&text, &programs, client, peer, &place.path().join("output")));
    let begun = Instant::now();
    let first = format!("127.0.0.1:{}", port + 1);
    loop {
        let (code, health) = ketcd(&["cluster", "health", "-b", &first, "--timeout", "5s"]);
        let (_, brokers) = ketcd(&["cluster", "-b", &first, "--timeout", "5s"]);
        let (_, topic) = ketcd(&["topic", "describe", "orders", "-b", &first, "--timeout", "5s"]);
        // Who competes for a number may skip some.
        let ids: BTreeSet<i32> =
            brokers.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let three = ids.len() == 3 && ids.iter().all(|id| *id > 1_000);
        if code == Some(0) && three && topic.contains("6 partitions  replication factor 3") {
            break;
        }
        let output = || std::fs::read_to_string(place.path().join("output")).unwrap_or_default();
        assert!(begun.elapsed() < SOON, "{health}\n{brokers}\n{topic}\n{}", output());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn shell(text: &str, programs: &Path, client: u16, peer: u16, output: &Path) -> Child {
    let output = std::fs::File::create(output).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if ["KETCD_", "KAFKA_", "ETCD_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            shell.env_remove(name);
        }
    }
    shell
        .args(["-c", &format!("{text}\nwait")])
        .env("PATH", path)
        .env("ETCD_LISTEN_CLIENT_URLS", format!("http://127.0.0.1:{client}"))
        .env("ETCD_ADVERTISE_CLIENT_URLS", format!("http://127.0.0.1:{client}"))
        .env("ETCD_LISTEN_PEER_URLS", format!("http://127.0.0.1:{peer}"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap()
}
