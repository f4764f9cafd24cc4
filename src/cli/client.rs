//! A whole cluster, seen over Kafka's protocol: the bootstrap list, the metadata, one connection for each broker, leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exit::{CliError, Exit, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use crate::protocol::peer::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::protocol::peer::messages::{MetadataRequest, MetadataResponse, TopicName};
use crate::protocol::peer::{Peer, PeerError, Request, StrBytes};

/// How the command line names itself to brokers.
pub const CLIENT_ID: &str = "ketcd-cli";

/// How to reach a cluster: the options that every network command has.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectArgs {
    /// Brokers to ask first, HOST[:PORT] with commas between
    #[arg(
        short = 'b',
        long = "bootstrap",
        value_name = "HOST:PORT",
        env = "KETCD_BROKERS",
        default_value = "localhost:9092"
    )]
    pub bootstrap: String,
    /// How long to wait for a connection or an answer
    #[arg(long, value_name = "TIME", env = "KETCD_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Connections to the brokers of one cluster.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: Vec<String>,
    timeout: Duration,
    first: Peer,
    peers: BTreeMap<i32, Peer>,
    metadata: MetadataResponse,
}

impl Cluster {
    /// Connects to the first broker of the list that answers.
    ///
    /// # Errors
    /// The error of the last one, if none answers.
    pub async fn connect(args: &ConnectArgs) -> Outcome<Self> {
        let bootstrap: Vec<String> = args
            .bootstrap
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        let first = first_that_answers(&bootstrap, args.timeout).await?;
        Ok(Self {
            bootstrap,
            timeout: args.timeout,
            first,
            peers: BTreeMap::new(),
            metadata: MetadataResponse::default(),
        })
    }

    /// How long one answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same as a number of milliseconds for requests that carry one.
    #[must_use]
    pub fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// The bootstrap broker that answered: good for every request that any broker takes.
    pub const fn any(&mut self) -> &mut Peer {
        &mut self.first
    }

    /// The address of the bootstrap broker.
    #[must_use]
    pub fn address(&self) -> &str {
        self.first.address()
    }

