//! Changes of dynamic configuration, checked before they are written (IncrementalAlterConfigs, AlterConfigs, CreateTopics).
//!
//! Values come from clients: they are read as Kafka reads them, without human forms and without placeholders (rule X18).

use std::collections::{BTreeMap, BTreeSet};

use super::key::{Key, Kind, Tier, Update};
use super::load::Config;
use super::registry::{BROKER_KEYS, GROUP_KEYS, Scope, TOPIC_KEYS, group};
use super::topic_values::Dynamic;
use super::value::{self, Value};

/// What to do with a key, as `AlterConfigOp.OpType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOp {
    /// Give it a value.
    Set,
    /// Take its value away.
    Delete,
    /// Add entries to a list.
    Append,
    /// Take entries out of a list.
    Subtract,
}

impl AlterOp {
    /// The operation of a number of the wire.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// One change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do.
    pub op: AlterOp,
    /// The value; needed for everything but [`AlterOp::Delete`].
    pub value: Option<&'a str>,
}

/// Whose dynamic configuration changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// One broker's.
    One,
    /// That of all brokers.
    All,
}

/// Why a change is refused. [`AlterError::is_invalid_request`] tells INVALID_REQUEST from INVALID_CONFIG; the text is for the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlterError {
    /// No such key.
    #[error("unknown {scope} configuration {name}{}", did_you_mean(*.nearest))]
    Unknown {
        /// `topic`, `broker` or `group`.
        scope: &'static str,
        /// The key as given.
        name: String,
        /// A known key that looks like it.
        nearest: Option<&'static str>,
    },
    /// The value breaks a rule.
    #[error("invalid value {value} for configuration {name}: it {rule}")]
    Invalid {
        /// The key.
        name: String,
        /// The value; `(hidden)` for a secret.
        value: String,
        /// The rule.
        rule: String,
    },
    /// A value is missing.
    #[error("configuration {name} has no value: only a deletion may have none")]
    NoValue {
        /// The key.
        name: String,
    },
    /// The same key twice in one request.
    #[error("configuration {name} stands twice in the request")]
    Twice {
        /// The key.
        name: String,
    },
    /// Append or subtract on what is not a list.
    #[error("configuration {name} is not a list: nothing can be {done} it")]
    NotAList {
        /// The key.
        name: String,
        /// `appended to` or `subtracted from`.
        done: &'static str,
    },
    /// The key changes only by a restart.
    #[error("configuration {name} cannot be changed at run time: set it in the broker's file and restart")]
    ReadOnly {
        /// The key.
        name: String,
    },
    /// The key cannot have one value for all brokers.
    #[error("configuration {name} cannot be set for all brokers: set it for each")]
    OnlyPerBroker {
        /// The key.
        name: String,
    },
    /// The key's feature is not there, and to ignore it would be dangerous.
    #[error("configuration {name} is refused: {hint}")]
    Refused {
        /// The key.
        name: String,
        /// Why, and what to do.
        hint: &'static str,
    },
    /// Two values contradict each other.
    #[error("{left} = {left_value} is more than {right} = {right_value}")]
    Contradiction {
        /// The key that is too large.
        left: &'static str,
        /// Its value.
        left_value: i64,
        /// The key that bounds it.
        right: &'static str,
        /// Its value.
        right_value: i64,
    },
}

