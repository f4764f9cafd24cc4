//! From raw entries of all sources to one checked value per key, with everything that lies under it.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{Key, Tier};
use super::origin::Origin;
use super::placeholder;
use super::problem::Problem;
use super::registry::BROKER_KEYS;
use super::template::{self, TEMPLATE_KEYS};
use super::value::{self, Value};
use crate::config::load::ReadText;

/// One `name = value` as a source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as written.
    pub name: String,
    /// The value as written.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

/// A value that a flag of the command line sets: `--port 9093` sets `listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as written, for reports.
    pub flag: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A checked value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}

/// The values of all broker keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// By key, lowest precedence first: the last one counts.
    by_key: BTreeMap<&'static str, Vec<Setting>>,
}

impl Settings {
    /// Everything that was set for `name`, highest precedence first, without the key's default.
    pub fn layers(&self, name: &str) -> impl Iterator<Item = &Setting> {
        self.by_key.get(name).into_iter().flat_map(|layers| layers.iter().rev())
    }

    /// What counts for `name`: what was set last, else its default; `None` for a key without either.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Setting> {
        self.layers(name).next().cloned().or_else(|| {
            let value = default_of(BROKER_KEYS.get(name)?)?;
            Some(Setting { value, origin: Origin::Default })
        })
    }

    /// Whether anything but the key's default or the mode's bundle sets `name`.
    #[must_use]
    pub fn is_set_by_user(&self, name: &str) -> bool {
        self.layers(name).any(|setting| !matches!(setting.origin, Origin::Mode | Origin::Default))
    }

    /// Origin of the value that counts.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.get(name).map_or(Origin::Default, |setting| setting.origin)
    }

    /// The number of `name`; 0 where it has no value.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.get(name).map_or(0, |setting| setting.value.integer())
    }

    /// The text of `name`; `None` where it has no value or an empty one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|setting| setting.value.to_text()).filter(|text| !text.is_empty())
    }

    /// Whether `name` is true.
    #[must_use]
    pub fn boolean(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Setting { value: Value::Boolean(true), .. }))
    }

    /// The entries of the list `name`.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Setting { value: Value::List(entries), .. }) => entries,
            _ => Vec::new(),
        }
    }

    /// The keys that something sets.
    pub fn set_keys(&self) -> impl Iterator<Item = &'static str> {
        self.by_key.keys().copied()
    }

    pub(super) fn put(&mut self, name: &'static str, setting: Setting) {
        self.by_key.entry(name).or_default().push(setting);
    }
}

/// A key's default, parsed.
#[must_use]
pub fn default_of(key: &Key) -> Option<Value> {
    let text = key.default?;
    // A refused class name or a JVM-only default need not pass the key's own check.
    value::parse(key, text).ok().or_else(|| Some(Value::Text(text.to_owned())))
}

/// What the entries of a source may hold besides known keys.
pub(super) struct Merger<'a> {
    pub env: &'a BTreeMap<String, String>,
    pub read: &'a ReadText,
    pub settings: Settings,
    pub problems: Vec<Problem>,
    warned: BTreeSet<String>,
}

impl<'a> Merger<'a> {
    pub fn new(env: &'a BTreeMap<String, String>, read: &'a ReadText) -> Self {
        Self { env, read, settings: Settings::default(), problems: Vec::new(), warned: BTreeSet::new() }
    }

    /// Puts a layer of entries over what is there. `strict`: an unknown key is an error, else a warning, as Kafka ignores it.
    pub fn add(&mut self, entries: Vec<Entry>, strict: bool) {
        for entry in entries {
            self.add_one(entry, strict);
        }
    }

    fn add_one(&mut self, entry: Entry, strict: bool) {
        let Some(key) = BROKER_KEYS.get(&entry.name) else {
            self.unknown(&entry, strict);
            return;
        };
        let resolved = placeholder::resolve(&entry.value, self.env, self.read).and_then(|text| {
            if TEMPLATE_KEYS.contains(&key.name) { template::resolve(&text, self.env) } else { Ok(text) }
        });
        let parsed = resolved.map_err(value::InvalidValue).and_then(|text| value::parse_human(key, &text));
        match parsed {
            Ok(value) => self.settings.put(key.name, Setting { value, origin: entry.origin }),
            Err(rule) => self.problems.push(invalid(key, &entry, &rule.0)),
        }
    }

