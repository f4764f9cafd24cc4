//! `ketcd dev --nodes N`: a cluster on this machine. This process hosts the metadata store and starts the nodes, each a process of its
//! own that can be killed, and is not started again unless somebody does.
//!
//! Read first: [`plan`] (what is started), then [`run`].

mod plan;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::DevArgs;
use super::client::{Cluster, ConnectArgs};
use super::exit::{CliError, Exit, Outcome};
use super::run::{self, load, load_options, scratch_of};
use crate::config::Mode;
use crate::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use crate::sys::child::Child;
use crate::sys::{read, small_file};
use crate::types::Clock;
use plan::{NodePlan, Plan};

pub use plan::NODES_MAX;

/// The directory where none is given: not that of a single node, whose data is of another cluster.
const DATA: &str = "./ketcd-cluster";
/// The metadata store's file in it.
const STORE_FILE: &str = "metadata.redb";
/// How long the nodes may take to find each other.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two looks whether they have.
const START_POLL: Duration = Duration::from_millis(50);
/// How long a node may take to stop, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a node's log is shown when it did not start.
const TAIL_LINES: usize = 12;
/// Longest log file of which the tail is looked for.
const TAIL_BYTES_MAX: u64 = 16 << 20;

/// A node that was started.
struct Running<'a> {
    plan: &'a NodePlan,
    child: Child,
    ended: bool,
}

/// Runs a cluster of `count` nodes until it is told to stop.
///
/// # Errors
/// What to tell the user.
pub fn dev(args: DevArgs, count: u8) -> Outcome {
    let begun = Clock::system().elapsed();
    let scratch = scratch_of(&args)?;
    let given = scratch.as_ref().map(|scratch| scratch.path().to_owned()).or(args.data);
    let data = std::path::absolute(given.unwrap_or_else(|| PathBuf::from(DATA)))
        .map_err(|error| CliError::failure(format!("the data directory: {error}")))?;
    if read::exists(&data.join("meta.properties")) {
        return Err(CliError::new(
            Exit::Config,
            "the directory holds the data of a single node, which is another cluster",
        )
        .at(data.display().to_string())
        .help("another directory: ketcd dev --nodes 3 --data DIR"));
    }
    let plan = Plan::new(count, args.port, &data, &args.set)?;
    let reused = read::exists(&data.join(STORE_FILE));
    for node in &plan.nodes {
        small_file::replace_unsynced(&node.file, node.properties.as_bytes())
            .map_err(|error| CliError::failure(format!("{}: {error}", node.file.display())))?;
    }
    // What is wrong in what the user set is told once, and before anything is started.
    let first = plan.nodes.first().map(|node| node.file.clone());
    let mut options = load_options(Mode::Broker, first, Vec::new());
    Plan::hidden_variables().for_each(|name| drop(options.env.remove(&name)));
    load(&options, args.log_level.clone())?;
    let path = (!args.ephemeral).then(|| data.join(STORE_FILE));
    run::on_this_thread(async {
        let mut stop = StopSignals::new()?;
        let store = EmbeddedOptions {
            path,
            listen: ([127, 0, 0, 1], plan.etcd_port).into(),
            ..EmbeddedOptions::default()
        };
        let store = EmbeddedEtcd::start(store)
            .await
            .map_err(|error| run::start_error(&anyhow::Error::from(error)))?;
        let mut nodes = Vec::new();
        let served = tokio::select! {
            served = serve(&plan, args.log_level.as_deref(), &mut nodes) => served,
            signal = stop.recv() => {
                tracing::info!("{signal} during the start: stopped");
                Ok(false)
            }
        };
        let ended = match served {
            Ok(true) => {
                let seconds = (Clock::system().elapsed() - begun).as_secs_f64();
                print_screen(&plan, &nodes, args.ephemeral, reused, seconds);
                watch(&mut nodes, &mut stop).await
            }
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        stop_all(&mut nodes).await;
        store.shutdown().await;
        tracing::info!("stopped");
        ended
    })
}

/// Starts the nodes and waits until they are a cluster.
async fn serve<'a>(plan: &'a Plan, log_level: Option<&str>, nodes: &mut Vec<Running<'a>>) -> Outcome<bool> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::new(Exit::Internal, format!("where this program is: {error}")))?;
    for node in &plan.nodes {
        let mut arguments = vec!["broker".to_owned(), "--config".to_owned(), node.file.display().to_string()];
        arguments.extend(log_level.iter().flat_map(|level| ["--log-level".to_owned(), (*level).to_owned()]));
        let child = Child::start(&program, &arguments, Plan::hidden_variables(), &node.log)
            .map_err(|error| CliError::failure(format!("node {} cannot be started: {error}", node.id)))?;
        nodes.push(Running { plan: node, child, ended: false });
    }
    let clock = Clock::system();
    let until = clock.elapsed() + START_TIMEOUT;
    let connect = ConnectArgs { bootstrap: plan.bootstrap(), timeout: Duration::from_secs(2) };
    loop {
        for node in nodes.iter_mut() {
            if let Some(ended) = node.child.ended().ok().flatten() {
                return Err(did_not_start(node.plan, &format!("ended with {ended}")));
            }
        }
        if brokers(&connect).await == Some(plan.nodes.len()) {
            return Ok(true);
        }
        if clock.elapsed() >= until {
            let late = plan.nodes.last().map_or_else(
                || CliError::failure("no nodes"),
                |node| did_not_start(node, "or another node did not join the others in time"),
            );
            return Err(late);
        }
        tokio::time::sleep(START_POLL).await;
    }
}

