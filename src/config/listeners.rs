//! `listeners` and `advertised.listeners`: parsing, and the mistakes that people make with them.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::{AdvertisedListener, ListenerConfig};
use super::merge::Settings;
use super::origin::Origin;
use super::problem::Problem;

/// One `NAME://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
    text: String,
}

const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// What to listen on, and what to tell clients. Everything that is wrong goes to `problems`.
pub fn build(
    settings: &Settings,
    host_name: &str,
    problems: &mut Vec<Problem>,
) -> (Vec<ListenerConfig>, Vec<AdvertisedListener>) {
    let controllers: BTreeSet<String> =
        settings.list("controller.listener.names").iter().map(|name| name.to_ascii_uppercase()).collect();
    let before = problems.len();
    let advertised = endpoints(settings, "advertised.listeners", problems);
    let derived = advertised.is_some() && !settings.is_set_by_user("listeners");
    let listeners = if derived {
        // As the images of Apache Kafka do: clients are to reach the advertised ports, whatever the address.
        let open = |endpoint: Endpoint| Endpoint { host: "0.0.0.0".to_owned(), ..endpoint };
        advertised.clone().unwrap_or_default().into_iter().map(open).collect()
    } else {
        endpoints(settings, "listeners", problems).unwrap_or_default()
    };
    let origin = settings.origin(if derived { "advertised.listeners" } else { "listeners" });
    let bound: Vec<Endpoint> =
        listeners.into_iter().filter(|endpoint| !controllers.contains(&endpoint.name)).collect();
    if problems.len() > before {
        return (Vec::new(), Vec::new());
    }
    if bound.is_empty() {
        problems.push(
            Problem::error("listeners names no listener for clients")
                .at(&origin)
                .detail("listeners named in controller.listener.names are not opened: ketcd keeps its metadata in etcd")
                .help("add one, e.g. listeners=PLAINTEXT://:9092"),
        );
    }
    duplicates(&bound, &origin, problems);
    let protocols = protocols(settings, &bound, &controllers, problems);
    let advertised = match advertised {
        Some(endpoints) => {
            check_advertised(
                &endpoints,
                &bound,
                &controllers,
                &settings.origin("advertised.listeners"),
                problems,
            );
            endpoints
        }
        None => derive_advertised(&bound, host_name, &origin, problems),
    };
    inter_broker(settings, &advertised, problems);
    let listeners = bound.into_iter().filter(|endpoint| protocols.contains(&endpoint.name));
    let listeners = listeners.map(|Endpoint { name, host, port, .. }| ListenerConfig {
        name,
        host,
        port,
        security_protocol: super::broker::SecurityProtocol::Plaintext,
    });
    let advertised = advertised.into_iter().map(|Endpoint { name, host, port, .. }| AdvertisedListener {
        name,
        host,
        port,
    });
    (listeners.collect(), advertised.collect())
}

/// The endpoints of `key`; `None` if the key has no value.
fn endpoints(settings: &Settings, key: &str, problems: &mut Vec<Problem>) -> Option<Vec<Endpoint>> {
    let setting = settings.get(key)?;
    let mut endpoints = Vec::new();
    for text in settings.list(key) {
        match parse(&text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reason) => problems.push(
                Problem::error(format!("{key} = {text:?} is not a listener: {reason}"))
                    .at(&setting.origin)
                    .help(format!("write NAME://host:port, e.g. {key}=PLAINTEXT://kafka-0.example:9092"))
                    .help("an address of IPv6 stands in brackets: PLAINTEXT://[::1]:9092"),
            ),
        }
    }
    Some(endpoints)
}

fn parse(text: &str) -> Result<Endpoint, String> {
    let (name, address) = text.split_once("://").ok_or("it has no ://")?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        return Err(format!("{name:?} cannot name a listener"));
    }
    let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
    let bracketed = host.strip_prefix('[').map(|rest| rest.strip_suffix(']').ok_or("a [ has no ]"));
    let host = match bracketed {
        Some(host) => host?,
        None if host.contains(':') => return Err("an address of IPv6 needs brackets".to_owned()),
        None => host,
    };
    let port = port.parse().map_err(|_| format!("{port:?} is not a port from 0 to 65535"))?;
    Ok(Endpoint { name: name.to_ascii_uppercase(), host: host.to_owned(), port, text: text.to_owned() })
}

/// Whether a host means "every address of this machine", which nobody can connect to.
fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0" | "*")
}

fn duplicates(bound: &[Endpoint], origin: &Origin, problems: &mut Vec<Problem>) {
    for (number, one) in bound.iter().enumerate() {
        for other in bound.iter().skip(number + 1) {
            if one.name == other.name {
                problems.push(
                    Problem::error(format!("listeners names {} twice: {} and {}", one.name, one.text, other.text))
                        .at(origin)
                        .help("give each listener a name of its own, and its protocol in listener.security.protocol.map"),
                );
            }
            let every = |endpoint: &Endpoint| endpoint.host.is_empty() || is_wildcard(&endpoint.host);
            if one.port != 0
                && one.port == other.port
                && (one.host == other.host || every(one) || every(other))
            {
                problems.push(
                    Problem::error(format!(
                        "listeners has port {} twice: {} and {}",
                        one.port, one.text, other.text
                    ))
                    .at(origin)
                    .help("give each listener a port of its own"),
                );
            }
        }
    }
}

