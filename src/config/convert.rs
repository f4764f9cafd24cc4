//! Kafka's `server.properties` as `ketcd.toml`.

use super::key::Tier;
use super::problem::Problem;
use super::properties;
use super::registry::BROKER_KEYS;
use super::sample::toml_value;
use super::value::{self, Value};

/// The TOML of a properties file. What has no effect is kept as a comment with its reason; placeholders stay as they are.
#[must_use]
pub fn to_toml(path: &str, text: &str) -> (String, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut toml = format!("# Made from {path} by `ketcd config convert`.\n");
    let entries = properties::read(path, text, &mut problems);
    for (number, entry) in entries.iter().enumerate() {
        // Of a key that stands twice the last one counts.
        if entries.iter().skip(number + 1).any(|later| later.name == entry.name) {
            continue;
        }
        let Some(key) = BROKER_KEYS.get(&entry.name) else {
            toml.push_str(&format!(
                "\n# not a key of Kafka or ketcd\n#{:?} = {:?}\n",
                entry.name, entry.value
            ));
            continue;
        };
        let name = if nests(key.name) { key.name.to_owned() } else { format!("\"{}\"", key.name) };
        let text = match value::parse(key, &entry.value) {
            Ok(Value::Boolean(flag)) => flag.to_string(),
            Ok(value) => toml_value(key, &value.to_text()),
            Err(_) => format!("{:?}", entry.value),
        };
        let line = match key.tier {
            Tier::Effective | Tier::Ours => format!("{name} = {text}\n"),
            Tier::NoEffect(reason) | Tier::Refused(reason) => format!("\n# {reason}\n#{name} = {text}\n"),
        };
        toml.push_str(&line);
    }
    (toml, problems)
}

/// Whether the bare name can stand beside every other key: no other key is a part of it.
fn nests(name: &str) -> bool {
    !BROKER_KEYS.iter().any(|other| name.strip_prefix(other.name).is_some_and(|rest| rest.starts_with('.')))
}
