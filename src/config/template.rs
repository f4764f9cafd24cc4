//! `{pod}`, `{ordinal}`, `{31092+ordinal}`: values that differ by pod, without a shell (`operations.md`, External access).

use std::collections::BTreeMap;

/// Keys whose values may hold templates.
pub(super) const TEMPLATE_KEYS: &[&str] =
    &["advertised.listeners", "listeners", "broker.rack", "node.id", "broker.id", "log.dirs"];

/// Field and the environment variables that give it, first one wins.
const FIELDS: &[(&str, &[&str])] = &[
    ("pod", &["POD_NAME", "HOSTNAME"]),
    ("ordinal", &["POD_INDEX"]),
    ("namespace", &["POD_NAMESPACE"]),
    ("service", &["SERVICE_NAME"]),
    ("host_ip", &["HOST_IP"]),
    ("node_name", &["NODE_NAME"]),
    ("pod_ip", &["POD_IP"]),
    ("zone", &["ZONE"]),
];

/// Replaces every `{field}` and `{number+ordinal}` of `text`.
///
/// # Errors
/// What is wrong with the first field that cannot be resolved.
pub fn resolve(text: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (field, behind) = after.split_once('}').ok_or_else(|| "has a { without its }".to_owned())?;
        resolved.push_str(before);
        resolved.push_str(&field_value(field.trim(), env)?);
        rest = behind;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn field_value(field: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    if let Some((base, "ordinal")) = field.split_once('+').map(|(base, name)| (base.trim(), name.trim())) {
        let base: u64 =
            base.parse().map_err(|_| format!("has {{{field}}}, where a number must stand before +"))?;
        let ordinal = ordinal(env).ok_or_else(|| unset("ordinal"))?;
        return Ok(base.saturating_add(ordinal).to_string());
    }
    if field == "ordinal" {
        return ordinal(env).map(|ordinal| ordinal.to_string()).ok_or_else(|| unset("ordinal"));
    }
    let Some((_, names)) = FIELDS.iter().find(|(name, _)| *name == field) else {
        let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        return Err(format!("has the unknown field {{{field}}} (known: {})", known.join(", ")));
    };
    names.iter().find_map(|name| env.get(*name)).cloned().ok_or_else(|| unset(field))
}

fn unset(field: &str) -> String {
    let names = FIELDS.iter().find(|(name, _)| *name == field).map_or(&[][..], |(_, names)| names);
    format!("has the field {{{field}}}, but the environment has no {}", names.join(" or "))
}

/// This pod's number in its StatefulSet: `POD_INDEX`, else the end of the pod's name.
pub fn ordinal(env: &BTreeMap<String, String>) -> Option<u64> {
    if let Some(index) = env.get("POD_INDEX") {
        return index.parse().ok();
    }
    let name = env.get("POD_NAME").or_else(|| env.get("HOSTNAME"))?;
    let (_, number) = name.rsplit_once('-')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_advertises_its_own_name_and_node_port() {
        let env = env(&[("HOSTNAME", "kafka-2"), ("HOST_IP", "10.0.0.7"), ("SERVICE_NAME", "brokers")]);
        let text = "INTERNAL://{pod}.{service}:9092,EXTERNAL://{host_ip}:{31092+ordinal}";
        assert_eq!(resolve(text, &env).unwrap(), "INTERNAL://kafka-2.brokers:9092,EXTERNAL://10.0.0.7:31094");
    }

    #[test]
    fn a_field_that_cannot_be_filled_says_which_variable_is_missing() {
        let env = env(&[]);
        assert_eq!(
            resolve("{zone}", &env).unwrap_err(),
            "has the field {zone}, but the environment has no ZONE"
        );
        assert_eq!(resolve("{pod", &env).unwrap_err(), "has a { without its }");
        assert!(
            resolve("{podd}", &env).unwrap_err().starts_with("has the unknown field {podd} (known: pod, ")
        );
        assert!(resolve("{x+ordinal}", &env).unwrap_err().contains("a number must stand before +"));
    }
}
