//! How a command ends: exit codes, and errors that say cause, place and cure.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::protocol::error::ErrorCode;
use crate::protocol::peer::PeerError;

/// The exit codes of every command (those above 2 are the ones of `sysexits.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the command was understood and failed.
    Failure,
    /// 2: the command line is wrong.
    Usage,
    /// 69: a broker or etcd cannot be reached.
    Unreachable,
    /// 70: a fault of ketcd itself.
    Internal,
    /// 75: try again later.
    Temporary,
    /// 78: the configuration is wrong.
    Config,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Internal => 70,
            Self::Temporary => 75,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What a command gives back: how it ended, or what to tell the user.
pub type Outcome<T = ()> = Result<T, CliError>;

/// An error as the user sees it. Printed on stderr as
/// ```text
/// error: topic "orders" does not exist
///   --> localhost:9092
/// help: create it: ketcd topic create orders
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// The code to exit with.
    pub exit: Exit,
    /// What is wrong, in one sentence.
    pub cause: String,
    /// Where: an address, a file, an option.
    pub place: Option<String>,
    /// What to do about it, one line each.
    pub cures: Vec<String>,
    /// The reader of stdout went away: nothing is said.
    pub quiet: bool,
}

impl CliError {
    /// An error that ends with `exit` because of `cause`.
    #[must_use]
    pub fn new(exit: Exit, cause: impl Into<String>) -> Self {
        Self { exit, cause: cause.into(), place: None, cures: Vec::new(), quiet: false }
    }

    /// The command was understood and failed.
    #[must_use]
    pub fn failure(cause: impl Into<String>) -> Self {
        Self::new(Exit::Failure, cause)
    }

    /// The command line is wrong.
    #[must_use]
    pub fn usage(cause: impl Into<String>) -> Self {
        Self::new(Exit::Usage, cause)
    }

    /// Adds where it happened.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Adds a line on what to do.
    #[must_use]
    pub fn help(mut self, cure: impl Into<String>) -> Self {
        self.cures.push(cure.into());
        self
    }

    /// An error code in an answer: `what` failed at `place`. The broker's own message wins over Kafka's default one.
    #[must_use]
    pub fn from_code(what: &str, code: i16, message: Option<&str>) -> Self {
        let Some(error) = ErrorCode::from_code(code) else {
            return Self::failure(format!("{what}: error {code}, which Kafka 4.3 does not know"));
        };
        let detail = message.filter(|text| !text.is_empty()).unwrap_or_else(|| error.message());
        let exit = if error.retriable() { Exit::Temporary } else { Exit::Failure };
        let mut built = Self::new(exit, format!("{what}: {} ({detail})", error.name()));
        built.cures.extend(cure_of(error).map(str::to_owned));
        built
    }
}

/// What a user can do about an error that a broker answers with.
const fn cure_of(error: ErrorCode) -> Option<&'static str> {
    match error {
        ErrorCode::UnknownTopicOrPartition => Some("see what there is: ketcd topic list"),
        ErrorCode::TopicAlreadyExists => {
            Some("look at it: ketcd topic describe NAME; or allow it: --if-not-exists")
        }
        ErrorCode::InvalidReplicationFactor => Some(
            "a replication factor cannot exceed the number of brokers (ketcd cluster); -r -1 takes the broker's default",
        ),
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            Some("raise the topic's limit: ketcd topic alter NAME -c max.message.bytes=BYTES")
        }
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            Some("fewer replicas are in sync than min.insync.replicas asks for: ketcd cluster health")
        }
        ErrorCode::InvalidConfig => Some("what a key means and allows: ketcd config explain KEY"),
        ErrorCode::GroupIdNotFound => Some("see what there is: ketcd group list"),
        ErrorCode::NonEmptyGroup => {
            Some("stop its consumers first; who they are: ketcd group describe GROUP")
        }
        ErrorCode::GroupSubscribedToTopic => {
            Some("a member reads the topic: ketcd group describe GROUP; stop it first")
        }
        ErrorCode::KafkaStorageError => Some("the broker's disk is full or failed: see its log"),
        _ => None,
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.cause)?;
        if let Some(place) = &self.place {
            writeln!(f, "  --> {place}")?;
        }
        for (index, cure) in self.cures.iter().enumerate() {
            writeln!(f, "{} {cure}", if index == 0 { "help:" } else { "     " })?;
        }
        Ok(())
    }
}

