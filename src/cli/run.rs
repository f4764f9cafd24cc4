//! `ketcd dev` and `ketcd broker`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::args::{BrokerArgs, DevArgs};
use super::config::refuse;
use super::exit::{CliError, Exit, Outcome};
use super::node::Node;
use crate::config::{self, Config, Flag, LoadOptions, Mode};
use crate::log::OpenError;
use crate::metadata::MetadataError;
use crate::metadata::embedded::StartError;
use crate::server::ServerError;
use crate::sys;
use crate::telemetry::logging;
use crate::types::{Clock, random};

/// Distance of the admin port and of the embedded etcd's from the port for clients.
const ADMIN_PORT_OFFSET: u16 = 100;
const ETCD_PORT_OFFSET: u16 = 200;

/// Runs a development broker until it is told to stop.
///
/// # Errors
/// What to tell the user.
pub fn dev(args: DevArgs) -> Outcome {
    if let Some(count) = args.nodes.filter(|count| *count > 1) {
        return super::nodes::dev(args, count);
    }
    let begun = Clock::system().elapsed();
    let scratch = scratch_of(&args)?;
    let data = scratch.as_ref().map(|scratch| scratch.path().to_owned()).or(args.data);
    let mut options = load_options(Mode::Dev, None, args.set);
    options.flags = dev_flags(args.port, data.as_deref(), args.ephemeral)?;
    let config = load(&options, args.log_level)?;
    let data = config.broker().log_dirs.first().cloned().unwrap_or_default();
    let reused = sys::read::exists(&data.join("meta.properties"));
    if !reused && sys::read::exists(&data.join("node-1.properties")) {
        return Err(CliError::new(Exit::Config, "the directory holds the data of several nodes")
            .at(data.display().to_string())
            .help("as they were started: ketcd dev --nodes N --data DIR")
            .help("or another directory: ketcd dev --data DIR"));
    }
    run(config, |node| {
        let screen = DevScreen { node, data: &data, ephemeral: args.ephemeral, reused };
        screen.print((Clock::system().elapsed() - begun).as_secs_f64());
    })
}

/// The directory of `--ephemeral`, which goes with what is returned.
pub(super) fn scratch_of(args: &DevArgs) -> Outcome<Option<sys::scratch::Scratch>> {
    let scratch =
        args.ephemeral.then(|| sys::scratch::Scratch::new(&random::uuid().simple().to_string())).transpose();
    scratch.map_err(|error| {
        CliError::failure(format!("no directory for the ephemeral data: {error}")).help("set TMPDIR")
    })
}

/// Runs a broker until it is told to stop.
///
/// # Errors
/// What to tell the user.
pub fn broker(args: BrokerArgs) -> Outcome {
    let options = load_options(Mode::Broker, args.config, args.set);
    let config = load(&options, args.log_level)?;
    run(config, |node| {
        let listeners = node.listeners().iter().map(|bound| format!("{}://{}", bound.name, bound.address));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = listeners.collect::<Vec<_>>().join(","),
            "ready"
        );
    })
}

pub(super) fn load_options(mode: Mode, file: Option<PathBuf>, set: Vec<(String, String)>) -> LoadOptions {
    let mut options = LoadOptions::from_process(mode, Arc::new(|path: &Path| sys::read::text(path)));
    options.file = file;
    options.set = set.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    options
}

/// `--port P` is three ports, `--data` the log directory: written as the keys they are. What was not given is left to the other
/// sources: a flag beats them all.
fn dev_flags(port: Option<u16>, data: Option<&Path>, ephemeral: bool) -> Result<Vec<Flag>, CliError> {
    let mut flags = Vec::new();
    let mut flag = |flag: &str, key: &str, value: String| {
        flags.push(Flag { flag: flag.to_owned(), key: key.to_owned(), value });
    };
    if let Some(port) = port {
        let beside = |offset: u16| match port {
            0 => Ok(0),
            port => port.checked_add(offset).ok_or_else(|| {
                CliError::usage(format!(
                    "--port {port} leaves no room for the admin port and etcd's (P+{offset})"
                ))
            }),
        };
        let written = format!("--port {port}");
        flag(&written, "listeners", format!("PLAINTEXT://127.0.0.1:{port}"));
        flag(&written, "admin.listen", format!("127.0.0.1:{}", beside(ADMIN_PORT_OFFSET)?));
        flag(&written, "etcd.embedded.listen", format!("127.0.0.1:{}", beside(ETCD_PORT_OFFSET)?));
    }
    if let Some(data) = data {
        flag("--data", "log.dirs", data.display().to_string());
    }
    if ephemeral {
        flag("--ephemeral", "dev.ephemeral", "true".to_owned());
    }
    Ok(flags)
}

pub(super) fn load(options: &LoadOptions, level: Option<String>) -> Result<Config, CliError> {
    let config = config::load(options).map_err(|errors| refuse(&errors))?;
    let keys = config.broker();
    let format = match keys.log_format {
        config::LogFormat::Pretty => logging::LogFormat::Pretty,
        config::LogFormat::Logfmt => logging::LogFormat::Logfmt,
        config::LogFormat::Json => logging::LogFormat::Json,
    };
    let level = level.unwrap_or_else(|| keys.log_level.clone());
    let colours =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    // The handle that would change the level lives as long as the process.
    std::mem::forget(
        logging::start(format, &level, colours)
            .map_err(|error| CliError::new(Exit::Config, error.to_string()))?,
    );
    for problem in config.warnings() {
        tracing::warn!("{problem}");
    }
    for (reason, ignored) in config.without_effect() {
        tracing::info!(keys = ignored.join(","), "accepted without effect: {reason}");
    }
    Ok(config)
}

