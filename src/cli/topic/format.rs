//! One consumed record as text: a format in kcat's letters, or a line of JSON.

use std::io::{self, Write};

use serde::Serialize;

/// A record as it is printed.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since the epoch; -1 is none.
    pub timestamp: i64,
    /// The timestamp is the broker's.
    pub log_append_time: bool,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A format text, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

impl Pattern {
    /// Reads a format: `%t` topic, `%p` partition, `%o` offset, `%T` timestamp, `%k` key, `%K` its length (-1 if null), `%s` value,
    /// `%S` its length, `%h` headers, `%%`; `\n`, `\t`, `\r`, `\0`, `\\`, `\xHH`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '%' => {
                    let letter = chars.next().ok_or("the format ends after %")?;
                    if letter == '%' {
                        literal.push(b'%');
                        continue;
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::of(letter)?);
                }
                '\\' => literal.push(escape(&mut chars)?),
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// Writes one record.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text)?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp)?,
                Piece::Key => out.write_all(record.key.unwrap_or_default())?,
                Piece::KeyLength => write_length(record.key, out)?,
                Piece::Value => out.write_all(record.value.unwrap_or_default())?,
                Piece::ValueLength => write_length(record.value, out)?,
                Piece::Headers => {
                    for (index, (key, value)) in record.headers.iter().enumerate() {
                        out.write_all(if index > 0 { b"," } else { b"" })?;
                        out.write_all(key)?;
                        out.write_all(b"=")?;
                        out.write_all(value.unwrap_or(b"NULL"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    fn of(letter: char) -> Result<Self, String> {
        Ok(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'T' => Self::Timestamp,
            'k' => Self::Key,
            'K' => Self::KeyLength,
            's' => Self::Value,
            'S' => Self::ValueLength,
            'h' => Self::Headers,
            other => return Err(format!("%{other} is not one of %t %p %o %T %k %K %s %S %h %%")),
        })
    }
}

fn write_length(bytes: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is not \\x and two hex digits"))
        }
        Some(other) => Err(format!("\\{other} is not one of \\n \\t \\r \\0 \\\\ \\xHH")),
        None => Err("the format ends after \\".to_owned()),
    }
}

/// Text if the bytes are UTF-8, else base64 and a word that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Plain(String),
    /// Anything else.
    Binary {
        /// The bytes in base64 (standard alphabet, padded).
        base64: String,
    },
}

impl Text {
    /// The text of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use base64::Engine as _;
        std::str::from_utf8(bytes).map_or_else(
            |_| Self::Binary { base64: base64::engine::general_purpose::STANDARD.encode(bytes) },
            |text| Self::Plain(text.to_owned()),
        )
    }
}

/// A record as `-o json` prints it, one a line. Fields are stable.
#[derive(Debug, Serialize)]
pub struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    timestamp_type: &'static str,
    key: Option<Text>,
    value: Option<Text>,
    headers: Vec<JsonHeader>,
}

#[derive(Debug, Serialize)]
struct JsonHeader {
    key: Text,
    value: Option<Text>,
}

impl<'a> From<&Shown<'a>> for JsonRecord<'a> {
    fn from(record: &Shown<'a>) -> Self {
        Self {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: Some(record.timestamp).filter(|ms| *ms >= 0),
            timestamp_type: if record.log_append_time { "LogAppendTime" } else { "CreateTime" },
            key: record.key.map(Text::of),
            value: record.value.map(Text::of),
            headers: record
                .headers
                .iter()
                .map(|(key, value)| JsonHeader { key: Text::of(key), value: value.map(Text::of) })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Shown<'static> = Shown {
        topic: "orders",
        partition: 2,
        offset: 7,
        timestamp: 1000,
        log_append_time: false,
        key: None,
        value: Some(b"hi"),
        headers: &[(b"a", Some(b"1")), (b"a", None)],
    };

    #[test]
    fn a_format_prints_every_part_of_a_record() {
        let pattern = Pattern::parse(r"%t-%p@%o %T [%k/%K] [%s/%S] %h 100%%\x41\t\\\n").unwrap();
        let mut out = Vec::new();
        pattern.write(&RECORD, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "orders-2@7 1000 [/-1] [hi/2] a=1,a=NULL 100%A\t\\\n");
    }

    #[test]
    fn a_wrong_format_says_what_is_allowed() {
        assert!(Pattern::parse("%q").unwrap_err().contains("%q is not one of"));
        assert!(Pattern::parse("x%").is_err());
        assert!(Pattern::parse(r"\q").is_err());
        assert!(Pattern::parse(r"\xZZ").is_err());
    }

    #[test]
    fn a_record_in_json_keeps_its_shape_and_its_bytes() {
        let binary = Shown { key: Some(&[0xff]), ..RECORD };
        assert_eq!(
            serde_json::to_string(&JsonRecord::from(&binary)).unwrap(),
            r#"{"topic":"orders","partition":2,"offset":7,"timestamp":1000,"timestamp_type":"CreateTime","key":{"base64":"/w=="},"value":"hi","headers":[{"key":"a","value":"1"},{"key":"a","value":null}]}"#
        );
    }
}
