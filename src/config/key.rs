//! One configuration key: everything that is known about it, declared once.

use std::fmt;

/// The type of a value, as Kafka's `ConfigDef.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32 bits, signed.
    Int,
    /// 16 bits, signed.
    Short,
    /// 64 bits, signed.
    Long,
    /// A floating point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A secret text: never shown.
    Password,
}

impl Kind {
    /// The number of the type in DescribeConfigs (`DescribeConfigsResponse.ConfigType`).
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// The name of the type as Kafka's documentation writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }

    /// Whether values are numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Short | Self::Long | Self::Double)
    }
}

/// Which values of a key's type are legal, as Kafka's validators.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// Every value of the type. A list may be empty, but has no empty and no repeated entry.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// A number from the first to the second, both included, or the third.
    BetweenOr(i64, i64, i64),
    /// A fraction from the first to the second, both included.
    Fraction(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these entries, each at most once. The flag: it may be empty.
    ListOf(&'static [&'static str], bool),
    /// A list or a text that is not empty.
    NonEmpty,
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
}

impl fmt::Display for Check {
    /// The rule as the end of a sentence that starts with "must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("of its type"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::Between(least, most) => write!(f, "from {least} to {most}"),
            Self::BetweenOr(least, most, or) => write!(f, "from {least} to {most}, or {or}"),
            Self::Fraction(least, most) => write!(f, "from {least} to {most}"),
            Self::OneOf(texts) => write!(f, "one of {}", texts.join(", ")),
            Self::OneOfAnyCase(texts) => write!(f, "one of {}", texts.join(", ")),
            Self::ListOf(texts, _) => write!(f, "a list of {}, each at most once", texts.join(", ")),
            Self::NonEmpty => f.write_str("not empty"),
            Self::ThrottledReplicas => f.write_str("* or a list of partition:broker pairs"),
        }
    }
}

/// What a number counts. Gives human forms: `7d`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    None,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Length of one unit of time, in milliseconds; `None` if this is not a time.
    #[must_use]
    pub const fn millis(self) -> Option<i64> {
        match self {
            Self::Millis => Some(1),
            Self::Seconds => Some(1000),
            Self::Minutes => Some(60_000),
            Self::Hours => Some(3_600_000),
            Self::None | Self::Bytes => None,
        }
    }

    /// The unit as a word; empty for a plain number.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Millis => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Bytes => "bytes",
        }
    }
}

/// How much a key matters, as Kafka's `ConfigDef.Importance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Everybody should know it.
    High,
    /// Worth knowing.
    Medium,
    /// For special cases.
    Low,
}

/// When a key may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only by a restart.
    ReadOnly,
    /// At run time, for one broker at a time.
    PerBroker,
    /// At run time, for one broker or for all.
    ClusterWide,
    /// At run time, for one topic.
    Topic,
    /// At run time, for one group.
    Group,
}

/// What ketcd does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// It has Kafka's effect.
    Effective,
    /// One of ketcd's own keys.
    Ours,
    /// Accepted without effect; the reason is said once at start.
    NoEffect(&'static str),
    /// A value other than the default is an error, because to ignore it would be dangerous; with the cure.
    Refused(&'static str),
}

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Kafka's dotted name.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Default in Kafka's text form; `None` where Kafka has none (`null`).
    pub default: Option<&'static str>,
    /// Which values are legal.
    pub check: Check,
    /// What a number counts.
    pub unit: Unit,
    /// How much it matters.
    pub importance: Importance,
    /// When it may change.
    pub update: Update,
    /// Kept out of DescribeConfigs unless it is set, as Kafka's internal keys.
    pub internal: bool,
    /// What ketcd does with it.
    pub tier: Tier,
    /// One to three sentences for users.
    pub doc: &'static str,
    /// For a topic key: the broker keys that give its value where the topic has none, finest first.
    pub twins: &'static [Twin],
    /// Other keys worth reading about.
    pub see: &'static [&'static str],
}

