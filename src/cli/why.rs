//! `ketcd why`: a partition as etcd has it: who leads it, who is in sync and what that is worth, who changed it last and why. Needs
//! etcd, not a broker.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::exit::{CliError, Outcome};
use super::meta::EtcdArgs;
use super::output::{self, Format, OutputArgs, Table};
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, Standing, TopicImage};
use crate::metadata::keys::AuditValue;
use crate::replication::election;
use crate::types::BrokerId;

/// Entries of the audit trail that are shown.
const AUDIT_MAX: usize = 10;

/// Options of `ketcd why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd why orders-3
  ketcd why __consumer_offsets-17 --etcd http://etcd-0:2379 --cluster prod
  ketcd why orders-3 -o json | jq .why")]
pub struct WhyArgs {
    /// The partition: topic, hyphen, number
    #[arg(value_name = "TOPIC-PARTITION")]
    partition: String,
    #[command(flatten)]
    etcd: EtcdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A partition, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    topic_id: String,
    partition: i32,
    leader: Option<i32>,
    /// The leader's lifetime goes on.
    led: bool,
    leader_epoch: i32,
    /// Revision of the record in etcd; 0 while the partition is as its topic was created.
    partition_epoch: i64,
    /// Why the record was last changed.
    why: String,
    adding: Vec<i32>,
    removing: Vec<i32>,
    last_known_leader: Option<i32>,
    recovering: bool,
    replicas: Vec<Replica>,
    audit: Vec<Audit>,
}

#[derive(Debug, Serialize)]
struct Replica {
    broker: i32,
    /// `alive`, `draining`, `stopping` or `away`.
    state: &'static str,
    /// `isr`, `elr` or nothing.
    member: Option<&'static str>,
    /// What that is worth: `counts`, `unknown` while the broker is away, `refuted` if its data may have lost something since.
    standing: Option<&'static str>,
    leader: bool,
    preferred: bool,
    /// The lifetime that was in sync.
    entry_epoch: Option<i64>,
    /// The lifetime that is registered.
    broker_epoch: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Audit {
    at: String,
    broker: i32,
    who: String,
    what: String,
    revision: i64,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: WhyArgs) -> Outcome {
    let (name, index) = split(&args.partition).ok_or_else(|| {
        CliError::usage(format!("{:?} is not a partition: name it as TOPIC-NUMBER", args.partition))
    })?;
    let (image, audit) = args.etcd.inspector()?.look().await.map_err(|error| args.etcd.error(&error))?;
    let topic = image.topic(name).ok_or_else(|| {
        CliError::failure(format!("topic {name:?} does not exist"))
            .help("see what there is: ketcd meta get topics/name")
    })?;
    let state = topic.partitions.get(index).ok_or_else(|| {
        CliError::failure(format!(
            "topic {name:?} has {}",
            output::count(topic.partitions.len(), "partition")
        ))
    })?;
    let report = report(&image, topic, index, state, &audit);
    match args.output.format {
        Format::Json => output::json(&report),
        Format::Plain => replicas_table(&report).print(Format::Plain),
        format => output::text(&screen(&report, format)),
    }
}

/// `orders-3`: the topic and the number after the last hyphen.
fn split(partition: &str) -> Option<(&str, usize)> {
    let (topic, index) = partition.rsplit_once('-')?;
    Some((topic, index.parse().ok()?)).filter(|_| !topic.is_empty())
}

fn report(
    image: &ClusterImage,
    topic: &TopicImage,
    index: usize,
    state: &PartitionImage,
    audit: &[AuditValue],
) -> Report {
    let partition = i32::try_from(index).unwrap_or(i32::MAX);
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.get()).collect();
    let replicas = state.replicas.iter().map(|id| replica(image, state, *id)).collect();
    let why = match (state.why.as_str(), state.partition_epoch.get()) {
        ("", 0) => "as the topic was created".to_owned(),
        (why, _) => why.to_owned(),
    };
    let about = audit.iter().rev().filter(|entry| is_about(entry, topic.name.as_str(), partition));
    Report {
        topic: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partition,
        leader: state.leader.map(|leader| leader.id.get()),
        led: election::leader_now(image, state).is_some(),
        leader_epoch: state.leader_epoch.get(),
        partition_epoch: state.partition_epoch.get(),
        why,
        adding: ids(&state.adding),
        removing: ids(&state.removing),
        last_known_leader: state.last_known_leader.map(BrokerId::get),
        recovering: state.recovering,
        replicas,
        audit: about.take(AUDIT_MAX).map(told).collect(),
    }
}

