//! From text to value: Kafka's parsing and checks (`ConfigDef.parseType`), and the human forms that ketcd adds.

use super::key::{Check, Key, Kind, Unit};

/// A value of a key, typed and checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// An int, a short or a long.
    Integer(i64),
    /// A double.
    Double(f64),
    /// A string, a class or a password.
    Text(String),
    /// A list.
    List(Vec<String>),
}

/// Why a text is not a value of its key, as the end of a sentence: "it ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

impl Value {
    /// Kafka's text form, as DescribeConfigs shows it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => double_text(*value),
            Self::Text(value) => value.clone(),
            Self::List(entries) => entries.join(","),
        }
    }

    /// The number; 0 for what is none.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(value) => *value,
            _ => 0,
        }
    }
}

/// `Double.toString` of Java, as far as configuration values need it.
fn double_text(value: f64) -> String {
    let text = value.to_string();
    if value.abs() >= 1e7 && value.is_finite() {
        let text = format!("{value:E}");
        if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
    } else if text.contains(['.', 'N', 'i']) {
        text
    } else {
        format!("{text}.0")
    }
}

/// Reads `text` as a value of `key` exactly as Kafka does, and checks it.
///
/// # Errors
/// [`InvalidValue`] says which rule is broken.
pub fn parse(key: &Key, text: &str) -> Result<Value, InvalidValue> {
    let value = parse_type(key.kind, text)?;
    check(key, &value)?;
    Ok(value)
}

/// As [`parse`], but also understands times (`7d`, `1h 30m`) and sizes (`1GiB`, `64 MB`) where the key has a unit.
///
/// # Errors
/// [`InvalidValue`] says which rule is broken.
pub fn parse_human(key: &Key, text: &str) -> Result<Value, InvalidValue> {
    match in_units(key, text)? {
        Some(number) => parse(key, &number.to_string()),
        None => parse(key, text),
    }
}

/// The number that a human form stands for, in the key's unit; `None` if `text` is not such a form.
fn in_units(key: &Key, text: &str) -> Result<Option<i64>, InvalidValue> {
    let text = text.trim();
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Ok(None);
    }
    if let Some(unit_ms) = key.unit.millis() {
        let Ok(duration) = humantime::parse_duration(text) else { return Ok(None) };
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if duration.subsec_nanos() % 1_000_000 != 0 || millis % unit_ms != 0 {
            return Err(InvalidValue(format!("is not a whole number of {}", key.unit.name())));
        }
        return Ok(Some(millis / unit_ms));
    }
    if key.unit == Unit::Bytes {
        let size = text.parse::<bytesize::ByteSize>().ok();
        return Ok(size.map(|size| i64::try_from(size.as_u64()).unwrap_or(i64::MAX)));
    }
    Ok(None)
}

fn parse_type(kind: Kind, text: &str) -> Result<Value, InvalidValue> {
    let trimmed = text.trim();
    match kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => Err(InvalidValue("must be true or false".to_owned())),
        Kind::Int => integer(trimmed, i32::MIN.into(), i32::MAX.into()),
        Kind::Short => integer(trimmed, i16::MIN.into(), i16::MAX.into()),
        Kind::Long => integer(trimmed, i64::MIN, i64::MAX),
        Kind::Double => trimmed
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Value::Double)
            .ok_or_else(|| InvalidValue("must be a number".to_owned())),
        Kind::String | Kind::Class => Ok(Value::Text(trimmed.to_owned())),
        Kind::Password => Ok(Value::Text(text.to_owned())),
        Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(trimmed.split(',').map(|entry| entry.trim().to_owned()).collect())),
    }
}

fn integer(text: &str, least: i64, most: i64) -> Result<Value, InvalidValue> {
    let number: i128 = text.parse().map_err(|_| InvalidValue("must be a whole number".to_owned()))?;
    match i64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(Value::Integer(number)),
        _ => Err(InvalidValue(format!("must be a whole number from {least} to {most}"))),
    }
}

/// Checks the rules of `key` that go beyond its type.
fn check(key: &Key, value: &Value) -> Result<(), InvalidValue> {
    if let Value::List(entries) = value {
        check_entries(entries)?;
    }
    let legal = match (key.check, value) {
        (Check::AtLeast(least), Value::Integer(number)) => *number >= least,
        (Check::Between(least, most), Value::Integer(number)) => (least..=most).contains(number),
        (Check::BetweenOr(least, most, or), Value::Integer(number)) => {
            (least..=most).contains(number) || *number == or
        }
        (Check::Fraction(least, most), Value::Double(number)) => (least..=most).contains(number),
        (Check::OneOf(texts), Value::Text(text)) => texts.contains(&text.as_str()),
        (Check::OneOfAnyCase(texts), Value::Text(text)) => {
            texts.iter().any(|one| one.eq_ignore_ascii_case(text))
        }
        (Check::ListOf(texts, empty), Value::List(entries)) => {
            (empty || !entries.is_empty()) && entries.iter().all(|entry| texts.contains(&entry.as_str()))
        }
        (Check::NonEmpty, Value::Text(text)) => !text.is_empty(),
        (Check::NonEmpty, Value::List(entries)) => !entries.is_empty(),
        (Check::ThrottledReplicas, Value::List(entries)) => throttled_replicas(entries),
        _ => true,
    };
    if legal { Ok(()) } else { Err(InvalidValue(format!("must be {}", key.check))) }
}

/// No list of Kafka has an empty or a repeated entry.
fn check_entries(entries: &[String]) -> Result<(), InvalidValue> {
    if entries.iter().any(String::is_empty) {
        return Err(InvalidValue("has an empty entry".to_owned()));
    }
    let mut seen = std::collections::BTreeSet::new();
    match entries.iter().find(|entry| !seen.insert(entry.as_str())) {
        Some(twice) => Err(InvalidValue(format!("names {twice} twice"))),
        None => Ok(()),
    }
}

/// `*`, or `partition:broker` pairs (`ThrottledReplicaListValidator`).
fn throttled_replicas(entries: &[String]) -> bool {
    let pair = |entry: &String| {
        entry.split_once(':').is_some_and(|(partition, broker)| {
            [partition, broker].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    matches!(entries, [all] if all == "*") || entries.iter().all(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_forms_are_read_in_the_unit_of_the_key() {
        let hours = Key::int("log.retention.hours", "168", "");
        assert_eq!(parse_human(&hours, "7d").unwrap(), Value::Integer(168));
        assert_eq!(parse_human(&hours, "12").unwrap(), Value::Integer(12));
        assert_eq!(parse_human(&hours, "90m").unwrap_err().0, "is not a whole number of hours");
        let millis = Key::long("segment.ms", "1", "");
        assert_eq!(parse_human(&millis, "1h 30m").unwrap(), Value::Integer(5_400_000));
        assert!(parse_human(&millis, "0.5 fortnights").is_err());
        let bytes = Key::int("segment.bytes", "1", "");
        assert_eq!(parse_human(&bytes, "1 GiB").unwrap(), Value::Integer(1 << 30));
        assert_eq!(parse_human(&bytes, "64kB").unwrap(), Value::Integer(64_000));
        assert_eq!(
            parse_human(&bytes, "4GiB").unwrap_err().0,
            "must be a whole number from -2147483648 to 2147483647"
        );
        assert!(parse(&bytes, "1GiB").is_err(), "Kafka's own form knows no units");
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (value, text) in
            [(0.5, "0.5"), (1.0, "1.0"), (f64::MAX, "1.7976931348623157E308"), (1e9, "1.0E9")]
        {
            assert_eq!(Value::Double(value).to_text(), text);
        }
    }
}
