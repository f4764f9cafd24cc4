//! `ketcd cluster drain`: takes all leaderships from a broker, before it is stopped or looked after.

use std::time::Duration;

use serde::Serialize;

use crate::cli::client::{Cluster, ConnectArgs, text};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::cli::output::{self, Format, OutputArgs, count};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use crate::protocol::peer::messages::{IncrementalAlterConfigsRequest, MetadataResponse};

/// The broker's key that has it hand its leaderships over and take none.
const KEY: &str = "ketcd.draining";
/// `ConfigResource.Type.BROKER` on the wire.
const BROKER_RESOURCE: i8 = 4;
/// `AlterConfigOp.OpType` on the wire.
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Options of `ketcd cluster drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd cluster drain 2
  ketcd cluster drain 2 --wait 10m && systemctl restart ketcd
  ketcd cluster drain 2 --undo")]
pub struct DrainArgs {
    /// The broker
    #[arg(value_name = "ID")]
    broker: i32,
    /// Let it take leaderships again
    #[arg(long)]
    undo: bool,
    /// How long to wait until it leads nothing that another broker could lead
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration, conflicts_with = "undo")]
    wait: Duration,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// How it went, as `-o json` prints it.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Drained {
    broker: i32,
    draining: bool,
    /// Partitions that it still leads: nobody else has a copy in sync.
    leaders: usize,
    /// Of those, the ones that have other replicas.
    waiting: usize,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user; 75 if the broker still leads what another one could lead.
pub async fn run(args: DrainArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let metadata = cluster.refresh(None).await?;
    if !metadata.brokers.iter().any(|broker| broker.node_id.0 == args.broker) {
        return Err(CliError::failure(format!("broker {} is not in the cluster", args.broker))
            .at(cluster.address())
            .help("see who is there: ketcd cluster brokers"));
    }
    set(&mut cluster, args.broker, args.undo).await?;
    let drained = if args.undo {
        let (leaders, _) = led(cluster.refresh(None).await?, args.broker);
        Drained { broker: args.broker, draining: false, leaders, waiting: 0 }
    } else {
        wait(&mut cluster, args.broker, args.wait).await?
    };
    match args.output.format {
        Format::Json => output::json(&drained)?,
        _ => output::text(&sentence(&drained))?,
    }
    if drained.waiting == 0 {
        return Ok(());
    }
    let cause = format!("broker {} still leads {}", args.broker, count(drained.waiting, "partition"));
    Err(CliError::new(Exit::Temporary, cause)
        .help("their other replicas are not in sync: ketcd cluster health")
        .help("wait longer: --wait TIME; or give up: --undo"))
}

async fn set(cluster: &mut Cluster, broker: i32, undo: bool) -> Outcome {
    let config = AlterableConfig::default()
        .with_name(text(KEY))
        .with_config_operation(if undo { OPERATION_DELETE } else { OPERATION_SET })
        .with_value((!undo).then(|| text("true")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER_RESOURCE)
        .with_resource_name(text(&broker.to_string()))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster.ask(&request).await?;
    match answer.responses.iter().find(|response| response.error_code != ErrorCode::None.code()) {
        Some(refused) => {
            let what = format!("{KEY} of broker {broker} was not changed");
            Err(CliError::from_code(&what, refused.error_code, refused.error_message.as_deref())
                .at(cluster.address()))
        }
        None => Ok(()),
    }
}

/// Waits until the broker leads nothing that another one could lead.
async fn wait(cluster: &mut Cluster, broker: i32, wait: Duration) -> Outcome<Drained> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut told = usize::MAX;
    loop {
        let (leaders, waiting) = led(cluster.refresh(None).await?, broker);
        if waiting == 0 || tokio::time::Instant::now() >= deadline {
            return Ok(Drained { broker, draining: true, leaders, waiting });
        }
        if waiting < told {
            eprintln!("broker {broker} leads {}", count(leaders, "partition"));
            told = waiting;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many partitions the broker leads, and how many of them have other replicas.
fn led(metadata: &MetadataResponse, broker: i32) -> (usize, usize) {
    let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let led: Vec<_> = partitions.filter(|partition| partition.leader_id.0 == broker).collect();
    let shared = led.iter().filter(|partition| partition.replica_nodes.len() > 1).count();
    (led.len(), shared)
}

fn sentence(drained: &Drained) -> String {
    let Drained { broker, draining, leaders, .. } = drained;
    match (draining, leaders) {
        (false, leaders) => {
            format!("broker {broker} takes leaderships again; it leads {}\n", count(*leaders, "partition"))
        }
        (true, 0) => format!("broker {broker} is drained: it leads nothing\n"),
        (true, leaders) => format!(
            "broker {broker} is draining; it leads {} that nobody else can lead now\n",
            count(*leaders, "partition")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::peer::messages::BrokerId;
    use crate::protocol::peer::messages::metadata_response::{
        MetadataResponsePartition, MetadataResponseTopic,
    };

    #[test]
    fn partitions_without_another_replica_are_not_waited_for() {
        let partition = |leader: i32, replicas: &[i32]| {
            MetadataResponsePartition::default()
                .with_leader_id(BrokerId(leader))
                .with_replica_nodes(replicas.iter().copied().map(BrokerId).collect())
        };
        let partitions = vec![partition(1, &[1]), partition(1, &[1, 2]), partition(2, &[1, 2])];
        let metadata = MetadataResponse::default()
            .with_topics(vec![MetadataResponseTopic::default().with_partitions(partitions)]);
        assert_eq!(led(&metadata, 1), (2, 1));
        assert_eq!(led(&metadata, 2), (1, 1));
        assert_eq!(led(&metadata, 3), (0, 0));
    }
}