/// The broker key behind a topic key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// Name of the broker key.
    pub name: &'static str,
    /// Factor from the broker key's unit to the topic key's: 3,600,000 from hours to milliseconds.
    pub factor: i64,
}

/// A broker key in the same unit as its topic key.
pub(super) const fn twin(name: &'static str) -> Twin {
    Twin { name, factor: 1 }
}

/// A broker key in minutes behind a topic key in milliseconds.
pub(super) const fn twin_minutes(name: &'static str) -> Twin {
    Twin { name, factor: 60_000 }
}

/// A broker key in hours behind a topic key in milliseconds.
pub(super) const fn twin_hours(name: &'static str) -> Twin {
    Twin { name, factor: 3_600_000 }
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: Option<&'static str>, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default,
            check: Check::Any,
            unit: unit_of(name, kind),
            importance: Importance::Medium,
            update: Update::ReadOnly,
            internal: false,
            tier: Tier::Effective,
            doc,
            twins: &[],
            see: &[],
        }
    }

    pub(super) const fn boolean(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Boolean, Some(default), doc)
    }

    pub(super) const fn string(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::String, Some(default), doc)
    }

    pub(super) const fn int(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Int, Some(default), doc)
    }

    pub(super) const fn short(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Short, Some(default), doc)
    }

    pub(super) const fn long(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Long, Some(default), doc)
    }

    pub(super) const fn double(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Double, Some(default), doc)
    }

    pub(super) const fn list(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::List, Some(default), doc)
    }

    pub(super) const fn class(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Class, Some(default), doc)
    }

    pub(super) const fn password(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Password, None, doc)
    }

    /// Without a default: Kafka's `null`, or a key that Kafka demands.
    pub(super) const fn unset(mut self) -> Self {
        self.default = None;
        self
    }

    pub(super) const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    pub(super) const fn at_least(self, least: i64) -> Self {
        self.check(Check::AtLeast(least))
    }

    pub(super) const fn between(self, least: i64, most: i64) -> Self {
        self.check(Check::Between(least, most))
    }

    pub(super) const fn one_of(self, texts: &'static [&'static str]) -> Self {
        self.check(Check::OneOf(texts))
    }

    pub(super) const fn non_empty(self) -> Self {
        self.check(Check::NonEmpty)
    }

    pub(super) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }

    pub(super) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.update = Update::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Self {
        self.update = Update::ClusterWide;
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    pub(super) const fn twins(mut self, twins: &'static [Twin]) -> Self {
        self.twins = twins;
        self
    }

    pub(super) const fn see(mut self, see: &'static [&'static str]) -> Self {
        self.see = see;
        self
    }

    /// Whether the value is a secret.
    #[must_use]
    pub const fn sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Whether setting the key changes anything.
    #[must_use]
    pub const fn takes_effect(&self) -> bool {
        matches!(self.tier, Tier::Effective | Tier::Ours)
    }
}

/// The unit that a number's name ends in, by Kafka's habit (`log.retention.ms`, `fetch.max.bytes`).
const fn unit_of(name: &str, kind: Kind) -> Unit {
    if !kind.is_number() {
        Unit::None
    } else if ends_with(name, ".ms") {
        Unit::Millis
    } else if ends_with(name, ".seconds") {
        Unit::Seconds
    } else if ends_with(name, ".minutes") {
        Unit::Minutes
    } else if ends_with(name, ".hours") {
        Unit::Hours
    } else if ends_with(name, ".bytes") {
        Unit::Bytes
    } else {
        Unit::None
    }
}

/// `str::ends_with` for constants.
const fn ends_with(text: &str, end: &str) -> bool {
    match text.as_bytes().split_at_checked(text.len().saturating_sub(end.len())) {
        Some((_, tail)) => bytes_equal(tail, end.as_bytes()),
        None => false,
    }
}

const fn bytes_equal(mut left: &[u8], mut right: &[u8]) -> bool {
    loop {
        match (left, right) {
            ([], []) => return true,
            ([a, left_rest @ ..], [b, right_rest @ ..]) if *a == *b => {
                left = left_rest;
                right = right_rest;
            }
            _ => return false,
        }
    }
}