fn replica(image: &ClusterImage, state: &PartitionImage, id: BrokerId) -> Replica {
    let live = image.brokers.get(&id);
    let entry_in = |entries: &[ReplicaEntry]| entries.iter().find(|entry| entry.id == id).copied();
    let (member, entry) = match (entry_in(&state.isr), entry_in(&state.elr)) {
        (Some(entry), _) => (Some("isr"), Some(entry)),
        (None, Some(entry)) => (Some("elr"), Some(entry)),
        (None, None) => (None, None),
    };
    Replica {
        broker: id.get(),
        state: match live {
            None => "away",
            Some(live) if live.stopping => "stopping",
            Some(live) if live.draining => "draining",
            Some(_) => "alive",
        },
        member,
        standing: entry.map(|entry| match image.standing(entry) {
            Standing::Counting => "counts",
            Standing::Unknown => "unknown",
            Standing::Refuted => "refuted",
        }),
        leader: state.leader.is_some_and(|leader| leader.id == id),
        preferred: state.replicas.first() == Some(&id),
        entry_epoch: entry.map(|entry| entry.epoch.get()),
        broker_epoch: live.map(|live| live.epoch.get()),
    }
}

/// The entry speaks of the topic or of this partition of it.
fn is_about(entry: &AuditValue, topic: &str, partition: i32) -> bool {
    let place = format!("{topic}-{partition}");
    let mut words = entry.what.split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | ':'));
    words.any(|word| word == topic || word == place)
}

fn told(entry: &AuditValue) -> Audit {
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(entry.at_ms).unwrap_or(0));
    Audit {
        at: humantime::format_rfc3339_millis(at).to_string(),
        broker: entry.broker.get(),
        who: entry.who.clone(),
        what: entry.what.clone(),
        revision: entry.revision,
    }
}

fn screen(report: &Report, format: Format) -> String {
    let leader = match (report.leader, report.led) {
        (Some(leader), true) => format!("led by broker {leader}"),
        (Some(leader), false) => format!("NOT LED: broker {leader} led it and is away or was started again"),
        (None, _) => "NOT LED".to_owned(),
    };
    let mut screen = format!(
        "{}-{}  {leader}  leader epoch {}  topic id {}\n",
        report.topic, report.partition, report.leader_epoch, report.topic_id
    );
    screen += &match report.partition_epoch {
        0 => format!("last change: {}\n", report.why),
        revision => format!("last change: {} (revision {revision})\n", report.why),
    };
    if !report.adding.is_empty() || !report.removing.is_empty() {
        screen += &format!("on the move: adding {:?}, removing {:?}\n", report.adding, report.removing);
    }
    if report.recovering {
        screen += "records may have been lost: the leader has not said yet that it has recovered\n";
    }
    if let Some(last) = report.last_known_leader {
        screen += &format!("last known leader: broker {last}\n");
    }
    screen += &replicas_table(report).render(format);
    if !report.audit.is_empty() {
        let mut audit = Table::new(&["AT", "WHO", "WHAT"]).wide(&["BROKER", "REVISION"]);
        for entry in &report.audit {
            audit.row(&[&entry.at, &entry.who, &entry.what, &entry.broker, &entry.revision]);
        }
        screen += &format!("\n{}", audit.render(format));
    }
    screen
}

