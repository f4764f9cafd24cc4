//! Stories of groups as files: what is asked, and what the shard answers, writes and waits for.
//!
//! A file under `classic/`, `consumer/` or `offsets/` begins with a comment that tells the story and its source. Then, one a line:
//!
//! - `at 150ms`: the time goes on to then; every deadline on the way is acted on;
//! - `set max_size=1`: a setting of the coordinator; `topics orders=3 payments=1`: the cluster's topics from now on;
//! - `reload`: another broker takes over: what is not written is lost;
//! - `alice> join group=g`: a request ([`parse`] says which there are and what they take); `alice` names it until it is answered.
//!
//! Lines that begin with two spaces are effects, in this order: records, answers (`alice< join ...`), deadlines that are new or moved
//! (sessions are not shown). Effects of a deadline stand under `at`, with its time. `KETCD_BLESS=1` writes them anew; the difference is
//! to be read like code. After each file all its records are replayed on an empty shard, which has to know what the first one knows.

mod parse;
mod show;
pub(in crate::coordinator::group) mod world;

use std::path::{Path, PathBuf};

use self::world::World;

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/group/transcripts");
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            files.extend(std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// The file with the effects that the shard really has.
fn performed(name: &str, script: &str) -> String {
    let mut world = World::default();
    let mut text = String::new();
    for (number, line) in script.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let effects =
            parse::perform(&mut world, line).unwrap_or_else(|why| panic!("{name}:{}: {why}", number + 1));
        for effect in effects {
            text.push_str("  ");
            text.push_str(&effect);
            text.push('\n');
        }
    }
    world.assert_replayed_is_the_same(name);
    text
}

#[test]
fn every_transcript_is_what_happens() {
    let bless = std::env::var_os("KETCD_BLESS").is_some();
    let mut differing = Vec::new();
    for file in files() {
        let name = format!(
            "{}/{}",
            file.parent().unwrap().file_name().unwrap().display(),
            file.file_name().unwrap().display()
        );
        let script = std::fs::read_to_string(&file).unwrap();
        assert!(script.starts_with("# "), "{name} does not begin with its story");
        let happened = performed(&name, &script);
        if happened == script {
            continue;
        }
        if bless {
            std::fs::write(&file, happened).unwrap();
        } else {
            differing.push(difference(&name, &script, &happened));
        }
    }
    assert!(
        differing.is_empty(),
        "{}\nKETCD_BLESS=1 writes what happened; read the difference",
        differing.join("\n")
    );
}

/// The first lines that differ, with what stands before them.
fn difference(name: &str, expected: &str, happened: &str) -> String {
    let same = expected.lines().zip(happened.lines()).take_while(|(a, b)| a == b).count();
    let some = |text: &str, mark: &str| {
        let lines = text.lines().skip(same).take(4);
        lines.map(|line| format!("{mark}{line}\n")).collect::<String>()
    };
    let before: String =
        expected.lines().skip(same.saturating_sub(3)).take(same.min(3)).map(|l| format!(" {l}\n")).collect();
    format!("{name}:{}\n{before}{}{}", same + 1, some(expected, "-"), some(happened, "+"))
}

#[test]
fn there_are_stories_of_the_classic_protocol() {
    let classic = files().iter().filter(|file| file.parent().unwrap().ends_with("classic")).count();
    assert!(classic >= 20, "only {classic}");
}
