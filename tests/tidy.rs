//! The house rules that no compiler checks: floors, doors, words, sizes. Each check has a test with a snippet that breaks it.
//!
//! - **Floors**: a file names only rooms of lower floors, or its own (`src/ARCHITECTURE.md`).
//! - **Doors**: some crates and calls have one keeper. Tests are exempt: they may look behind the door.
//! - **Words**: nothing unfinished is left behind; cores iterate in order.
//! - **Sizes**: a file of more than 700 lines is asking to be two.
//! - **Handlers**: every API's file is registered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, read_tree, test_modules};

/// The rooms and their floors.
const FLOORS: &[(&str, u8)] = &[
    ("sys", 0),
    ("types", 0),
    ("telemetry", 0),
    ("config", 1),
    ("protocol", 1),
    ("security", 1),
    ("log", 2),
    ("metadata", 2),
    ("replication", 3),
    ("coordinator", 3),
    ("controller", 3),
    ("broker", 4),
    ("handlers", 5),
    ("server", 6),
    ("cli", 7),
];

/// A thing that only its keepers may touch.
struct Door {
    /// Paths and names as they stand in code.
    names: &'static [&'static str],
    /// Beginnings of the paths under `src/` where they may stand.
    keepers: &'static [&'static str],
    /// Longer paths that are no business of this door.
    but: &'static [&'static str],
    /// What to do instead.
    instead: &'static str,
}

const DOORS: &[Door] = &[
    Door { names: &["etcd_client"], keepers: &["metadata/"], but: &[], instead: "ask the Metadata handle" },
    Door {
        names: &["kafka_protocol::messages"],
        keepers: &["handlers/", "protocol/peer.rs", "protocol/peer/"],
        but: &[],
        instead: "wire types stay at the wire: take plain arguments",
    },
    Door { names: &["memmap2"], keepers: &["sys/"], but: &[], instead: "map through sys" },
    Door {
        names: &["unsafe"],
        keepers: &["sys/"],
        but: &[],
        instead: "unsafe code lives in sys, with a SAFETY comment",
    },
    Door {
        names: &["std::fs", "tokio::fs", "rustix::fs"],
        // telemetry/process.rs reads /proc only.
        keepers: &["sys/", "telemetry/process.rs"],
        but: &[],
        instead: "files are sys's business",
    },
    Door {
        names: &[
            "Instant::now",
            "SystemTime::now",
            "Utc::now",
            "clock_gettime",
            "Uuid::new_v4",
            "Uuid::now_v7",
            "getrandom",
        ],
        keepers: &["types/"],
        // Tokio's timers take instants of tokio's own clock.
        but: &["tokio::time::Instant::now"],
        instead: "time and chance come from types::clock and types::random",
    },
    Door {
        names: &[
            "tokio::net",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "socket2",
        ],
        keepers: &[
            "server/",
            "protocol/peer.rs",
            "protocol/peer/",
            "metadata/embedded/",
            // What this machine's loopback costs without a broker.
            "cli/perf/",
        ],
        but: &[],
        instead: "sockets are the server's, the peer client's and the embedded store's",
    },
];

/// Words in comments that mean that something is not finished, or that speak of how the code came to be.
const COMMENT_WORDS: &[&str] =
    &["TODO", "FIXME", "XXX", "HACK", "language model", "AI assistant", "previous session", "the brief"];

/// Code that means that something is not finished.
const CODE_WORDS: &[&str] = &["todo!", "unimplemented!", "#[ignore", "dbg!"];

/// A file longer than this is asking to be two.
const LINES_MAX: usize = 700;

/// Files that are one table of data: longer than [`LINES_MAX`] with a reason.
const DATA_TABLES: &[(&str, &str)] = &[
    ("src/protocol/guard/shapes.rs", "the shapes of all requests, one line per field"),
    ("src/config/keys.rs", "all configuration keys, one entry each"),
];

