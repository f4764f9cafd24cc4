//! The log: structured lines on stderr, in one of three forms, with a level that can change while the broker runs.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// How a line looks (`log.format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For eyes: time, level, target, message, fields.
    #[default]
    Pretty,
    /// `ts=.. level=.. target=.. msg=".." key=value`.
    Logfmt,
    /// One JSON object a line, keys `ts level target msg` and the fields.
    Json,
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(name: &str) -> Result<Self, UnknownLogFormat> {
        match name {
            "pretty" => Ok(Self::Pretty),
            "logfmt" => Ok(Self::Logfmt),
            "json" => Ok(Self::Json),
            _ => Err(UnknownLogFormat { name: name.to_owned() }),
        }
    }
}

/// There is no such format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log format {name:?} is none of pretty, logfmt, json")]
pub struct UnknownLogFormat {
    /// What was asked for.
    pub name: String,
}

/// Why the log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The text is not a level or a list of `target=level`.
    #[error("log level {level:?} is not understood: {reason}")]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody in this process was faster.
    #[error("the log is already set up")]
    AlreadySetUp,
    /// The subscriber is gone: the process is about to end.
    #[error("the log has ended")]
    Ended,
}

/// Changes the level of the running log.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Changes the level: `info`, or `info,ketcd::metadata=debug`.
    ///
    /// # Errors
    /// [`LoggingError::Level`] if the text is not understood: the level stays as it was.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        let filter = parse_level(level)?;
        self.0.reload(filter).map_err(|_| LoggingError::Ended)
    }

    /// The level as it is now.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }
}

/// Starts the log of this process. `colours`: whether stderr shows them (pretty form only).
///
/// # Errors
/// A level that is not understood, or a log that was already set up.
pub fn start(format: LogFormat, level: &str, colours: bool) -> Result<LogLevel, LoggingError> {
    let (filter, handle) = reload::Layer::new(parse_level(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let lines = match format {
        LogFormat::Pretty => lines.with_target(true).boxed(),
        LogFormat::Logfmt => lines.with_ansi(false).event_format(Lines::Logfmt).boxed(),
        LogFormat::Json => lines.with_ansi(false).event_format(Lines::Json).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| LoggingError::AlreadySetUp)?;
    Ok(LogLevel(handle))
}

fn parse_level(level: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(level)
        .map_err(|error| LoggingError::Level { level: level.to_owned(), reason: error.to_string() })
}

/// The two machine-readable forms.
#[derive(Debug, Clone, Copy)]
enum Lines {
    Logfmt,
    Json,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let message = fields.0.remove("message").unwrap_or_else(|| Value::String(String::new()));
        let head = [
            ("ts", Value::String(time)),
            ("level", Value::String(level_name(*metadata.level()).to_owned())),
            ("target", Value::String(metadata.target().to_owned())),
            ("msg", message),
        ];
        let fields = head.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(fields.0);
        match self {
            Self::Json => writeln!(writer, "{}", Value::Object(fields.collect())),
            Self::Logfmt => {
                for (index, (key, value)) in fields.enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    write!(writer, "{space}{key}={}", logfmt_value(&value))?;
                }
                writeln!(writer)
            }
        }
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Plain where it can be, quoted and escaped as JSON where it must (rule X13: what a client sent cannot forge a line).
fn logfmt_value(value: &Value) -> String {
    match value {
        Value::String(text)
            if !text.is_empty()
                && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=') =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// The fields of an event, in the order of their names.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Lines, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).event_format(format);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_the_known_keys() {
        let line = logged(Lines::Json, || tracing::info!(partition = 3, topic = %"a b", "log \"opened\""));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "info");
        assert_eq!(value["msg"], "log \"opened\"");
        assert_eq!(value["partition"], 3);
        assert_eq!(value["topic"], "a b");
        assert!(value["ts"].as_str().unwrap().starts_with("20"));
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_logfmt_line_cannot_be_forged_by_a_newline_in_a_field() {
        let line =
            logged(Lines::Logfmt, || tracing::warn!(client_id = "x\nlevel=error msg=forged", "closed"));
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("level=warn"), "{line}");
        assert!(line.contains(r#"client_id="x\nlevel=error msg=forged""#), "{line}");
    }

    #[test]
    fn an_unknown_level_says_what_is_wrong() {
        assert!(matches!(parse_level("ketcd=loud"), Err(LoggingError::Level { .. })));
        assert!(parse_level("info,ketcd::metadata=debug").is_ok());
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
