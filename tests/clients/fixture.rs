//! What the cases share: one broker, one running program for each client family, fresh topic names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::broker::Broker;
use crate::family::Family;
use crate::kcat_program::Kcat;
use crate::skip::skip;

/// How long a change may take until every client sees it.
const SEEN_DEADLINE: Duration = Duration::from_secs(20);

/// A broker and the clients that talk to it.
pub struct Cluster {
    pub broker: Mutex<Option<Broker>>,
    bootstrap: String,
    data: Option<PathBuf>,
    clients: BTreeMap<Family, Mutex<Option<Client>>>,
}

enum Client {
    Program(Agent),
    Kcat(Kcat),
}

/// The broker that all cases share, which none of them stops.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("KETCD_TEST_BOOTSTRAP") {
        Ok(bootstrap) => Cluster::new(None, bootstrap),
        Err(_) => {
            let broker = Broker::start();
            let bootstrap = broker.bootstrap();
            Cluster::new(Some(broker), bootstrap)
        }
    })
}

/// What makes the new protocol find the dead as fast as the classic one can be told to.
pub const SHORT_SESSIONS: [&str; 8] = [
    "--set",
    "group.consumer.min.session.timeout.ms=6000",
    "--set",
    "group.consumer.session.timeout.ms=6000",
    "--set",
    "group.consumer.min.heartbeat.interval.ms=1000",
    "--set",
    "group.consumer.heartbeat.interval.ms=1000",
];

/// A second shared broker, on which members of the new protocol are given short sessions.
pub fn short_sessions() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        if let Ok(bootstrap) = std::env::var("KETCD_TEST_BOOTSTRAP") {
            return Cluster::new(None, bootstrap);
        }
        let broker = Broker::start_with(&SHORT_SESSIONS);
        let bootstrap = broker.bootstrap();
        Cluster::new(Some(broker), bootstrap)
    })
}

/// The shared cluster, if `family` can be run here; otherwise the case is skipped.
pub fn with(family: Family) -> Option<&'static Cluster> {
    match family.missing() {
        Some(why) => {
            skip(&why);
            None
        }
        None => Some(shared()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    pub fn new(broker: Option<Broker>, bootstrap: String) -> Self {
        let data = broker.as_ref().map(|broker| broker.data().to_owned());
        let clients = Family::ALL.iter().map(|family| (*family, Mutex::new(None))).collect();
        Self { broker: Mutex::new(broker), bootstrap, data, clients }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The broker's files; `None` for a broker that somebody else started.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Has `family` do `command`; the answer may be an error of Kafka's (`code`), nothing worse.
    pub fn try_ask(&self, family: Family, command: &Value) -> Value {
        let mut client = lock(&self.clients[&family]);
        let running = client.get_or_insert_with(|| match family {
            Family::Kcat => Client::Kcat(Kcat::new(&self.bootstrap)),
            _ => Client::Program(Agent::start(family.name(), &mut family.command(&self.bootstrap))),
        });
        let answer = match running {
            Client::Kcat(kcat) => Some(kcat.ask(command)),
            Client::Program(agent) => agent.ask(command),
        };
        match answer {
            Some(answer) => answer,
            None => {
                let errors = match client.take() {
                    Some(Client::Program(mut agent)) => agent.errors(),
                    _ => String::new(),
                };
                drop(client);
                panic!("{} does not answer to {command}\n{errors}{}", family.name(), self.words());
            }
        }
    }

    /// [`Cluster::try_ask`] where only success will do.
    pub fn ask(&self, family: Family, command: &Value) -> Value {
        let answer = self.try_ask(family, command);
        if answer.get("error").is_some() || answer.get("unsupported").is_some() {
            panic!("{}: {command}\nanswered {answer}\n{}", family.name(), self.words());
        }
        answer
    }

    /// The Kafka error code with which `command` is refused.
    pub fn refused(&self, family: Family, command: &Value) -> i64 {
        let answer = self.try_ask(family, command);
        answer["code"].as_i64().unwrap_or_else(|| {
            panic!("{}: {command}\nshould be refused, answered {answer}\n{}", family.name(), self.words())
        })
    }

    /// Repeats `command` until `done` is true for its answer.
    pub fn until(&self, family: Family, command: &Value, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SEEN_DEADLINE;
        loop {
            let answer = self.try_ask(family, command);
            if done(&answer) {
                return answer;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{}: {command}\nstill answers {answer}\n{}", family.name(), self.words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A new topic, made by `family` if it can, otherwise by the first client here that can.
    pub fn create_topic(&self, family: Family, topic: &str, partitions: u32, configs: &Value) {
        let creator = if family.administers() { family } else { self.creator() };
        let create =
            json!({"do": "create_topic", "topic": topic, "partitions": partitions, "configs": configs});
        self.ask(creator, &create);
        let describe = json!({"do": "describe_topic", "topic": topic});
        self.until(creator, &describe, |answer| answer["partitions"] == partitions);
    }

    /// A client that administers.
    pub fn creator(&self) -> Family {
        let can = |family: &Family| family.administers() && family.missing().is_none();
        Family::ALL.into_iter().find(can).expect("at least one client that makes topics")
    }

    /// `family` if it reads records, otherwise the first client here that does.
    pub fn reader(&self, family: Family) -> Family {
        let can = |family: &Family| family.consumes() && family.missing().is_none();
        if family.consumes() {
            family
        } else {
            [Family::ConfluentKafka, Family::Java].into_iter().chain(Family::ALL).find(can).expect("a reader")
        }
    }

    fn words(&self) -> String {
        match lock(&self.broker).as_ref() {
            Some(broker) => format!("--- the broker's last words:\n{}", broker.output()),
            None => String::new(),
        }
    }
}