/// Files of `src/handlers` that are no API.
const HANDLER_SUPPORT: &[&str] = &[
    "mod",
    "refused_batches",
    "reply",
    "endpoint",
    "service",
    "errors",
    "wire",
    "wire_groups",
    "alteration",
];

/// The room of a file under `src/`; `main.rs` and `lib.rs` stand above all.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let (room, _) = inside.split_once('/')?;
    Some(room)
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Rooms that `source` names although they are not below it.
fn floors_broken(source: &Source) -> Vec<String> {
    let Some(own) = room_of(&source.path) else { return Vec::new() };
    let Some(own_floor) = floor(own) else {
        return vec![format!("{}: room {own:?} has no floor: give it one in tests/tidy.rs", source.path)];
    };
    let mut broken = Vec::new();
    for (line, named) in source.rooms_named() {
        if let Some(floor) = floor(&named)
            && named != own
            && floor >= own_floor
        {
            broken.push(format!(
                "{}:{line}: {own} (floor {own_floor}) names {named} (floor {floor})",
                source.path
            ));
        }
    }
    broken
}

/// Doors that `source` opens without being their keeper.
fn doors_broken(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("src/") else { return Vec::new() };
    let mut broken = Vec::new();
    for door in DOORS {
        if door.keepers.iter().any(|keeper| inside.starts_with(keeper)) {
            continue;
        }
        for name in door.names {
            for line in source.code_lines_with_but(name, door.but) {
                broken.push(format!("{}:{line}: {name} is not for this file: {}", source.path, door.instead));
            }
        }
    }
    broken
}

fn words_broken(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    for word in COMMENT_WORDS {
        for line in source.comment_lines_with(word) {
            broken.push(format!("{}:{line}: a comment says {word:?}", source.path));
        }
    }
    for word in CODE_WORDS {
        for line in source.all_code_lines_with(word) {
            broken.push(format!("{}:{line}: {word} is left", source.path));
        }
    }
    if source.path.ends_with("/core.rs") {
        for line in source.code_lines_with("HashMap").into_iter().chain(source.code_lines_with("HashSet")) {
            broken.push(format!("{}:{line}: a core iterates in order: use BTreeMap, BTreeSet", source.path));
        }
    }
    broken
}

fn size_broken(source: &Source) -> Option<String> {
    let lines = source.lines();
    let is_table = DATA_TABLES.iter().any(|(path, _)| *path == source.path);
    (lines > LINES_MAX && !is_table)
        .then(|| format!("{}: {lines} lines: split it by concept (at most {LINES_MAX})", source.path))
}

/// Files of handlers whose API is not registered. Nothing is asked before there is a registry.
fn handlers_broken(sources: &[Source]) -> Vec<String> {
    let registered: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.path.starts_with("src/handlers/"))
        .flat_map(|source| ["endpoint", "raw_endpoint"].map(|name| source.generic_arguments_of(name)))
        .flatten()
        .collect();
    if registered.is_empty() {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix("src/handlers/") else { continue };
        // A file of its own, or a folder of its own: `fetch.rs`, `fetch/mod.rs`.
        let module = inside.strip_suffix("/mod.rs").or_else(|| inside.strip_suffix(".rs")).unwrap_or(inside);
        if module.contains('/') || HANDLER_SUPPORT.contains(&module) || source.is_test_file {
            continue;
        }
        if !registered.contains(module) {
            broken.push(format!("{}: no endpoint::<{module}::..>() in the registry", source.path));
        }
    }
    broken
}

fn all_sources() -> Vec<Source> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches"] {
        sources.extend(read_tree(root, folder));
    }
    let tests = test_modules(&sources);
    for source in &mut sources {
        source.is_test_file = tests.iter().any(|module| source.is_under(module));
    }
    sources
}

