//! `ketcd config`: the registry of keys for people: list, explain, check a file, show where values come from, convert.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{CliError, Exit, Outcome};
use super::output::{self, Format, OutputArgs, Table};
use crate::config::key::{Key, Tier, Update};
use crate::config::problem::Severity;
use crate::config::registry::{BROKER_KEYS, TOPIC_KEYS, topic_twin_of};
use crate::config::{self, ConfigErrors, LoadOptions, Mode, Problem, Settings};
use crate::sys;

/// What to do with configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List the keys that take effect
    List(ListArgs),
    /// Explain a key: type, default, present value, what it does
    Explain(ExplainArgs),
    /// Check a configuration file: every mistake, with its line and its cure
    Check(CheckArgs),
    /// Show the values that a broker started here would have
    Show(ShowArgs),
    /// Print a server.properties file as ketcd.toml
    Convert(ConvertArgs),
}

/// Options of `ketcd config list`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ketcd config list retention\n  ketcd config list --topic\n  ketcd config list --all -o json"
)]
pub struct ListArgs {
    /// Only keys with this text in their name
    pattern: Option<String>,
    /// Keys of topics instead of brokers
    #[arg(long)]
    topic: bool,
    /// Also keys of Kafka that have no effect or are refused
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where values are taken from, besides the environment.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Configuration file: TOML if it ends in .toml, else Kafka's properties
    #[arg(short, long, value_name = "FILE", env = "KETCD_CONFIG")]
    config: Option<PathBuf>,
    /// Set a key, as for `ketcd broker`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// With the defaults of `ketcd dev`
    #[arg(long)]
    dev: bool,
}