/// How many brokers a client sees; `None` while it sees nothing.
async fn brokers(connect: &ConnectArgs) -> Option<usize> {
    let mut cluster = Cluster::connect(connect).await.ok()?;
    Some(cluster.refresh(Some(&[])).await.ok()?.brokers.len())
}

/// What the node said before it ended.
fn did_not_start(node: &NodePlan, what: &str) -> CliError {
    let text = read::small(&node.log, TAIL_BYTES_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    let mut error =
        CliError::new(Exit::Config, format!("node {} {what}", node.id)).at(node.log.display().to_string());
    if tail.iter().any(|line| line.contains("port ")) {
        error = error.help("other ports: ketcd dev --nodes 3 --port 19092");
    }
    let _ = writeln!(std::io::stderr(), "{}", tail.join("\n"));
    error
}

/// Tells when a node ends, until this process is told to stop.
async fn watch(nodes: &mut [Running<'_>], stop: &mut StopSignals) -> Outcome {
    let mut child = signal(SignalKind::child()).map_err(|error| run::no_signals(&error))?;
    loop {
        for node in nodes.iter_mut().filter(|node| !node.ended) {
            if let Some(ended) = node.child.ended().ok().flatten() {
                node.ended = true;
                tracing::warn!(
                    node = node.plan.id,
                    "node ended with {ended}; start it again with: ketcd broker --config {}",
                    node.plan.file.display()
                );
            }
        }
        tokio::select! {
            _ = child.recv() => {}
            signal = stop.recv() => {
                tracing::info!("{signal}: stopping {} nodes", nodes.iter().filter(|node| !node.ended).count());
                return Ok(());
            }
        }
    }
}

/// Stops the nodes in order, all at once; a second signal does not hurry them.
async fn stop_all(nodes: &mut [Running<'_>]) {
    let clock = Clock::system();
    let until = clock.elapsed() + STOP_TIMEOUT;
    nodes.iter_mut().for_each(|node| node.child.terminate());
    while nodes.iter_mut().any(|node| matches!(node.child.ended(), Ok(None))) {
        if clock.elapsed() >= until {
            tracing::warn!("nodes did not stop in {} s and are killed", STOP_TIMEOUT.as_secs());
            nodes.iter_mut().for_each(|node| node.child.kill());
        }
        tokio::time::sleep(START_POLL).await;
    }
}

/// The signals that end the cluster.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(|error| run::no_signals(&error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The first screen: where everything is, and what to try.
fn print_screen(plan: &Plan, nodes: &[Running<'_>], ephemeral: bool, reused: bool, seconds: f64) {
    let state = match (ephemeral, reused) {
        (true, _) => "removed at the end",
        (_, true) => "reused",
        (_, false) => "new",
    };
    let mut text = format!(
        "ketcd {} dev cluster   {} nodes on this machine, metadata in this process\n\
         \x20 etcd       http://127.0.0.1:{:<15} data   {} ({state})\n",
        env!("CARGO_PKG_VERSION"),
        nodes.len(),
        plan.etcd_port,
        plan.data.display(),
    );
    for node in nodes {
        let NodePlan { id, port, admin_port, .. } = node.plan;
        text.push_str(&format!(
            "  node {id}     127.0.0.1:{port:<15} admin  http://127.0.0.1:{admin_port}   pid {}   log node-{id}.log\n",
            node.child.pid()
        ));
    }
    let bootstrap = match plan.nodes.first() {
        Some(node) if node.port != 9092 => format!(" -b 127.0.0.1:{}", node.port),
        _ => String::new(),
    };
    let victim = nodes.last();
    text.push_str(&format!(
        "ready in {seconds:.2} s. Try, in another terminal:\n\
         \x20 ketcd topic create hello -p 3{bootstrap}\n\
         \x20 echo hi | ketcd topic produce hello{bootstrap}\n\
         \x20 kill -9 {pid}     node {id} is gone, the others take over\n\
         \x20 ketcd topic consume hello --from start{bootstrap}\n\
         \x20 ketcd broker --config {file}     starts it again\n\
         Ctrl-C stops all nodes that were started here.\n",
        pid = victim.map_or(0, |node| node.child.pid()),
        id = victim.map_or(0, |node| node.plan.id),
        file = victim.map_or(Path::new(""), |node| &node.plan.file).display(),
    ));
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