fn replicas_table(report: &Report) -> Table {
    let mut table = Table::new(&["REPLICA", "BROKER IS", "IN", "WHICH", "ROLE"])
        .wide(&["IN SYNC IN LIFETIME", "REGISTERED LIFETIME"]);
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    for replica in &report.replicas {
        let role = match (replica.leader, replica.preferred) {
            (true, true) => "leader, preferred",
            (true, false) => "leader",
            (false, true) => "preferred",
            (false, false) => "",
        };
        table.row(&[
            &replica.broker,
            &replica.state,
            &replica.member.unwrap_or_default(),
            &replica.standing.unwrap_or_default(),
            &role,
            &number(replica.entry_epoch),
            &number(replica.broker_epoch),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::metadata::image::BrokerImage;
    use crate::types::{BrokerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicName};

    const fn entry(id: i32) -> ReplicaEntry {
        ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(10) }
    }

    fn world() -> (ClusterImage, TopicImage) {
        let mut image = ClusterImage::default();
        for id in [2, 3] {
            let broker = BrokerImage { draining: id == 3, ..BrokerImage::of(BrokerId(id), BrokerEpoch(10)) };
            image.brokers.insert(BrokerId(id), Arc::new(broker));
        }
        image.intact.insert(BrokerId(3), BrokerEpoch(11));
        let state = PartitionImage {
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            leader: Some(entry(2)),
            leader_epoch: LeaderEpoch(4),
            isr: vec![entry(2), entry(3)],
            elr: vec![entry(1)],
            why: "broker 2 elected: in sync, the leader is gone".to_owned(),
            partition_epoch: PartitionEpoch(77),
            ..PartitionImage::assigned(Vec::new())
        };
        let id = TopicId::new(Uuid::from_u128(1)).unwrap();
        let name = TopicName::new("or-ders").unwrap();
        let partitions = vec![Arc::new(state)];
        (image, TopicImage { id, name, mod_revision: 5, deleting: false, partitions })
    }

    fn audit(what: &str) -> AuditValue {
        AuditValue {
            at_ms: 1_700_000_000_000,
            broker: BrokerId(1),
            who: "me".into(),
            what: what.into(),
            revision: 9,
        }
    }

    #[test]
    fn a_partition_is_named_by_what_is_before_the_last_hyphen() {
        assert_eq!(split("orders-3"), Some(("orders", 3)));
        assert_eq!(split("a-b-10"), Some(("a-b", 10)));
        for wrong in ["orders", "orders-", "-3", "orders-x", "orders--"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_screen_tells_who_leads_who_is_in_sync_and_why() {
        let (image, topic) = world();
        let trail =
            [audit("created topic or-ders with 1 partitions"), audit("created topic or with 1 partitions")];
        let report = report(&image, &topic, 0, &topic.partitions[0], &trail);
        assert_eq!(
            screen(&report, Format::Table),
            "\
or-ders-0  led by broker 2  leader epoch 4  topic id AAAAAAAAAAAAAAAAAAAAAQ
last change: broker 2 elected: in sync, the leader is gone (revision 77)
REPLICA  BROKER IS  IN   WHICH    ROLE
1        away       elr  unknown  preferred
2        alive      isr  counts   leader
3        draining   isr  refuted  -

AT                        WHO  WHAT
2023-11-14T22:13:20.000Z  me   created topic or-ders with 1 partitions
"
        );
    }

    #[test]
    fn the_audit_trail_is_told_where_it_names_the_topic_or_the_partition() {
        let about = |what: &str| is_about(&audit(what), "orders", 3);
        assert!(about("deleted topic orders"));
        assert!(about("reassigned a-1 to [1], orders-3 to [1, 2]"));
        assert!(about("changed configuration of topic orders: retention.ms"));
        assert!(!about("reassigned orders-33 to [1]") && !about("created topic orders2 with 1 partitions"));
    }
}