/// Options of `ketcd config explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ketcd config explain min.insync.replicas\n  ketcd config explain log.retention.ms --config server.properties -o json"
)]
pub struct ExplainArgs {
    /// The key
    key: String,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `ketcd config check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ketcd config check server.properties\n  ketcd config check ketcd.toml -o json\n\nExits with 78 if a broker would not start with it."
)]
pub struct CheckArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `ketcd config show`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ketcd config show --origin --config server.properties\n  ketcd config show --dev --all"
)]
pub struct ShowArgs {
    /// Say where each value comes from, and what it overrides
    #[arg(long)]
    origin: bool,
    /// Also keys that have their default
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `ketcd config convert`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ketcd config convert server.properties\n  ketcd config convert /opt/kafka/config/server.properties > ketcd.toml"
)]
pub struct ConvertArgs {
    /// The properties file
    file: PathBuf,
}

impl ConfigCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user; 78 if a configuration is wrong.
    pub fn run(self) -> Outcome {
        match self {
            Self::List(args) => list(&args),
            Self::Explain(args) => explain(&args),
            Self::Check(args) => check(&args),
            Self::Show(args) => show(&args),
            Self::Convert(args) => convert(&args),
        }
    }
}

/// Tells everything that is wrong on stderr; the error to end with says no more.
#[must_use]
pub fn refuse(errors: &ConfigErrors) -> CliError {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{errors}");
    CliError { quiet: true, ..CliError::new(Exit::Config, "the configuration is wrong") }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    sys::read::text(path)
}

impl SourceArgs {
    fn options(&self) -> LoadOptions {
        let mode = if self.dev { Mode::Dev } else { Mode::Broker };
        let mut options = LoadOptions::from_process(mode, Arc::new(read_text));
        options.file.clone_from(&self.config);
        options.set.clone_from(&self.set);
        options
    }

    /// The values; what is wrong with them goes to stderr.
    fn settings(&self) -> Outcome<Settings> {
        let (settings, problems) = config::inspect(&self.options());
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(refuse(&ConfigErrors { problems }));
        }
        Ok(settings)
    }
}

#[derive(Debug, Serialize)]
struct KeyRow {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    default: Option<&'static str>,
    unit: &'static str,
    importance: String,
    change: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    documentation: &'static str,
}

impl KeyRow {
    fn new(key: &'static Key) -> Self {
        let (effect, reason) = match key.tier {
            Tier::Effective | Tier::Ours => ("yes", None),
            Tier::NoEffect(reason) => ("none", Some(reason)),
            Tier::Refused(hint) => ("refused", Some(hint)),
        };
        Self {
            name: key.name,
            kind: key.kind.name(),
            default: key.default,
            unit: key.unit.name(),
            importance: format!("{:?}", key.importance).to_ascii_lowercase(),
            change: change(key.update),
            effect,
            reason,
            documentation: key.doc,
        }
    }
}

const fn change(update: Update) -> &'static str {
    match update {
        Update::ReadOnly => "restart",
        Update::PerBroker => "per-broker",
        Update::ClusterWide => "cluster-wide",
        Update::Topic => "topic",
        Update::Group => "group",
    }
}

fn list(args: &ListArgs) -> Outcome {
    let scope = if args.topic { &TOPIC_KEYS } else { &BROKER_KEYS };
    let pattern = args.pattern.as_deref().unwrap_or_default();
    let rows: Vec<KeyRow> = scope
        .iter()
        .filter(|key| key.name.contains(pattern) && (args.all || (key.takes_effect() && !key.internal)))
        .map(KeyRow::new)
        .collect();
    if args.output.format == Format::Json {
        return output::json(&rows);
    }
    let mut table = Table::new(&["KEY", "TYPE", "DEFAULT", "EFFECT"]).wide(&[
        "UNIT",
        "IMPORTANCE",
        "CHANGE",
        "DOCUMENTATION",
    ]);
    for row in &rows {
        let default = row.default.unwrap_or_default();
        table.row(&[
            &row.name,
            &row.kind,
            &default,
            &row.effect,
            &row.unit,
            &row.importance,
            &row.change,
            &row.documentation,
        ]);
    }
    table.print(args.output.format)
}

/// A key with its present value.
#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    key: KeyRow,
    value: Option<String>,
    origin: String,
    twin: Option<&'static str>,
    see: &'static [&'static str],
}

fn explain(args: &ExplainArgs) -> Outcome {
    let name = args.key.trim();
    let settings = args.source.settings()?;
    if let Some(key) = BROKER_KEYS.get(name) {
        let twin = topic_twin_of(name).map(|key| key.name);
        return explain_key(args, key, &settings, twin);
    }
    if let Some(key) = TOPIC_KEYS.get(name) {
        return explain_key(args, key, &settings, key.twins.first().map(|twin| twin.name));
    }
    let near = BROKER_KEYS.nearest(name).or_else(|| TOPIC_KEYS.nearest(name));
    let error = CliError::new(Exit::Failure, format!("{name} is not a key of Kafka or ketcd"));
    Err(match near {
        Some(near) => error.help(format!("did you mean {near}?")),
        None => error.help("`ketcd config list --all` shows every key"),
    })
}

fn explain_key(
    args: &ExplainArgs,
    key: &'static Key,
    settings: &Settings,
    twin: Option<&'static str>,
) -> Outcome {
    let now = settings.get(key.name).filter(|_| BROKER_KEYS.get(key.name).is_some());
    let explained = Explained {
        key: KeyRow::new(key),
        value: now.as_ref().map(|now| shown(key, &now.value.to_text())),
        origin: now.map_or_else(|| "default".to_owned(), |now| now.origin.to_string()),
        twin,
        see: key.see,
    };
    match args.output.format {
        Format::Json => output::json(&explained),
        _ => output::text(&explained.screen(key, settings)),
    }
}

fn shown(key: &Key, text: &str) -> String {
    if key.sensitive() { "(hidden)".to_owned() } else { text.to_owned() }
}

impl Explained {
    fn screen(&self, key: &Key, settings: &Settings) -> String {
        let default = match key.default {
            Some("") => "empty".to_owned(),
            Some(default) => default.to_owned(),
            None => "none".to_owned(),
        };
        let mut text = format!("{}  {}  default {default}", key.name, key.kind.name());
        if !key.unit.name().is_empty() {
            text.push_str(&format!(" {}", key.unit.name()));
        }
        if let Some(value) = &self.value {
            text.push_str(&format!("   now {value} ({})", self.origin));
        }
        text.push_str(&format!("\n  {}", key.doc));
        match self.twin {
            Some(twin) if key.update == Update::Topic => text.push_str(&format!(" Broker twin: {twin}.")),
            Some(twin) => text.push_str(&format!(" Topic twin: {twin}.")),
            None => {}
        }
        if key.check != config::key::Check::Any {
            text.push_str(&format!("\n  Must be {}.", key.check));
        }
        let change = match key.update {
            Update::ReadOnly => "no, by a restart",
            Update::PerBroker => "yes, per broker",
            Update::ClusterWide => "yes, cluster-wide",
            Update::Topic => "yes, per topic",
            Update::Group => "yes, per group",
        };
        text.push_str(&format!("\n  Change at run time: {change}."));
        let see: Vec<String> = self
            .see
            .iter()
            .map(|name| match settings.get(name) {
                Some(setting) => format!("{name} (now {})", setting.value.to_text()),
                None => (*name).to_owned(),
            })
            .collect();
        if !see.is_empty() {
            text.push_str(&format!(" See also: {}", see.join(", ")));
        }
        match key.tier {
            Tier::NoEffect(reason) => text.push_str(&format!("\n  No effect: {reason}.")),
            Tier::Refused(hint) => text.push_str(&format!("\n  Refused unless it has its default: {hint}.")),
            Tier::Effective | Tier::Ours => {}
        }
        text.push('\n');
        text
    }
}

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    errors: Vec<String>,
    warnings: Vec<String>,
    without_effect: BTreeMap<&'static str, Vec<&'static str>>,
}

fn check(args: &CheckArgs) -> Outcome {
    let mut options = LoadOptions::from_process(Mode::Broker, Arc::new(read_text));
    options.file = Some(args.file.clone());
    let (problems, without_effect, valid) = match config::load(&options) {
        Ok(config) => (config.warnings().to_vec(), config.without_effect(), true),
        Err(errors) => (errors.problems, BTreeMap::new(), false),
    };
    let of = |severity: Severity| -> Vec<String> {
        problems.iter().filter(|problem| problem.severity == severity).map(Problem::to_string).collect()
    };
    if args.output.format == Format::Json {
        let file = args.file.display().to_string();
        let checked =
            Checked { file, errors: of(Severity::Error), warnings: of(Severity::Warning), without_effect };
        output::json(&checked)?;
        return if valid {
            Ok(())
        } else {
            Err(CliError { quiet: true, ..CliError::new(Exit::Config, "errors") })
        };
    }
    if !valid {
        return Err(refuse(&ConfigErrors { problems }));
    }
    let mut text = String::new();
    for warning in of(Severity::Warning) {
        text.push_str(&format!("{warning}\n"));
    }
    for (reason, keys) in &without_effect {
        text.push_str(&format!("no effect: {} ({reason})\n", keys.join(", ")));
    }
    text.push_str(&format!("{}: a broker would start with it\n", args.file.display()));
    output::text(&text)
}

#[derive(Debug, Serialize)]
struct Shown {
    name: &'static str,
    value: Option<String>,
    origin: String,
    overrides: Vec<String>,
}

fn show(args: &ShowArgs) -> Outcome {
    let settings = args.source.settings()?;
    let rows: Vec<Shown> = BROKER_KEYS
        .iter()
        .filter(|key| {
            settings.layers(key.name).next().is_some() || (args.all && key.takes_effect() && !key.internal)
        })
        .map(|key| Shown {
            name: key.name,
            value: settings.get(key.name).map(|setting| shown(key, &setting.value.to_text())),
            origin: settings.origin(key.name).to_string(),
            overrides: settings
                .layers(key.name)
                .skip(1)
                .map(|under| format!("{} ({})", shown(key, &under.value.to_text()), under.origin))
                .collect(),
        })
        .collect();
    match args.output.format {
        Format::Json => output::json(&rows),
        format if args.origin => {
            let mut table = Table::new(&["KEY", "VALUE", "ORIGIN", "OVERRIDES"]);
            for row in &rows {
                let value = row.value.as_deref().unwrap_or_default();
                table.row(&[&row.name, &value, &row.origin, &row.overrides.join(", ")]);
            }
            table.print(format)
        }
        format => {
            let mut table = Table::new(&["KEY", "VALUE"]);
            for row in &rows {
                table.row(&[&row.name, &row.value.as_deref().unwrap_or_default()]);
            }
            table.print(format)
        }
    }
}

fn convert(args: &ConvertArgs) -> Outcome {
    let path = args.file.display().to_string();
    let text = read_text(&args.file).map_err(|error| {
        CliError::new(Exit::Failure, format!("{path} cannot be read: {error}"))
            .help("name a server.properties file")
    })?;
    let (toml, problems) = config::convert::to_toml(&path, &text);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(refuse(&ConfigErrors { problems }));
    }
    output::text(&toml)
}
