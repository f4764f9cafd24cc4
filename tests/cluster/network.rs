//! A network made for one test: every server in a namespace of its own, a router in the test's, and packets dropped between any two,
//! in one direction or in both, without a word to either side.
//!
//! The thread that makes it must be alone in a fresh namespace ([`crate::turn::apart`]): clients run there, beside the router, and
//! everything goes away with the test. The namespaces are held by child processes, not by names, so nothing is left behind.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

/// The servers' addresses are `10.200.N.2`, the router's `10.200.N.1`.
const NET: &str = "10.200";

/// One server's namespace, as long as the process that holds it.
struct Host {
    holder: Child,
}

/// The router and the servers around it.
pub struct Network {
    hosts: BTreeMap<u8, Host>,
    /// Directed pairs whose packets are dropped.
    cuts: Vec<(u8, u8)>,
}

impl Network {
    /// The router, in this thread's namespace. An error says what the machine does not allow.
    pub fn new() -> Result<Self, String> {
        run("ip", &["link", "set", "lo", "up"])?;
        for key in ["ip_forward", "conf/all/rp_filter", "conf/default/rp_filter"] {
            let value = if key == "ip_forward" { "1" } else { "0" };
            let path = format!("/proc/sys/net/ipv4/{key}");
            std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(Self { hosts: BTreeMap::new(), cuts: Vec::new() })
    }

    /// Adds a server's namespace; gives its address.
    pub fn add(&mut self, number: u8) -> Result<String, String> {
        // `cat` ends with its input, so with this process.
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo here; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut word = [0; 5];
        let told = holder.stdout.as_mut().expect("piped").read_exact(&mut word);
        let pid = holder.id().to_string();
        self.hosts.insert(number, Host { holder });
        told.map_err(|error| format!("no namespace for a server: {error}"))?;
        let (here, there) = (format!("{NET}.{number}.1"), address(number));
        let link = format!("host{number}");
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        run("ip", &["addr", "add", &format!("{here}/24"), "dev", &link])?;
        run("ip", &["link", "set", &link, "up"])?;
        let inside = |arguments: &[&str]| {
            let net = format!("--net=/proc/{pid}/ns/net");
            run("nsenter", &[&[net.as_str(), "--", "ip"], arguments].concat())
        };
        inside(&["link", "set", "lo", "up"])?;
        inside(&["addr", "add", &format!("{there}/24"), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["route", "add", "default", "via", &here])?;
        Ok(there)
    }

    /// What a program is run under to be in a server's namespace.
    pub fn inside(&self, number: u8) -> Vec<String> {
        let pid = self.hosts[&number].holder.id();
        vec!["nsenter".to_owned(), format!("--net=/proc/{pid}/ns/net"), "--".to_owned()]
    }

    /// Drops every packet from one server to another. Idempotent.
    pub fn cut(&mut self, from: u8, to: u8) {
        if !self.cuts.contains(&(from, to)) {
            rule("add", from, to);
            self.cuts.push((from, to));
        }
    }

    /// Both ways.
    pub fn cut_both(&mut self, one: u8, other: u8) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Every packet passes again.
    pub fn heal(&mut self) {
        for (from, to) in self.cuts.drain(..) {
            rule("del", from, to);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in self.hosts.values_mut() {
            if let Some(mut stdin) = host.holder.stdin.take() {
                stdin.flush().ok();
            }
            host.holder.kill().ok();
            host.holder.wait().ok();
        }
    }
}

/// The address of a server.
pub fn address(number: u8) -> String {
    format!("{NET}.{number}.2")
}

/// A routing rule drops forwarded packets silently, of open connections too, and needs no packet filter.
fn rule(verb: &str, from: u8, to: u8) {
    let (from, to) = (address(from), address(to));
    run("ip", &["rule", verb, "from", &from, "to", &to, "blackhole"]).unwrap();
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
}