    /// Asks any broker.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask<R: Request>(&mut self, request: &R) -> Outcome<R::Response> {
        Ok(self.first.call(request).await?)
    }

    /// Asks for the cluster's metadata: of all topics, or of those named. Does not create topics.
    ///
    /// # Errors
    /// See [`PeerError`]. Errors of single topics are in the answer.
    pub async fn refresh(&mut self, topics: Option<&[&str]>) -> Outcome<&MetadataResponse> {
        self.refresh_with(topics, false).await
    }

    /// As [`Cluster::refresh`]; the broker creates missing topics if `create` and its configuration allow it.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn refresh_with(
        &mut self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Outcome<&MetadataResponse> {
        let version = self.first.version_of::<MetadataRequest>()?;
        let named = topics.map(|names| {
            names
                .iter()
                .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))))
                .collect::<Vec<_>>()
        });
        // Version 0 means "all" by an empty list, later versions by null.
        let all = (version == 0).then(Vec::new);
        let mut request = MetadataRequest::default().with_topics(named.or(all));
        if version >= 4 {
            request = request.with_allow_auto_topic_creation(create);
        }
        self.metadata = match self.first.call_at(&request, version).await {
            Ok(metadata) => metadata,
            Err(error) if error.is_unreachable() => {
                // The bootstrap broker may have gone while others live.
                self.first = first_that_answers(&self.bootstrap, self.timeout).await.map_err(|_| error)?;
                self.first.call_at(&request, version).await?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(&self.metadata)
    }

    /// The metadata of the last refresh.
    #[must_use]
    pub const fn metadata(&self) -> &MetadataResponse {
        &self.metadata
    }

    /// The connection to a broker of the last metadata.
    ///
    /// # Errors
    /// If the broker is not in the metadata or cannot be reached.
    pub async fn broker(&mut self, id: i32) -> Outcome<&mut Peer> {
        if !self.peers.contains_key(&id) {
            let peer = self.open(id).await?;
            self.peers.insert(id, peer);
        }
        self.peers.get_mut(&id).ok_or_else(|| unknown_broker(id))
    }

    /// A new connection to a broker of the last metadata, for a caller that keeps it.
    ///
    /// # Errors
    /// As [`Cluster::broker`].
    pub async fn open(&self, id: i32) -> Outcome<Peer> {
        let address = self
            .metadata
            .brokers
            .iter()
            .find(|broker| broker.node_id.0 == id)
            .map(|broker| format!("{}:{}", bracketed(&broker.host), broker.port))
            .ok_or_else(|| unknown_broker(id))?;
        Peer::connect(&address, CLIENT_ID, self.timeout).await.map_err(|error| {
            let advertised = error.is_unreachable() && !self.bootstrap.contains(&address);
            let built = CliError::from(error);
            if !advertised {
                return built;
            }
            built.help(format!(
                "{} answered, but names broker {id} as {address}: its advertised.listeners must be reachable from here",
                self.first.address()
            ))
        })
    }

    /// Takes the connection to a broker away, to use several at the same time.
    ///
    /// # Errors
    /// As [`Cluster::broker`].
    pub async fn take(&mut self, id: i32) -> Outcome<Peer> {
        match self.peers.remove(&id) {
            Some(peer) => Ok(peer),
            None => self.open(id).await,
        }
    }

    /// Gives a connection back that [`Cluster::take`] took.
    pub fn give_back(&mut self, id: i32, peer: Peer) {
        self.peers.insert(id, peer);
    }

    /// Forgets the connection to a broker, after an error on it.
    pub fn forget(&mut self, id: i32) {
        self.peers.remove(&id);
    }

    /// The topic's metadata, after asking for it.
    ///
    /// # Errors
    /// If it does not exist or its name is illegal.
    pub async fn topic(&mut self, name: &str) -> Outcome<MetadataResponseTopic> {
        self.refresh(Some(&[name])).await?;
        self.known_topic(name)
    }

    /// The topic of the last metadata.
    ///
    /// # Errors
    /// If it does not exist or its name is illegal.
    pub fn known_topic(&self, name: &str) -> Outcome<MetadataResponseTopic> {
        let found = self
            .metadata
            .topics
            .iter()
            .find(|topic| topic.name.as_ref().is_some_and(|found| found.as_str() == name));
        match found {
            Some(topic) if topic.error_code == ErrorCode::None.code() => Ok(topic.clone()),
            Some(topic) if topic.error_code != ErrorCode::UnknownTopicOrPartition.code() => {
                Err(CliError::from_code(&format!("topic {name:?}"), topic.error_code, None)
                    .at(self.address()))
            }
            _ => Err(CliError::failure(format!("topic {name:?} does not exist"))
                .at(self.address())
                .help(format!("create it: ketcd topic create {name}"))
                .help("see what there is: ketcd topic list")),
        }
    }
}

/// The partitions of a topic that have a leader, by the leader's id.
#[must_use]
pub fn by_leader(topic: &MetadataResponseTopic) -> BTreeMap<i32, Vec<&MetadataResponsePartition>> {
    let mut leaders: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    for partition in topic.partitions.iter().filter(|partition| partition.leader_id.0 >= 0) {
        leaders.entry(partition.leader_id.0).or_default().push(partition);
    }
    leaders
}

/// A topic name for a request.
#[must_use]
pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A text for a request.
#[must_use]
pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn unknown_broker(id: i32) -> CliError {
    CliError::new(Exit::Temporary, format!("broker {id} is not in the cluster's metadata"))
        .help("see who is there: ketcd cluster")
}

async fn first_that_answers(bootstrap: &[String], timeout: Duration) -> Outcome<Peer> {
    let mut last: Option<PeerError> = None;
    for address in bootstrap {
        match Peer::connect(address, CLIENT_ID, timeout).await {
            Ok(peer) => return Ok(peer),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || CliError::usage("the list of brokers is empty").help("name one: -b HOST:PORT"),
        CliError::from,
    ))
}
