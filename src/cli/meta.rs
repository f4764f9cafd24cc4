//! `ketcd meta`: the cluster's keys in etcd, decoded. Needs etcd, not a broker.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::{CliError, Exit, Outcome};
use super::output::{self, Format, OutputArgs, Table};
use crate::metadata::inspect::{Entry, Inspector};
use crate::metadata::keys::Keys;
use crate::metadata::{ConnectionOptions, MetadataError, TlsOptions};
use crate::sys::read;

/// Certificates and keys are small.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// The commands of `ketcd meta`.
#[derive(Debug, clap::Subcommand)]
pub enum MetaCommand {
    /// Print the cluster's keys
    Get(GetArgs),
    /// Print changes of the cluster's keys as they happen
    Watch(WatchArgs),
}

/// How to reach the metadata of a cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct EtcdArgs {
    /// etcd servers with commas between; the default is what `ketcd dev` embeds
    #[arg(
        long = "etcd",
        value_name = "ENDPOINTS",
        env = "KETCD_ETCD_ENDPOINTS",
        default_value = "http://127.0.0.1:9292"
    )]
    endpoints: String,
    /// Name of the cluster: its keys are under /ketcd/NAME
    #[arg(long, value_name = "NAME", env = "KETCD_CLUSTER_NAME", default_value = "dev")]
    cluster: String,
    /// Another prefix than /ketcd/NAME
    #[arg(long, value_name = "PREFIX", env = "KETCD_ETCD_PREFIX")]
    prefix: Option<String>,
    /// etcd user; the password comes from KETCD_ETCD_PASSWORD
    #[arg(long, value_name = "NAME", env = "KETCD_ETCD_USER")]
    user: Option<String>,
    /// Certificates of etcd's authorities, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our certificate for etcd, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Options of `ketcd meta get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd meta get
  ketcd meta get topics/ -o json
  ketcd meta get --etcd http://etcd-0:2379,http://etcd-1:2379 --cluster prod brokers/")]
pub struct GetArgs {
    /// Only keys that hold this text after the cluster's prefix
    #[arg(value_name = "TEXT", default_value = "")]
    filter: String,
    #[command(flatten)]
    etcd: EtcdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `ketcd meta watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd meta watch
  ketcd meta watch --from 1200
  ketcd meta watch --cluster prod --etcd http://etcd-0:2379 -o json")]
pub struct WatchArgs {
    /// Begin with changes after this revision, instead of now
    #[arg(long, value_name = "REVISION")]
    from: Option<i64>,
    #[command(flatten)]
    etcd: EtcdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl MetaCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> Outcome {
        match self {
            Self::Get(args) => get(args).await,
            Self::Watch(args) => watch(args).await,
        }
    }
}

impl EtcdArgs {
    /// A reader of the cluster's keys.
    pub(super) fn inspector(&self) -> Outcome<Inspector> {
        let endpoints =
            self.endpoints.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
        let https = self.endpoints.contains("https://");
        let tls = if https || self.ca.is_some() || self.cert.is_some() { Some(self.tls()?) } else { None };
        let connection = ConnectionOptions {
            endpoints: endpoints.collect(),
            user: self.user.clone(),
            password: std::env::var("KETCD_ETCD_PASSWORD").ok(),
            tls,
            request_timeout: self.timeout,
        };
        Inspector::new(connection, self.keys()).map_err(|error| self.error(&error))
    }

    fn keys(&self) -> Keys {
        self.prefix.as_deref().map_or_else(|| Keys::of_cluster(&self.cluster), Keys::under)
    }

    fn tls(&self) -> Outcome<TlsOptions> {
        let file = |path: &Path| {
            read::small(path, PEM_BYTES_MAX).map_err(|error| {
                CliError::failure(format!("cannot read: {error}")).at(path.display().to_string())
            })
        };
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        Ok(TlsOptions {
            ca_pem: self.ca.as_deref().map(file).transpose()?,
            identity_pem: identity.map(|(cert, key)| Outcome::Ok((file(cert)?, file(key)?))).transpose()?,
            server_name: None,
        })
    }

    /// What to tell the user when etcd cannot be read.
    pub(super) fn error(&self, error: &MetadataError) -> CliError {
        let exit = if matches!(error, MetadataError::Unreachable { .. }) {
            Exit::Unreachable
        } else {
            Exit::Failure
        };
        let built = CliError::new(exit, error.to_string()).at(self.endpoints.clone());
        if exit == Exit::Unreachable {
            built
                .help("`ketcd dev --port P` embeds a store at port P + 200: --etcd http://127.0.0.1:PORT")
                .help("or name the etcd of your cluster: --etcd http://HOST:2379 --cluster NAME")
        } else {
            built
        }
    }
}

async fn get(args: GetArgs) -> Outcome {
    let inspector = args.etcd.inspector()?;
    let (entries, revision) = inspector.list(&args.filter).await.map_err(|error| args.etcd.error(&error))?;
    if args.output.format == Format::Json {
        return output::json(&entries);
    }
    let prefix = args.etcd.keys().prefix().to_owned();
    let mut table = Table::new(&["KEY", "REVISION", "VALUE"]).wide(&["CREATED", "KIND"]);
    for entry in &entries {
        let key = entry.key.strip_prefix(&prefix).unwrap_or(&entry.key);
        table.row(&[
            &key,
            &entry.mod_revision,
            &value(entry),
            &entry.create_revision,
            &entry.kind.as_deref().unwrap_or_default(),
        ]);
    }
    table.print(args.output.format)?;
    if args.output.format != Format::Plain {
        eprintln!("{} under {prefix} at revision {revision}", output::count(entries.len(), "key"));
    }
    Ok(())
}

async fn watch(args: WatchArgs) -> Outcome {
    let inspector = args.etcd.inspector()?;
    let tell = |error: MetadataError| args.etcd.error(&error);
    let from = match args.from {
        Some(revision) => revision.saturating_add(1),
        None => inspector.list("").await.map_err(tell)?.1 + 1,
    };
    let mut changes = inspector.watch(from).await.map_err(tell)?;
    let prefix = args.etcd.keys().prefix().to_owned();
    eprintln!("watching {prefix} from revision {from}; Ctrl-C ends");
    loop {
        let entries = changes.next().await.map_err(tell)?;
        let mut out = output::stdout();
        for entry in &entries {
            if args.output.format == Format::Json {
                serde_json::to_writer(&mut out, entry)?;
                out.write_all(b"\n")?;
            } else {
                let key = entry.key.strip_prefix(&prefix).unwrap_or(&entry.key);
                writeln!(out, "{}  {key}  {}", entry.mod_revision, value(entry))?;
            }
        }
        out.flush()?;
    }
}

fn value(entry: &Entry) -> String {
    entry.value.as_ref().map_or_else(|| "(deleted)".to_owned(), ToString::to_string)
}
