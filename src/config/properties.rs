//! Kafka's `server.properties`: Java's format, with line numbers.

use java_properties::{LineContent, PropertiesIter};

use super::merge::Entry;
use super::origin::Origin;
use super::problem::Problem;

/// Reads every `key=value` of `text`. A key that stands twice counts as Java counts it, the last one, with a warning.
pub fn read(path: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in PropertiesIter::new(text.as_bytes()) {
        match line {
            Ok(line) => {
                let origin = Origin::File { path: path.to_owned(), line: line.line_number() };
                if let LineContent::KVPair(name, value) = line.consume_content() {
                    if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                        problems.push(
                            Problem::warning(format!("{name} is set twice"))
                                .at(&origin)
                                .detail(format!("also at {}; this one counts", first.origin))
                                .help("remove one of them"),
                        );
                    }
                    entries.push(Entry { name, value, origin });
                }
            }
            Err(error) => {
                let line = error.line_number().unwrap_or_default();
                let origin = Origin::File { path: path.to_owned(), line };
                problems.push(
                    Problem::error("this line is not `key=value` of a properties file").at(&origin).help(
                        "a backslash is written \\\\, other characters by \\u and four hexadecimal digits",
                    ),
                );
            }
        }
    }
    entries
}