impl AlterError {
    /// Whether the request is malformed (INVALID_REQUEST) rather than a value wrong (INVALID_CONFIG).
    #[must_use]
    pub const fn is_invalid_request(&self) -> bool {
        matches!(self, Self::NoValue { .. } | Self::Twice { .. })
    }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The topic configuration after `changes` to `current`.
///
/// # Errors
/// [`AlterError`]; nothing changes then.
pub fn validate_topic_change(
    config: &Config,
    dynamic: &Dynamic<'_>,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    let under = |key: &Key| config.topic_default(key, dynamic);
    let after = apply(&TOPIC_KEYS, "topic", current, changes, under, |_| Ok(()))?;
    check_topic(config, dynamic, &after)?;
    Ok(after)
}

/// A group's configuration after `changes` to `current`: within the broker's bounds, and sessions longer than heartbeats.
///
/// # Errors
/// [`AlterError`]; nothing changes then.
pub fn validate_group_change(
    config: &Config,
    dynamic: &Dynamic<'_>,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    let under = |key: &Key| config.topic_default(key, dynamic);
    let after = apply(&GROUP_KEYS, "group", current, changes, under, |_| Ok(()))?;
    check_group(config, dynamic, &after)?;
    Ok(after)
}

/// A whole topic configuration: of a new topic, or of AlterConfigs, which replaces everything.
///
/// # Errors
/// [`AlterError`] of the first value that is not legal.
pub fn validate_topic_configs<'a>(
    config: &Config,
    dynamic: &Dynamic<'_>,
    entries: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<BTreeMap<String, String>, AlterError> {
    let changes: Vec<Change<'_>> =
        entries.into_iter().map(|(name, value)| Change { name, op: AlterOp::Set, value }).collect();
    validate_topic_change(config, dynamic, &BTreeMap::new(), &changes)
}

/// The dynamic configuration of a broker, or of all, after `changes` to `current`. For AlterConfigs give an empty `current`.
///
/// # Errors
/// [`AlterError`]; nothing changes then.
pub fn validate_broker_change(
    config: &Config,
    scope: BrokerScope,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
) -> Result<BTreeMap<String, String>, AlterError> {
    let under = |key: &Key| config.settings().get(key.name).map(|setting| setting.value);
    apply(&BROKER_KEYS, "broker", current, changes, under, |key| match (key.update, scope) {
        (Update::ReadOnly | Update::Topic | Update::Group, _) => {
            Err(AlterError::ReadOnly { name: key.name.to_owned() })
        }
        (Update::PerBroker, BrokerScope::All) => Err(AlterError::OnlyPerBroker { name: key.name.to_owned() }),
        (Update::PerBroker | Update::ClusterWide, _) => Ok(()),
    })
}

fn apply(
    scope: &Scope,
    scope_name: &'static str,
    current: &BTreeMap<String, String>,
    changes: &[Change<'_>],
    under: impl Fn(&Key) -> Option<Value>,
    may_change: impl Fn(&Key) -> Result<(), AlterError>,
) -> Result<BTreeMap<String, String>, AlterError> {
    let mut after = current.clone();
    let mut seen = BTreeSet::new();
    for change in changes {
        if !seen.insert(change.name) {
            return Err(AlterError::Twice { name: change.name.to_owned() });
        }
        let Some(key) = scope.get(change.name) else {
            // What an older version accepted can always be taken away.
            if change.op == AlterOp::Delete && after.remove(change.name).is_some() {
                continue;
            }
            let nearest = scope.nearest(change.name);
            return Err(AlterError::Unknown { scope: scope_name, name: change.name.to_owned(), nearest });
        };
        if change.op == AlterOp::Delete {
            may_change(key)?;
            after.remove(key.name);
            continue;
        }
        let text = change.value.ok_or_else(|| AlterError::NoValue { name: change.name.to_owned() })?;
        may_change(key)?;
        let value = match change.op {
            AlterOp::Append | AlterOp::Subtract => changed_list(key, change.op, text, &after, &under)?,
            AlterOp::Set | AlterOp::Delete => checked(key, text)?,
        };
        let text = value.to_text();
        if let Tier::Refused(hint) = key.tier
            && Some(text.as_str()) != key.default
        {
            return Err(AlterError::Refused { name: key.name.to_owned(), hint });
        }
        after.insert(key.name.to_owned(), text);
    }
    Ok(after)
}

fn checked(key: &Key, text: &str) -> Result<Value, AlterError> {
    value::parse(key, text).map_err(|rule| AlterError::Invalid {
        name: key.name.to_owned(),
        value: if key.sensitive() { "(hidden)".to_owned() } else { text.to_owned() },
        rule: rule.0,
    })
}

fn changed_list(
    key: &Key,
    op: AlterOp,
    text: &str,
    after: &BTreeMap<String, String>,
    under: &impl Fn(&Key) -> Option<Value>,
) -> Result<Value, AlterError> {
    if key.kind != Kind::List {
        let done = if op == AlterOp::Append { "appended to" } else { "subtracted from" };
        return Err(AlterError::NotAList { name: key.name.to_owned(), done });
    }
    let before = match after.get(key.name) {
        Some(text) => value::parse(key, text).ok(),
        None => under(key),
    };
    let mut entries = match before {
        Some(Value::List(entries)) => entries,
        _ => Vec::new(),
    };
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match op {
            AlterOp::Append if !entries.iter().any(|one| one == entry) => entries.push(entry.to_owned()),
            AlterOp::Subtract => entries.retain(|one| one != entry),
            AlterOp::Append | AlterOp::Set | AlterOp::Delete => {}
        }
    }
    checked(key, &entries.join(","))
}

/// Rules across keys (`LogConfig.validateTopicLogConfigValues`).
fn check_topic(
    config: &Config,
    dynamic: &Dynamic<'_>,
    after: &BTreeMap<String, String>,
) -> Result<(), AlterError> {
    let topic = config.topic_config(after, dynamic);
    if topic.min_compaction_lag_ms > topic.max_compaction_lag_ms {
        return Err(AlterError::Contradiction {
            left: "min.compaction.lag.ms",
            left_value: topic.min_compaction_lag_ms,
            right: "max.compaction.lag.ms",
            right_value: topic.max_compaction_lag_ms,
        });
    }
    Ok(())
}

/// Rules across keys (`GroupConfig.validateValues`).
fn check_group(
    config: &Config,
    dynamic: &Dynamic<'_>,
    after: &BTreeMap<String, String>,
) -> Result<(), AlterError> {
    let number = |name: &str| {
        let key = GROUP_KEYS.get(name).expect("the caller names a key of the registry");
        let set = after.get(name).and_then(|text| value::parse(key, text).ok());
        set.or_else(|| config.topic_default(key, dynamic)).map_or(0, |value| value.integer())
    };
    for (name, least, most) in group::BOUNDS {
        if !after.contains_key(name) {
            continue;
        }
        let over = |left, left_value, right, right_value| {
            Err(AlterError::Contradiction { left, left_value, right, right_value })
        };
        let (wanted, min, max) =
            (number(name), config.settings().integer(least), config.settings().integer(most));
        if wanted < min {
            return over(least, min, name, wanted);
        }
        if wanted > max {
            return over(name, wanted, most, max);
        }
    }
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    if number(session) <= number(heartbeat) {
        return Err(AlterError::Invalid {
            name: session.to_owned(),
            value: number(session).to_string(),
            rule: format!("must be more than {heartbeat} = {}", number(heartbeat)),
        });
    }
    Ok(())
}