    fn unknown(&mut self, entry: &Entry, strict: bool) {
        if let Some(family) = FAMILIES.iter().find(|family| entry.name.starts_with(family.prefix)) {
            self.of_family(entry, family);
            return;
        }
        if !self.warned.insert(entry.name.clone()) {
            return;
        }
        let headline = format!("{} is not a key of Kafka or ketcd", entry.name);
        let mut problem =
            if strict { Problem::error(headline) } else { Problem::warning(headline) }.at(&entry.origin);
        let scope = &crate::config::registry::TOPIC_KEYS;
        if let Some(key) = scope.get(&entry.name) {
            problem = problem.detail("it is a key of topics");
            problem = match key.twins.first() {
                Some(twin) => problem.help(format!("the key for all topics is {}", twin.name)),
                None => problem.help(format!("ketcd topic alter NAME --set {}={}", key.name, entry.value)),
            };
        } else {
            problem = problem.did_you_mean(BROKER_KEYS.nearest(&entry.name));
        }
        self.problems.push(problem);
    }

    fn of_family(&mut self, entry: &Entry, family: &Family) {
        let security = [".ssl.", ".sasl.", ".scram-", ".plain.", ".oauthbearer.", "principal.builder"];
        let problem = match family.tier {
            Tier::Refused(hint)
                if !family.only_security || security.iter().any(|part| entry.name.contains(part)) =>
            {
                Problem::error(format!("{} is refused", entry.name)).at(&entry.origin).help(hint)
            }
            Tier::Refused(_) => Problem::warning(format!("{} has no effect", entry.name))
                .at(&entry.origin)
                .help("ketcd has no keys for single listeners: set the key without its prefix"),
            Tier::NoEffect(reason) => {
                Problem::warning(format!("{} has no effect: {reason}", entry.name)).at(&entry.origin)
            }
            Tier::Effective | Tier::Ours => return,
        };
        if self.warned.insert(entry.name.clone()) {
            self.problems.push(problem);
        }
    }

    /// Reports what is refused, of the values that count.
    pub fn refuse(&mut self) {
        for name in self.settings.set_keys() {
            let (Some(key), Some(setting)) = (BROKER_KEYS.get(name), self.settings.get(name)) else {
                continue;
            };
            let Tier::Refused(hint) = key.tier else { continue };
            let text = setting.value.to_text();
            if text != key.default.unwrap_or_default() {
                let problem = Problem::error(format!("{} is refused", shown(key, &text))).at(&setting.origin);
                self.problems.push(problem.help(hint));
            }
        }
    }
}

/// Keys whose names are made by their users.
struct Family {
    prefix: &'static str,
    tier: Tier,
    only_security: bool,
}

const FAMILIES: &[Family] = &[
    Family {
        prefix: "listener.name.",
        tier: Tier::Refused(
            "TLS and SASL come with security: this version speaks PLAINTEXT only. Remove the key",
        ),
        only_security: true,
    },
    Family {
        prefix: "rsm.config.",
        tier: Tier::Refused("tiered storage is not there yet: remove the key"),
        only_security: false,
    },
    Family {
        prefix: "rlmm.config.",
        tier: Tier::Refused("tiered storage is not there yet: remove the key"),
        only_security: false,
    },
    Family {
        prefix: "config.providers.",
        tier: Tier::NoEffect("placeholders of env, file and directory are built in"),
        only_security: false,
    },
    Family {
        prefix: "confluent.",
        tier: Tier::NoEffect("it belongs to Confluent's server"),
        only_security: false,
    },
    Family { prefix: "zookeeper.", tier: Tier::NoEffect("Kafka 4 has no ZooKeeper"), only_security: false },
];

/// `name = "value"`, without the value of a secret.
pub(super) fn shown(key: &Key, value: &str) -> String {
    if key.sensitive() { format!("{} = (hidden)", key.name) } else { format!("{} = {value:?}", key.name) }
}

fn invalid(key: &Key, entry: &Entry, rule: &str) -> Problem {
    let problem = Problem::error(format!("{} {rule}", shown(key, &entry.value))).at(&entry.origin);
    let example = match (key.unit.name(), key.default) {
        ("", Some(default)) if !default.is_empty() && !key.sensitive() => {
            format!("{}, for example {}={default} (its default)", key.kind.name(), key.name)
        }
        ("", _) => key.kind.name().to_owned(),
        ("bytes", _) => format!("{} in bytes; sizes such as 64MiB are understood", key.kind.name()),
        (unit, _) => format!("{} in {unit}; times such as 7d or 1h are understood", key.kind.name()),
    };
    problem
        .help(format!("{} is of type {example}", key.name))
        .help(format!("`ketcd config explain {}` says more", key.name))
}
