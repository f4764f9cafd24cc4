//! What goes to stdout: tables for people, JSON for programs. Talk goes to stderr.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use comfy_table::{ContentArrangement, Table as Grid, presets};
use serde::Serialize;

use super::exit::Outcome;

/// The forms that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns with headings.
    #[default]
    Table,
    /// As table, with more columns.
    Wide,
    /// One JSON document; its fields are stable.
    Json,
    /// One row a line, tab between fields, no headings.
    Plain,
}

/// The option that every command with an answer has.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OutputArgs {
    /// Form of the answer
    #[arg(
        short = 'o',
        long = "output",
        value_name = "table|wide|json|plain",
        value_enum,
        hide_possible_values = true,
        default_value_t = Format::Table
    )]
    pub format: Format,
}

/// A buffered stdout. Flush it before the command ends.
pub type Stdout = BufWriter<io::StdoutLock<'static>>;

/// Takes stdout, buffered.
#[must_use]
pub fn stdout() -> Stdout {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Prints one JSON document.
///
/// # Errors
/// If stdout cannot be written.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Outcome {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints lines of text.
///
/// # Errors
/// If stdout cannot be written.
pub fn text(text: &str) -> Outcome {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Rows under headings. Columns beyond the narrow ones show only in `-o wide`.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<&'static str>,
    narrow: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), narrow: headings.len(), rows: Vec::new() }
    }

    /// Adds headings that only `-o wide` and `-o plain` show.
    #[must_use]
    pub fn wide(mut self, headings: &[&'static str]) -> Self {
        self.headings.extend_from_slice(headings);
        self
    }

    /// Adds a row, one cell for each heading.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }

    /// The text of the table in `format`; empty cells show as `-`.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let shown = if format == Format::Table { self.narrow } else { self.headings.len() };
        let cell = |text: &String| if text.is_empty() { "-".to_owned() } else { text.clone() };
        if format == Format::Plain {
            let lines =
                self.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("\t") + "\n");
            return lines.collect();
        }
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(self.headings.iter().take(shown));
        for row in &self.rows {
            grid.add_row(row.iter().take(shown).map(cell));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        grid.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// Prints the table.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn print(&self, format: Format) -> Outcome {
        text(&self.render(format))
    }
}

/// A number of bytes for people: `1.2 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().iec().to_string()
}

/// `1 broker`, `3 topics`: a count with its noun.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Numbers with commas between, as in lists of replicas; `-` if there are none.
#[must_use]
pub fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let mut table = Table::new(&["ID", "ADDRESS"]).wide(&["RACK"]);
        table.row(&[&0, &"localhost:9092", &"a"]);
        table.row(&[&10, &"h:1", &""]);
        assert_eq!(table.render(Format::Table), "ID  ADDRESS\n0   localhost:9092\n10  h:1\n");
        assert_eq!(
            table.render(Format::Wide),
            "ID  ADDRESS         RACK\n0   localhost:9092  a\n10  h:1             -\n"
        );
        assert_eq!(table.render(Format::Plain), "0\tlocalhost:9092\ta\n10\th:1\t-\n");
    }

    #[test]
    fn counts_and_sizes_read_well() {
        assert_eq!(count(1, "broker"), "1 broker");
        assert_eq!(count(0, "topic"), "0 topics");
        assert_eq!(bytes(1_258_291), "1.2 MiB");
        assert_eq!(list(&[1, 2]), "1,2");
    }
}
