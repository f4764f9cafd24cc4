//! From every source to one [`Config`], or to everything that is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::broker::{self, BrokerConfig};
use super::key::Tier;
use super::merge::{Entry, Flag, Merger, Settings};
use super::origin::{Mode, Origin};
use super::problem::{ConfigErrors, Problem, Severity};
use super::registry::BROKER_KEYS;
use super::{environment, properties, toml_file};

/// Reads a whole file as text. The room itself opens nothing.
pub type ReadText = Arc<dyn Fn(&Path) -> std::io::Result<String> + Send + Sync>;

/// Everything that a configuration is made from.
#[derive(Clone)]
pub struct LoadOptions {
    /// Which defaults lie at the bottom.
    pub mode: Mode,
    /// The configuration file: TOML if it ends in `.toml`, else Kafka's properties.
    pub file: Option<PathBuf>,
    /// The environment, as `std::env::vars()` gives it.
    pub env: BTreeMap<String, String>,
    /// What single flags set, such as `--port`.
    pub flags: Vec<Flag>,
    /// What `--set` was given: `key=value`.
    pub set: Vec<String>,
    /// How files are read.
    pub read: ReadText,
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold secrets.
        f.debug_struct("LoadOptions")
            .field("mode", &self.mode)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl LoadOptions {
    /// The options of this process: its environment, no file, no flags.
    #[must_use]
    pub fn from_process(mode: Mode, read: ReadText) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { mode, file: None, env, flags: Vec::new(), set: Vec::new(), read }
    }
}

/// A configuration without errors.
#[derive(Debug, Clone)]
pub struct Config {
    mode: Mode,
    settings: Settings,
    broker: BrokerConfig,
    warnings: Vec<Problem>,
}

/// Reads all sources, lowest precedence first: defaults, the mode's bundle, the file, `KAFKA_*`, `KETCD_*`, flags, `--set`.
///
/// # Errors
/// [`ConfigErrors`] with everything that is wrong, in all sources at once.
pub fn load(options: &LoadOptions) -> Result<Config, ConfigErrors> {
    let (settings, mut problems) = inspect(options);
    let broker = broker::build(options, &settings, &mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(ConfigErrors { problems });
    }
    Ok(Config { mode: options.mode, settings, broker, warnings: problems })
}

/// Every value with its origin, and what is wrong with single values, without the checks across keys that a start needs.
#[must_use]
pub fn inspect(options: &LoadOptions) -> (Settings, Vec<Problem>) {
    let mut merger = Merger::new(&options.env, &options.read);
    let bundle = options.mode.bundle().iter();
    let bundle = bundle.map(|(name, value)| Entry {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
        origin: Origin::Mode,
    });
    merger.add(bundle.collect(), true);
    if let Some(file) = &options.file {
        read_file(file, &mut merger);
    }
    let mut problems = Vec::new();
    let entries = environment::read(&options.env, &options.read, &mut problems);
    merger.problems.append(&mut problems);
    merger.add(entries, false);
    let flags = options.flags.iter().map(|flag| Entry {
        name: flag.key.clone(),
        value: flag.value.clone(),
        origin: Origin::Flag { flag: flag.flag.clone() },
    });
    merger.add(flags.collect(), true);
    for text in &options.set {
        let origin =
            Origin::Flag { flag: format!("--set {}", text.split('=').next().unwrap_or_default().trim()) };
        match text.split_once('=') {
            Some((name, value)) => {
                let entry = Entry { name: name.trim().to_owned(), value: value.to_owned(), origin };
                merger.add(vec![entry], true);
            }
            None => merger.problems.push(
                Problem::error(format!("{text:?} is not key=value"))
                    .at(&origin)
                    .help("--set num.partitions=3"),
            ),
        }
    }
    merger.refuse();
    (merger.settings, merger.problems)
}

fn read_file(file: &Path, merger: &mut Merger<'_>) {
    let path = file.display().to_string();
    let text = match (merger.read)(file) {
        Ok(text) => text,
        Err(error) => {
            merger.problems.push(
                Problem::error(format!("configuration file {path:?} cannot be read"))
                    .detail(error.to_string())
                    .help("name a file with --config FILE"),
            );
            return;
        }
    };
    let mut problems = Vec::new();
    let toml = file.extension().is_some_and(|extension| extension == "toml");
    let entries = if toml {
        toml_file::read(&path, &text, &mut problems)
    } else {
        properties::read(&path, &text, &mut problems)
    };
    merger.problems.append(&mut problems);
    merger.add(entries, toml);
}

impl Config {
    /// The broker's values, typed.
    #[must_use]
    pub const fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    /// How ketcd was started.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Every value with its origins.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is probably not what was meant. To be logged once, at WARN.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The keys that a user set and that have no effect, by reason. To be logged once, at INFO, in one line.
    #[must_use]
    pub fn without_effect(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let mut by_reason: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for name in self.settings.set_keys().filter(|name| self.settings.is_set_by_user(name)) {
            if let Some(Tier::NoEffect(reason)) = BROKER_KEYS.get(name).map(|key| key.tier) {
                by_reason.entry(reason).or_default().push(name);
            }
        }
        by_reason
    }
}