/// Starts the broker on this thread's runtime, says `ready`, and stops it on SIGTERM or SIGINT.
fn run(config: Config, ready: impl FnOnce(&Node)) -> Outcome {
    sys::host::use_ordinary_pages();
    sys::host::raise_limits();
    sys::sigbus::install()
        .map_err(|error| CliError::new(Exit::Internal, format!("no handler for SIGBUS: {error}")))?;
    on_this_thread(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| no_signals(&error))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| no_signals(&error))?;
        let node = tokio::select! {
            node = Node::start(config) => node.map_err(|error| start_error(&error))?,
            _ = terminate.recv() => return stopped_early("SIGTERM"),
            _ = interrupt.recv() => return stopped_early("SIGINT"),
        };
        ready(&node);
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        node.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Runs `task` on this thread.
pub(super) fn on_this_thread(task: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Internal, format!("no runtime: {error}")))?;
    runtime.block_on(task)
}

pub(super) fn no_signals(error: &std::io::Error) -> CliError {
    CliError::new(Exit::Internal, format!("no signals: {error}"))
}

/// A start may wait for etcd: whoever ends it need not. Nothing was served, so nothing has to be closed in order.
#[allow(clippy::unnecessary_wraps, reason = "an arm of the select in `run`")]
fn stopped_early(signal: &str) -> Outcome {
    tracing::info!("{signal} during the start: stopped");
    Ok(())
}

/// Exit code and cure of a start that failed.
pub(super) fn start_error(error: &anyhow::Error) -> CliError {
    let text = format!("{error:#}");
    if let Some(metadata) = error.downcast_ref::<MetadataError>() {
        return match metadata {
            MetadataError::Unreachable { .. } => CliError::new(Exit::Unreachable, text).help(
                "start etcd, or set etcd.endpoints to where it runs (embedded: one inside this process)",
            ),
            _ => CliError::new(Exit::Config, text),
        };
    }
    if let Some(server) = error.downcast_ref::<ServerError>() {
        let error = CliError::new(Exit::Config, text);
        return match server {
            ServerError::PortTaken { address, .. } => {
                error.help(format!("ketcd dev --port {}", address.port().saturating_add(10_000)))
            }
            _ => error,
        };
    }
    if let Some(embedded) = error.downcast_ref::<StartError>() {
        let error = CliError::new(Exit::Config, text);
        return match embedded {
            StartError::Listen { .. } => {
                error.help("another port for it: --set etcd.embedded.listen=127.0.0.1:0 (ketcd dev --port P takes P+200)")
            }
            StartError::NotLoopback { .. } | StartError::File(_) => error,
            StartError::Thread(_) | StartError::Died => CliError { exit: Exit::Internal, ..error },
        };
    }
    if error.downcast_ref::<OpenError>().is_some() {
        return CliError::new(Exit::Config, text).help("another directory: ketcd dev --data DIR");
    }
    CliError::failure(text)
}

struct DevScreen<'a> {
    node: &'a Node,
    data: &'a Path,
    ephemeral: bool,
    reused: bool,
}

impl DevScreen<'_> {
    /// The first screen: where everything is, and what to try.
    fn print(&self, seconds: f64) {
        let kafka = self.node.listeners().first().map(|bound| bound.address);
        let kafka_text = kafka.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let admin = self.node.admin_address().map_or_else(|| "off".to_owned(), |at| format!("http://{at}"));
        let etcd = self.node.etcd_endpoint().unwrap_or_else(|| "configured servers".to_owned());
        let topics = self.node.broker().image().topic_names.len();
        let state = match (self.ephemeral, self.reused) {
            (true, _) => "removed at the end".to_owned(),
            (_, true) => format!("reused: {topics} topics"),
            (_, false) => "new".to_owned(),
        };
        let bootstrap = bootstrap_option(kafka);
        let text = format!(
            "ketcd {version} dev broker   one node, embedded metadata: not a cluster\n\
             \x20 kafka      {kafka_text:<25} data   {data} ({state})\n\
             \x20 admin      {admin:<25} etcd   {etcd}\n\
             ready in {seconds:.2} s. Try, in another terminal:\n\
             \x20 ketcd topic create hello -p 3{bootstrap}\n\
             \x20 echo hi | ketcd topic produce hello{bootstrap}\n\
             \x20 ketcd topic consume hello --from start{bootstrap}\n\
             Ctrl-C stops; `ketcd dev --ephemeral` keeps nothing.\n",
            version = env!("CARGO_PKG_VERSION"),
            data = self.data.display(),
        );
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// The `-b` that the commands need when the port is not the one that they try by themselves.
fn bootstrap_option(kafka: Option<SocketAddr>) -> String {
    match kafka {
        Some(address) if address.port() != 9092 => format!(" -b {address}"),
        _ => String::new(),
    }
}