impl From<PeerError> for CliError {
    fn from(error: PeerError) -> Self {
        let exit = if error.is_unreachable() { Exit::Unreachable } else { Exit::Failure };
        let cause = error.to_string();
        let built = Self::new(exit, cause);
        match error {
            PeerError::Refused { .. } => built
                .help("start a broker there: ketcd dev")
                .help("or name another one: -b HOST:PORT, or KETCD_BROKERS=HOST:PORT"),
            PeerError::Unresolved { .. } => built.help("name a broker that this machine can resolve: -b HOST:PORT").help(
                "if the name came from a broker's metadata, its advertised.listeners must be a name that clients know",
            ),
            PeerError::ConnectTimeout { .. } => {
                built.help("is the address reachable from here (firewall, advertised.listeners)? --timeout waits longer")
            }
            PeerError::LooksLikeTls { .. } => {
                built.help("use the broker's PLAINTEXT listener: this program does not speak TLS yet")
            }
            PeerError::LooksLikeHttp { .. } => {
                built.help("that port serves HTTP; a broker's Kafka port is usually 9092")
            }
            PeerError::Closed { .. } => {
                built.help("a listener for TLS or SASL closes plain connections like this: use a PLAINTEXT listener")
            }
            PeerError::Timeout { .. } => built.help("--timeout waits longer; `ketcd cluster health` looks at the brokers"),
            PeerError::FrameTooLarge { .. } | PeerError::WrongCorrelation { .. } | PeerError::Undecodable { .. } => {
                built.help("is it a Kafka broker that listens there?")
            }
            PeerError::NotServed { .. } => built.help("the broker is too old or too new for this command"),
            PeerError::Unencodable { .. } => Self { exit: Exit::Internal, ..built },
            PeerError::Io { .. } => built,
        }
    }
}

impl From<io::Error> for CliError {
    /// An error of writing to stdout: a reader that went away is not worth a word.
    fn from(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let exit = if quiet { Exit::Done } else { Exit::Failure };
        Self { quiet, ..Self::new(exit, error.to_string()) }
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::new(Exit::Internal, format!("the output cannot be written as JSON: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_cause_place_and_cure() {
        let error = CliError::failure("topic \"x\" does not exist").at("localhost:9092").help("a").help("b");
        assert_eq!(
            error.to_string(),
            "error: topic \"x\" does not exist\n  --> localhost:9092\nhelp: a\n      b\n"
        );
    }

    #[test]
    fn a_refused_connection_ends_with_69_and_a_broken_pipe_with_0_in_silence() {
        let refused = CliError::from(PeerError::Refused { address: "localhost:9092".into() });
        assert_eq!(refused.exit.code(), 69);
        assert!(refused.to_string().contains("ketcd dev"), "{refused}");
        let pipe = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(pipe.quiet && pipe.exit.code() == 0);
    }

    #[test]
    fn a_retriable_error_of_a_broker_ends_with_75_and_others_with_1() {
        assert_eq!(
            CliError::from_code("produce", ErrorCode::NotLeaderOrFollower.code(), None).exit.code(),
            75
        );
        let exists = CliError::from_code("create", ErrorCode::TopicAlreadyExists.code(), Some("mine"));
        assert_eq!(exists.exit.code(), 1);
        assert!(exists.cause.contains("TOPIC_ALREADY_EXISTS (mine)"), "{exists}");
    }
}
