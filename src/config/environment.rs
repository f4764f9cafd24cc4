//! `KAFKA_*`, `KAFKA_CFG_*` and `KETCD_*` as keys.
//!
//! The images of Kafka disagree on how a name with `-` or `_` becomes a variable. Keys have neither, so one rule serves all: the
//! variable is compared with the known keys, written in capitals with `.` as `_`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::load::ReadText;
use super::merge::Entry;
use super::origin::Origin;
use super::problem::Problem;
use super::registry::{BROKER_KEYS, nearest};

/// Variables that start like keys but belong to the scripts of other images, to the JVM or to ketcd's commands.
const NOT_KEYS: &[&str] = &[
    "KAFKA_OPTS",
    "KAFKA_HOME",
    "KAFKA_DEBUG",
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_ENABLE_KRAFT",
    "KAFKA_KRAFT_BOOTSTRAP_SCRAM_USERS",
    "KETCD_BROKERS",
    "KETCD_PORT",
    "KETCD_DATA",
    "KETCD_CONFIG",
    "KETCD_BLESS",
    "KETCD_OUTPUT",
    "KETCD_LOG_LEVEL",
    "KETCD_TIMEOUT",
];

/// Prefixes of variables of ketcd's own tests and tools.
const NOT_KEY_PREFIXES: &[&str] = &["KETCD_TEST_", "KETCD_CI_", "KETCD_BENCH_"];

/// Variables without a prefix, or with another name than their key.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("CLUSTER_ID", "cluster.id"),
    ("KAFKA_CLUSTER_ID", "cluster.id"),
    ("KAFKA_KRAFT_CLUSTER_ID", "cluster.id"),
    ("KAFKA_SSL_KEYSTORE_FILENAME", "ssl.keystore.location"),
    ("KAFKA_SSL_TRUSTSTORE_FILENAME", "ssl.truststore.location"),
    ("KAFKA_SSL_KEY_CREDENTIALS", "ssl.key.password"),
    ("KAFKA_SSL_KEYSTORE_CREDENTIALS", "ssl.keystore.password"),
    ("KAFKA_SSL_TRUSTSTORE_CREDENTIALS", "ssl.truststore.password"),
];

static KEY_BY_VARIABLE: LazyLock<BTreeMap<String, &'static str>> =
    LazyLock::new(|| BROKER_KEYS.iter().map(|key| (variable_of(key.name), key.name)).collect());

/// The variable's name of `key` without its prefix: `LOG_RETENTION_MS`.
#[must_use]
pub fn variable_of(key: &str) -> String {
    key.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// Reads the variables that set keys: `KAFKA_*` first, then `KETCD_*`, so that the latter win.
pub fn read(env: &BTreeMap<String, String>, read: &ReadText, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for prefix in ["KAFKA_", "KETCD_"] {
        for (variable, value) in env {
            let other = OTHER_NAMES.iter().find(|(name, _)| name == variable).map(|(_, key)| *key);
            let origin = Origin::Env { name: variable.clone() };
            if let Some(key) = other {
                if prefix == "KAFKA_" {
                    entries.push(Entry { name: key.to_owned(), value: value.clone(), origin });
                }
                continue;
            }
            let Some(rest) = variable.strip_prefix(prefix) else { continue };
            if ignored(variable, value) {
                continue;
            }
            match key_of(rest) {
                Some(name) => entries.push(Entry { name, value: value.clone(), origin }),
                None => match secret_file(rest) {
                    Some(key) => match read(std::path::Path::new(value)) {
                        Ok(text) => {
                            let value = text.trim_end_matches(['\n', '\r']).to_owned();
                            entries.push(Entry { name: key.to_owned(), value, origin });
                        }
                        Err(error) => problems.push(
                            Problem::error(format!("{variable} = {value:?} cannot be read"))
                                .at(&origin)
                                .detail(error.to_string())
                                .help(format!("the file must hold the value of {key}")),
                        ),
                    },
                    None => problems.push(unknown(prefix, rest, &origin)),
                },
            }
        }
    }
    entries
}

/// Whether a variable with one of our prefixes is none of our business.
fn ignored(variable: &str, value: &str) -> bool {
    let kubernetes_port = variable.split_once("_PORT").is_some_and(|(_, rest)| {
        (rest.is_empty() && value.contains("://"))
            || rest.split('_').any(|part| matches!(part, "TCP" | "UDP"))
    });
    NOT_KEYS.contains(&variable)
        || NOT_KEY_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        || variable.contains("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || kubernetes_port
}

fn key_of(rest: &str) -> Option<String> {
    let known = |name: &str| KEY_BY_VARIABLE.get(name).map(|key| (*key).to_owned());
    let upper = rest.to_ascii_uppercase();
    known(&upper).or_else(|| known(upper.strip_prefix("CFG_")?)).or_else(|| {
        let of_listener = upper.strip_prefix("CFG_").unwrap_or(&upper).strip_prefix("LISTENER_NAME_")?;
        Some(format!("listener.name.{}", of_listener.to_ascii_lowercase().replace('_', ".")))
    })
}

/// The secret whose file a `.._FILE` variable names.
fn secret_file(rest: &str) -> Option<&'static str> {
    let upper = rest.to_ascii_uppercase();
    let name = upper.strip_prefix("CFG_").unwrap_or(&upper).strip_suffix("_FILE")?;
    let key = BROKER_KEYS.get(KEY_BY_VARIABLE.get(name)?)?;
    key.sensitive().then_some(key.name)
}

/// An unknown variable: a mistyped `KETCD_` one is an error, anything else a warning, since other programs use such names too.
fn unknown(prefix: &str, rest: &str, origin: &Origin) -> Problem {
    let name = rest.strip_prefix("CFG_").unwrap_or(rest);
    let near = nearest(name, KEY_BY_VARIABLE.keys().map(String::as_str));
    let headline = format!("{prefix}{rest} is not a key of Kafka or ketcd");
    let problem = if prefix == "KETCD_" && near.is_some() {
        Problem::error(headline)
    } else {
        Problem::warning(headline)
    };
    problem.at(origin).did_you_mean(near.map(|near| format!("{prefix}{near}")).as_deref())
}
