//! The ways in which real clients join a group.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::family::Family::{self, Aiokafka, ConfluentKafka, FranzGo, Java, KafkaPython, Kafkajs};
use crate::skip::skip;

/// A client with one of its protocols and assignors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavour {
    pub family: Family,
    /// The protocol of KIP-848, else the classic one.
    pub modern: bool,
    /// `None` is what the client does by itself.
    pub strategy: Option<&'static str>,
}

const fn classic(family: Family, strategy: Option<&'static str>) -> Flavour {
    Flavour { family, modern: false, strategy }
}

const fn modern(family: Family, strategy: Option<&'static str>) -> Flavour {
    Flavour { family, modern: true, strategy }
}

/// Every way that is tested.
pub const ALL: [Flavour; 13] = [
    classic(ConfluentKafka, None),
    classic(ConfluentKafka, Some("cooperative-sticky")),
    modern(ConfluentKafka, None),
    classic(KafkaPython, None),
    classic(KafkaPython, Some("cooperative-sticky")),
    classic(Aiokafka, None),
    classic(Kafkajs, None),
    classic(Java, Some("range")),
    classic(Java, Some("cooperative-sticky")),
    modern(Java, None),
    modern(Java, Some("range")),
    classic(FranzGo, None),
    modern(FranzGo, None),
];

impl Flavour {
    /// Unique, for people and for names.
    pub fn name(self) -> String {
        let protocol = if self.modern { "consumer" } else { "classic" };
        let strategy = self.strategy.map(|strategy| format!("-{strategy}")).unwrap_or_default();
        format!("{}-{protocol}{strategy}", self.family.name())
    }

    /// A name for a topic or a group of this flavour's case, also on a broker that saw another run of the tests.
    pub fn own(self, what: &str) -> String {
        format!("{what}-{}-{}", self.name(), std::process::id())
    }

    /// Partitions that do not move are consumed all the time. franz-go is cooperative by itself.
    pub fn cooperative(self) -> bool {
        self.modern || self.strategy == Some("cooperative-sticky") || self.family == FranzGo
    }

    /// Knows `group.instance.id`. franz-go's goodbye of a static member in the new protocol leaves the id out, which
    /// Kafka refuses: it is as if the member had died.
    pub fn has_static_members(self) -> bool {
        self.family != Kafkajs && !(self.family == FranzGo && self.modern)
    }

    /// Commits what it handed out before it gives partitions away. kafkajs commits after a batch, and a rebalance in the
    /// middle of one has it read again.
    pub fn commits_before_it_gives_away(self) -> bool {
        self.family != Kafkajs
    }

    /// The settings of a member that joins with the client's defaults, and reads from the beginning.
    pub fn joining(self, group: &str, topic: &str) -> Value {
        let protocol = if self.modern { "consumer" } else { "classic" };
        json!({
            "do": "join", "group": group, "topics": [topic], "protocol": protocol, "strategy": self.strategy,
            "instance": null, "reset": "earliest", "session_ms": null, "commit": "auto",
        })
    }
}

/// Runs `case` for each flavour that `applies`, all at the same time; fails with the names of those for which it failed.
pub fn everywhere(applies: impl Fn(Flavour) -> bool, case: impl Fn(Flavour) + Sync) {
    let only = std::env::var("KETCD_TEST_FLAVOUR").unwrap_or_default();
    let mut flavours = Vec::new();
    for flavour in ALL.into_iter().filter(|flavour| applies(*flavour) && flavour.name().contains(&only)) {
        match flavour.family.missing() {
            Some(why) => skip(&format!("{}: {why}", flavour.name())),
            None => flavours.push(flavour),
        }
    }
    together(&flavours, case);
}

/// Runs `case` for all of `flavours` at the same time; fails with the names of those for which it failed.
pub fn together(flavours: &[Flavour], case: impl Fn(Flavour) + Sync) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let case = &case;
        let running: Vec<_> = flavours
            .iter()
            .copied()
            .map(|flavour| (flavour, scope.spawn(move || catch_unwind(AssertUnwindSafe(|| case(flavour))))))
            .collect();
        let failed =
            |(flavour, thread): (Flavour, std::thread::ScopedJoinHandle<'_, std::thread::Result<()>>)| {
                let error = thread.join().expect("panics are caught").err()?;
                let text = error.downcast_ref::<String>().cloned();
                let text = text.or_else(|| error.downcast_ref::<&str>().map(ToString::to_string));
                Some(format!("--- {}: {}", flavour.name(), text.unwrap_or_default()))
            };
        running.into_iter().filter_map(failed).collect()
    });
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// How often a case is repeated: `once`, and ten times as often where `make groups-long` asks for it.
pub fn long(once: u64) -> u64 {
    if std::env::var_os("KETCD_TEST_LONG").is_some() { once * 10 } else { once }
}
