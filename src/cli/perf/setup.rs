//! The topic of a run, and the options that all runs share.

use std::time::Duration;

use crate::cli::client::{Cluster, ConnectArgs, text, topic_name};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::cli::output::OutputArgs;
use crate::cli::topic::key_value;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::protocol::peer::messages::delete_topics_request::DeleteTopicState;
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::peer::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use crate::types::Clock;

/// Options of every `ketcd perf` command.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Topic; made if it is not there
    #[arg(long, value_name = "TOPIC", default_value = "ketcd-perf")]
    pub topic: String,
    /// Partitions of a topic that is made
    #[arg(short = 'p', long, value_name = "N", default_value_t = 1)]
    pub partitions: i32,
    /// Replicas of a topic that is made; -1 takes the broker's default
    #[arg(short = 'r', long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication_factor: i16,
    /// A configuration of a topic that is made (repeatable)
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub configs: Vec<(String, String)>,
    /// Delete the topic afterwards
    #[arg(long)]
    pub delete: bool,
    /// Measured time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Time before, not measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Process of the broker on this machine: report its CPU and memory
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Where to connect.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The topic of the run, made if it is not there, with a leader for every partition.
///
/// # Errors
/// If it cannot be made or its leaders do not come.
pub async fn topic(cluster: &mut Cluster, args: &RunArgs) -> Outcome<MetadataResponseTopic> {
    let configs = args.configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    let request = CreateTopicsRequest::default().with_timeout_ms(cluster.timeout_ms()).with_topics(vec![
        CreatableTopic::default()
            .with_name(topic_name(&args.topic))
            .with_num_partitions(args.partitions)
            .with_replication_factor(args.replication_factor)
            .with_configs(configs.collect()),
    ]);
    let answer = cluster.ask(&request).await?;
    for result in &answer.topics {
        let code = ErrorCode::from_code(result.error_code).unwrap_or_default();
        if !code.is_none() && code != ErrorCode::TopicAlreadyExists {
            let what = format!("topic {:?} was not made", args.topic);
            return Err(CliError::from_code(&what, result.error_code, result.error_message.as_deref())
                .at(cluster.address()));
        }
    }
    let clock = Clock::system();
    let deadline = clock.elapsed() + cluster.timeout();
    loop {
        let found = cluster.topic(&args.topic).await;
        if let Ok(topic) = found
            && topic.partitions.iter().all(|partition| partition.leader_id.0 >= 0)
            && !topic.partitions.is_empty()
        {
            return Ok(topic);
        }
        if clock.elapsed() >= deadline {
            return Err(CliError::new(
                Exit::Temporary,
                format!("topic {:?} has partitions without leader", args.topic),
            )
            .at(cluster.address()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The leader of a partition.
///
/// # Errors
/// If the topic has no such partition.
pub fn leader(topic: &MetadataResponseTopic, partition: i32) -> Outcome<i32> {
    topic
        .partitions
        .iter()
        .find(|found| found.partition_index == partition)
        .map(|found| found.leader_id.0)
        .ok_or_else(|| CliError::new(Exit::Internal, format!("no partition {partition}")))
}

/// The partition of connection number `connection`: they go round.
#[must_use]
pub fn partition_of(topic: &MetadataResponseTopic, connection: u32) -> i32 {
    let partitions = u32::try_from(topic.partitions.len()).unwrap_or(1).max(1);
    i32::try_from(connection % partitions).unwrap_or(0)
}

/// Deletes the topic if the options say so.
///
/// # Errors
/// If the broker does not answer.
pub async fn clean_up(cluster: &mut Cluster, args: &RunArgs) -> Outcome {
    if !args.delete {
        return Ok(());
    }
    let version = cluster.any().version_of::<DeleteTopicsRequest>()?;
    let request = DeleteTopicsRequest::default().with_timeout_ms(cluster.timeout_ms());
    let name = topic_name(&args.topic);
    let request = if version >= 6 {
        request.with_topics(vec![DeleteTopicState::default().with_name(Some(name))])
    } else {
        request.with_topic_names(vec![name])
    };
    cluster.any().call_at(&request, version).await?;
    Ok(())
}