fn assert_tidy(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn files_name_only_rooms_of_lower_floors() {
    let sources = all_sources();
    assert!(sources.len() > 20, "the sources were not found");
    assert_tidy(sources.iter().flat_map(floors_broken).collect());
}

#[test]
fn doors_are_opened_by_their_keepers_only() {
    let sources = all_sources();
    assert_tidy(sources.iter().filter(|source| !source.is_test_file).flat_map(doors_broken).collect());
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let sources = all_sources();
    assert_tidy(
        sources.iter().filter(|s| !s.path.starts_with("tests/tidy")).flat_map(words_broken).collect(),
    );
}

#[test]
fn files_are_short_enough_to_be_read() {
    assert_tidy(all_sources().iter().filter_map(size_broken).collect());
}

#[test]
fn every_handler_is_registered() {
    assert_tidy(handlers_broken(&all_sources()));
}

fn snippet(path: &str, text: &str) -> Source {
    Source::new(path.to_owned(), text.to_owned())
}

#[test]
fn the_floors_check_sees_every_way_to_name_a_room() {
    for text in [
        "use crate::broker::Broker;",
        "fn f() { crate::broker::x() }",
        "use crate::{types::Offset, broker::{A, B}};",
        "use super::super::broker::Broker;",
        "pub use crate::{\n    types,\n    broker as b,\n};",
        "#[cfg(test)]\nmod tests {\n    use crate::broker::Broker;\n}",
        "use ketcd::broker::Broker;",
    ] {
        assert_eq!(floors_broken(&snippet("src/log/append.rs", text)).len(), 1, "{text}");
    }
}

#[test]
fn the_floors_check_lets_lower_floors_own_room_and_mere_words_pass() {
    for text in [
        "use crate::types::Offset; use crate::sys::map;",
        "use crate::log::segment; use super::segment; use super::super::log::x;",
        "// see crate::broker::Broker\n/// [`crate::broker`]\nconst A: &str = \"crate::broker::Broker\";",
        "const A: &str = r#\"use crate::broker::B; \" \"#; /* crate::broker::x /* nested */ crate::broker */",
        "const Q: char = '\"'; const B: &[u8] = b\"crate::broker\"; fn f<'a>(x: &'a str) {}",
    ] {
        assert_eq!(floors_broken(&snippet("src/log/append.rs", text)), Vec::<String>::new(), "{text}");
    }
    assert!(floors_broken(&snippet("src/cli/dev.rs", "use crate::server::Server;")).is_empty());
    assert!(floors_broken(&snippet("src/main.rs", "use ketcd::cli;")).is_empty());
    assert_eq!(floors_broken(&snippet("src/metadata/x.rs", "use crate::log::Log;")).len(), 1);
    assert_eq!(floors_broken(&snippet("src/attic/x.rs", "")).len(), 1);
}

#[test]
fn the_doors_check_sees_a_stranger_at_each_door() {
    for text in [
        "use etcd_client::Client;",
        "use kafka_protocol::messages::FetchRequest;",
        "use kafka_protocol::{messages::FetchRequest, protocol::Decodable};",
        "use memmap2::Mmap;",
        "fn f() { unsafe { g() } }",
        "use std::fs;",
        "use std::{fs, io};",
        "use std::{\n    io,\n    fs::File,\n};",
        "fn f() { tokio::fs::read(p) }",
        "let now = Instant::now();",
        "let now = std::time::SystemTime::now();",
        "Uuid::new_v4()",
        "use tokio::net::TcpStream;",
        "use std::net::{SocketAddr, TcpListener};",
    ] {
        assert_eq!(doors_broken(&snippet("src/broker/x.rs", text)).len(), 1, "{text}");
    }
}

#[test]
fn the_doors_check_lets_keepers_tests_and_mere_words_pass() {
    for (path, text) in [
        ("src/metadata/txn.rs", "use etcd_client::Txn;"),
        ("src/handlers/fetch.rs", "use kafka_protocol::messages::FetchRequest;"),
        ("src/sys/map.rs", "use memmap2::Mmap; fn f() { unsafe { g() } } use std::fs::File;"),
        ("src/types/clock.rs", "Instant::now()"),
        ("src/server/x.rs", "use tokio::net::TcpStream;"),
        (
            "src/broker/x.rs",
            "#![deny(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\"; use std::net::SocketAddr;",
        ),
        (
            "src/broker/x.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn g() { Instant::now(); }\n}\n",
        ),
        ("src/broker/x.rs", "#[cfg(test)]\nfn only_for_tests() { std::fs::read(p); }\n"),
        ("src/broker/x.rs", "use std::fsync_like; use std::{fmt, io}; let fs = 1;"),
        ("src/broker/x.rs", "let at = tokio::time::Instant::now();"),
        ("tests/broker/x.rs", "use std::fs;"),
    ] {
        assert_eq!(doors_broken(&snippet(path, text)), Vec::<String>::new(), "{text}");
    }
    let after = "#[cfg(test)]\nmod tests { fn f() { g(\"}\") } }\nuse std::fs;";
    assert_eq!(doors_broken(&snippet("src/broker/x.rs", after)).len(), 1);
}

#[test]
fn a_file_that_is_a_test_module_is_known_by_its_declaration() {
    let parent = snippet("src/log/append.rs", "#[cfg(test)]\nmod model;\nmod real;");
    let room = snippet("src/log/mod.rs", "#[cfg(test)] mod crash;");
    let tests = test_modules(&[parent, room]);
    assert!(snippet("src/log/append/model.rs", "").is_under(&tests[0]));
    assert!(!snippet("src/log/append/real.rs", "").is_under(&tests[0]));
    assert!(snippet("src/log/crash.rs", "").is_under(&tests[1]));
    assert!(snippet("src/log/crash/steps.rs", "").is_under(&tests[1]));
}

#[test]
fn the_words_check_sees_what_is_unfinished() {
    for (path, text) in [
        ("src/log/x.rs", "// TODO later"),
        ("src/log/x.rs", "/* FIXME */"),
        ("src/log/x.rs", "fn f() { todo!() }"),
        ("src/log/x.rs", "fn f() { unimplemented!(\"x\") }"),
        ("tests/broker/x.rs", "#[ignore]\n#[test]\nfn f() {}"),
        ("tests/broker/x.rs", "#[ignore = \"slow\"]\n#[test]\nfn f() {}"),
        ("src/replication/core.rs", "use std::collections::HashMap;"),
    ] {
        assert_eq!(words_broken(&snippet(path, text)).len(), 1, "{text}");
    }
    for text in ["const A: &str = \"TODO\";", "// XXXL, todos", "use std::collections::HashMap;"] {
        assert!(words_broken(&snippet("src/log/x.rs", text)).is_empty(), "{text}");
    }
}

#[test]
fn the_size_check_counts_lines() {
    assert!(size_broken(&snippet("src/log/x.rs", &"x\n".repeat(LINES_MAX))).is_none());
    assert!(size_broken(&snippet("src/log/x.rs", &"x\n".repeat(LINES_MAX + 1))).is_some());
}

#[test]
fn the_handlers_check_sees_a_file_without_its_registry_line() {
    let registry = "pub static REGISTRY: &[Endpoint] = &[\n    raw_endpoint::<produce::Produce>(),\n    // endpoint::<metadata::Metadata>(),\n];";
    let sources = [
        snippet("src/handlers/mod.rs", registry),
        snippet("src/handlers/produce.rs", ""),
        snippet("src/handlers/metadata.rs", ""),
        snippet("src/handlers/fetch/mod.rs", ""),
        snippet("src/handlers/fetch/limits.rs", ""),
        snippet("src/handlers/reply.rs", ""),
    ];
    let broken = handlers_broken(&sources);
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken[0].contains("metadata") && broken[1].contains("fetch"));
    assert!(handlers_broken(&[snippet("src/handlers/metadata.rs", "")]).is_empty());
}