/// The names of `bound` whose protocol ketcd speaks.
fn protocols(
    settings: &Settings,
    bound: &[Endpoint],
    controllers: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    let text = settings.text("listener.security.protocol.map").unwrap_or_default();
    let origin = settings.origin("listener.security.protocol.map");
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once(':') {
            Some((name, protocol)) if PROTOCOLS.contains(&protocol.trim().to_ascii_uppercase().as_str()) => {
                map.insert(name.trim().to_ascii_uppercase(), protocol.trim().to_ascii_uppercase());
            }
            _ => problems.push(
                Problem::error(format!(
                    "listener.security.protocol.map has {entry:?}, which is not NAME:PROTOCOL"
                ))
                .at(&origin)
                .help(format!("protocols are {}; ketcd speaks PLAINTEXT", PROTOCOLS.join(", "))),
            ),
        }
    }
    let mut spoken = BTreeSet::new();
    for Endpoint { name, text: listener, .. } in bound {
        match map.get(name).map(String::as_str) {
            Some("PLAINTEXT") => {
                spoken.insert(name.clone());
            }
            Some(protocol) => problems.push(
                Problem::error(format!("listener {listener} is to speak {protocol}, which ketcd does not speak yet"))
                    .at(&settings.origin("listeners"))
                    .detail("TLS and SASL come with security; to serve such a listener in the clear would be worse than not to start")
                    .help(format!("map it to PLAINTEXT: listener.security.protocol.map={name}:PLAINTEXT"))
                    .help("or take the listener out"),
            ),
            None => problems.push(
                Problem::error(format!("listener {listener} has no security protocol"))
                    .at(&settings.origin("listeners"))
                    .detail(format!("listener.security.protocol.map has no entry for {name}"))
                    .help(format!("listener.security.protocol.map={}", mapped(bound, controllers))),
            ),
        }
    }
    spoken
}

fn mapped(bound: &[Endpoint], controllers: &BTreeSet<String>) -> String {
    let names = bound.iter().map(|endpoint| &endpoint.name).chain(controllers);
    names.map(|name| format!("{name}:PLAINTEXT")).collect::<Vec<_>>().join(",")
}

fn check_advertised(
    advertised: &[Endpoint],
    bound: &[Endpoint],
    controllers: &BTreeSet<String>,
    origin: &Origin,
    problems: &mut Vec<Problem>,
) {
    let mut seen = BTreeSet::new();
    for endpoint in advertised {
        let Endpoint { name, host, text, .. } = endpoint;
        if !seen.insert(name) {
            problems.push(
                Problem::error(format!("advertised.listeners names {name} twice"))
                    .at(origin)
                    .help("one address per listener: give a second listener a name of its own"),
            );
        }
        if is_wildcard(host) || host.is_empty() {
            problems.push(cannot_advertise("advertised.listeners", text, host, origin));
        }
        if controllers.contains(name) {
            problems.push(
                Problem::error(format!("advertised.listeners names {name}, a listener of controllers"))
                    .at(origin)
                    .help("take it out: clients do not connect to controllers"),
            );
        } else if !bound.iter().any(|listener| listener.name == *name) {
            let names: Vec<&str> = bound.iter().map(|listener| listener.name.as_str()).collect();
            problems.push(
                Problem::error(format!("advertised.listeners = {text:?} names no listener"))
                    .at(origin)
                    .detail(format!("listeners has {}", names.join(", ")))
                    .help(format!("add {name} to listeners, e.g. {name}://:{}", endpoint.port)),
            );
        }
    }
}

fn cannot_advertise(key: &str, text: &str, host: &str, origin: &Origin) -> Problem {
    let told = if host.is_empty() { "no host at all".to_owned() } else { host.to_owned() };
    Problem::error(format!("{key} = {text:?} cannot be advertised"))
        .at(origin)
        .detail(format!("clients would be told to connect to {told}"))
        .help("set the name clients use, e.g. advertised.listeners=PLAINTEXT://kafka-0.example:9092")
        .help("on Kubernetes: KETCD_ADVERTISED_LISTENERS='PLAINTEXT://{pod}.{service}:9092'")
}

fn derive_advertised(
    bound: &[Endpoint],
    host_name: &str,
    origin: &Origin,
    problems: &mut Vec<Problem>,
) -> Vec<Endpoint> {
    let mut advertised = Vec::new();
    for endpoint in bound {
        if is_wildcard(&endpoint.host) {
            problems.push(cannot_advertise("listeners", &endpoint.text, &endpoint.host, origin));
        }
        let host = if endpoint.host.is_empty() { host_name.to_owned() } else { endpoint.host.clone() };
        advertised.push(Endpoint { host, ..endpoint.clone() });
    }
    advertised
}

/// Brokers reach each other by an advertised listener that speaks what ketcd speaks.
fn inter_broker(settings: &Settings, advertised: &[Endpoint], problems: &mut Vec<Problem>) {
    let key = "security.inter.broker.protocol";
    let protocol = settings.text(key).filter(|protocol| protocol != "PLAINTEXT");
    if let Some(protocol) = protocol {
        problems.push(
            Problem::error(format!("{key} = {protocol:?} is not spoken among brokers yet"))
                .at(&settings.origin(key))
                .detail("TLS and SASL come with security")
                .help("remove the key"),
        );
    }
    let Some(name) = settings.text("inter.broker.listener.name") else { return };
    if settings.is_set_by_user(key) {
        problems.push(
            Problem::error(format!("{key} and inter.broker.listener.name are both set"))
                .at(&settings.origin(key))
                .help(format!("remove {key}: the listener says what it speaks")),
        );
    }
    if !advertised.iter().any(|endpoint| endpoint.name == name.to_ascii_uppercase()) {
        let names: Vec<&str> = advertised.iter().map(|endpoint| endpoint.name.as_str()).collect();
        problems.push(
            Problem::error(format!("inter.broker.listener.name = {name:?} is not an advertised listener"))
                .at(&settings.origin("inter.broker.listener.name"))
                .help(format!("advertised are {}", names.join(", "))),
        );
    }
}
