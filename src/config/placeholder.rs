//! `${env:NAME}`, `${file:PATH}`, `${file:PATH:KEY}`, `${directory:DIR:FILE}` in values of files, environment and flags.
//!
//! Never in dynamic values: those come from clients, which must not be able to read the broker's files (rule X18).

use std::collections::BTreeMap;
use std::path::Path;

use super::load::ReadText;
use super::properties;

/// Replaces every placeholder of `text`. A `${..}` without a colon stays as it is, as in Kafka.
///
/// # Errors
/// What is wrong with the first placeholder that cannot be resolved.
pub fn resolve(text: &str, env: &BTreeMap<String, String>, read: &ReadText) -> Result<String, String> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { break };
        resolved.push_str(before);
        match inside.split_once(':') {
            Some((provider, argument)) => resolved.push_str(&provide(provider, argument, env, read)?),
            None => {
                resolved.push_str("${");
                resolved.push_str(inside);
                resolved.push('}');
            }
        }
        rest = behind;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn provide(
    provider: &str,
    argument: &str,
    env: &BTreeMap<String, String>,
    read: &ReadText,
) -> Result<String, String> {
    match provider {
        "env" => {
            let name = argument.trim_start_matches(':');
            env.get(name).cloned().ok_or_else(|| format!("names {name}, which the environment does not have"))
        }
        "file" => match argument.rsplit_once(':') {
            Some((path, key)) => property(path, key, read),
            None => read_trimmed(argument, read),
        },
        "directory" => {
            let (directory, file) = argument.rsplit_once(':').unwrap_or((argument, ""));
            read_trimmed(&format!("{directory}/{file}"), read)
        }
        other => {
            Err(format!("has a placeholder of the unknown kind {other:?} (known: env, file, directory)"))
        }
    }
}

fn read_trimmed(path: &str, read: &ReadText) -> Result<String, String> {
    match read(Path::new(path)) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(format!("names {path}, which cannot be read: {error}")),
    }
}

fn property(path: &str, key: &str, read: &ReadText) -> Result<String, String> {
    let text =
        read(Path::new(path)).map_err(|error| format!("names {path}, which cannot be read: {error}"))?;
    let mut problems = Vec::new();
    properties::read(path, &text, &mut problems)
        .into_iter()
        .rfind(|entry| entry.name == key)
        .map(|entry| entry.value)
        .ok_or_else(|| format!("names {key} of {path}, which is not there"))
}
