//! `ketcd.toml`: Kafka's dotted names as nested tables, with line numbers.
//!
//! `[log.retention] ms = "7d"`, `log.retention.ms = "7d"` and `"log.retention.ms" = "7d"` all say the same.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::merge::Entry;
use super::origin::Origin;
use super::problem::Problem;

/// Reads every value of `text`, flattened to dotted names. Everything that is not TOML is a problem, all at once.
pub fn read(path: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, entries: Vec::new(), problems };
    for error in errors {
        let place = reader.place(&error.span().unwrap_or(0..0));
        let message = error.message().lines().next().unwrap_or("invalid").to_owned();
        reader.problems.push(
            Problem::error(format!("this is not TOML: {message}"))
                .at(&place)
                .help("texts stand in quotes: log.dirs = [\"/data\"], log.retention.ms = \"7d\""),
        );
    }
    reader.table("", table.get_ref());
    reader.entries
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    entries: Vec<Entry>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, span: &Range<usize>) -> Origin {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Origin::File { path: self.path.to_owned(), line }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let name = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            let origin = self.place(&value.span());
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&name, inner),
                DeValue::Array(entries) => {
                    let texts: Option<Vec<String>> =
                        entries.iter().map(|entry| scalar(entry.get_ref())).collect();
                    match texts {
                        Some(texts) => self.entries.push(Entry { name, value: texts.join(","), origin }),
                        None => self.not_a_value(&name, &origin),
                    }
                }
                other => match scalar(other) {
                    Some(value) => self.entries.push(Entry { name, value, origin }),
                    None => self.not_a_value(&name, &origin),
                },
            }
        }
    }

    fn not_a_value(&mut self, name: &str, origin: &Origin) {
        let problem =
            Problem::error(format!("{name} is neither a text, a number, a boolean nor a list of these"));
        self.problems.push(problem.at(origin).help("write times and dates as texts in quotes"));
    }
}

/// The text of a value that is not a table, an array or a date.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.to_string()),
            Err(_) => Some(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
