//! The files in `config/`, generated from the registry.

use std::fmt::Write as _;

use super::key::{Key, Kind, Tier};
use super::origin::Mode;
use super::registry::BROKER_KEYS;

/// `config/ketcd.toml`: every key that takes effect, with its documentation and its default, commented out.
#[must_use]
pub fn ketcd_toml() -> String {
    let mut text = String::from(
        "# Every key of ketcd that takes effect, with its default. Uncomment what you change.\n\
         # Times may be written as \"7d\" or \"1h 30m\", sizes as \"64MiB\". `ketcd config explain KEY` says more,\n\
         # `ketcd config check FILE` finds mistakes, `ketcd config show --origin` tells where each value comes from.\n\
         # Generated from the registry of keys (src/config/registry).\n",
    );
    let mut heading = "";
    for (title, key) in BROKER_KEYS.listed.iter().filter(|(_, key)| listed(key)) {
        if *title != heading {
            let _ = write!(text, "\n## {title}\n");
            heading = title;
        }
        text.push('\n');
        comment(&mut text, key.doc);
        let name = if nests(key.name) { key.name.to_owned() } else { format!("\"{}\"", key.name) };
        let _ = writeln!(text, "#{name} = {}", toml_value(key, key.default.unwrap_or_default()));
    }
    text
}

/// `config/dev.toml`: what `ketcd dev` sets over the defaults.
#[must_use]
pub fn dev_toml() -> String {
    let mut text = String::from(
        "# What `ketcd dev` sets over the defaults of config/ketcd.toml: one node with its metadata embedded.\n\
         # `ketcd broker --config config/dev.toml` runs the same. Generated from src/config/origin.rs.\n\n",
    );
    for (name, value) in Mode::Dev.bundle() {
        if let Some(key) = BROKER_KEYS.get(name) {
            let _ = writeln!(text, "{name} = {}", toml_value(key, value));
        }
    }
    text
}

/// `config/server.properties`: a production broker in Kafka's format.
#[must_use]
pub fn server_properties() -> String {
    let mut text = String::from(
        "# A broker of a cluster, in the format of Kafka's server.properties: a file of yours works as it is, apart from the\n\
         # metadata quorum, whose place etcd takes. Generated from the registry of keys.\n",
    );
    for (name, value) in SERVER_PROPERTIES {
        let Some(key) = BROKER_KEYS.get(name) else { continue };
        text.push('\n');
        comment(&mut text, key.doc);
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

const SERVER_PROPERTIES: &[(&str, &str)] = &[
    ("node.id", "0"),
    ("etcd.endpoints", "http://127.0.0.1:2379"),
    ("cluster.name", "ketcd"),
    ("listeners", "PLAINTEXT://:9092"),
    ("advertised.listeners", "PLAINTEXT://localhost:9092"),
    ("log.dirs", "/var/lib/ketcd"),
    ("num.partitions", "1"),
    ("default.replication.factor", "1"),
    ("min.insync.replicas", "1"),
    ("auto.create.topics.enable", "true"),
    ("log.retention.hours", "168"),
    ("log.segment.bytes", "1073741824"),
    ("log.retention.check.interval.ms", "300000"),
    ("admin.listen", "127.0.0.1:9192"),
];

fn listed(key: &Key) -> bool {
    matches!(key.tier, Tier::Effective | Tier::Ours) && !key.internal
}

/// Whether a bare dotted name can stand in one file with all others: no shorter key is a part of it.
fn nests(name: &str) -> bool {
    !BROKER_KEYS
        .iter()
        .any(|other| listed(other) && name.strip_prefix(other.name).is_some_and(|rest| rest.starts_with('.')))
}

pub(super) fn toml_value(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::List => {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            format!("[{}]", entries.map(|entry| format!("{entry:?}")).collect::<Vec<_>>().join(", "))
        }
        Kind::Boolean => text.to_owned(),
        kind if kind.is_number() && !text.is_empty() => text.to_owned(),
        _ => format!("{text:?}"),
    }
}

/// `text` as comment lines of at most 110 characters.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 110 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{load_file, options};

    fn same_as_file(name: &str, generated: &str) {
        let path = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("KETCD_BLESS").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(file == generated, "config/{name} is not what the registry gives: run with KETCD_BLESS=1");
    }

    #[test]
    fn the_files_in_config_are_what_the_registry_gives() {
        same_as_file("ketcd.toml", &ketcd_toml());
        same_as_file("dev.toml", &dev_toml());
        same_as_file("server.properties", &server_properties());
    }

    #[test]
    fn every_default_in_ketcd_toml_loads_and_is_the_default() {
        let text: String = ketcd_toml()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.contains(" = ") && !line.starts_with([' ', '#']))
            // A key without a default has an empty value there, which stands for "not set".
            .filter(|line| !(line.ends_with("= \"\"") || line.ends_with("= []") || line.ends_with("= ")))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut with_etcd = options(Mode::Broker);
        with_etcd.set = vec!["etcd.endpoints=embedded".to_owned()];
        let config = load_file(with_etcd, "ketcd.toml", &text).unwrap();
        let mut compared = 0;
        for key in BROKER_KEYS.iter().filter(|key| listed(key)) {
            let Some(default) = crate::config::merge::default_of(key) else { continue };
            assert_eq!(config.settings().get(key.name).unwrap().value, default, "{}", key.name);
            compared += 1;
        }
        assert!(compared > 45, "{compared}");
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    }

    #[test]
    fn the_other_samples_load_without_a_word() {
        let server = load_file(options(Mode::Broker), "server.properties", &server_properties()).unwrap();
        assert!(server.warnings().is_empty(), "{:?}", server.warnings());
        let dev = load_file(options(Mode::Broker), "dev.toml", &dev_toml()).unwrap();
        assert!(dev.warnings().is_empty(), "{:?}", dev.warnings());
    }
}
