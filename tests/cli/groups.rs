//! `ketcd group` on a running broker, with groups of both protocols.

use std::time::Duration;

use bytes::Bytes;
use ketcd::protocol::peer::messages::consumer_group_heartbeat_request::TopicPartitions;
use ketcd::protocol::peer::messages::join_group_request::JoinGroupRequestProtocol;
use ketcd::protocol::peer::messages::leave_group_request::MemberIdentity;
use ketcd::protocol::peer::messages::sync_group_request::SyncGroupRequestAssignment;
use ketcd::protocol::peer::messages::{
    ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, GroupId, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest, TopicName,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use serde_json::json;

use crate::program::{Broker, assert_snapshot, run};

/// Of this test run: the broker may be one that goes on.
fn name(what: &str) -> String {
    format!("cli-group-{what}-{}", std::process::id())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A topic of two partitions with five records in each.
fn topic_of_ten(broker: &Broker, what: &str) -> String {
    let topic = name(what);
    broker.run(&["topic", "create", &topic, "-p", "2"]).ok();
    for partition in ["0", "1"] {
        let lines = "a\nb\nc\nd\ne\n";
        broker.run_with(&["topic", "produce", &topic, "--partition", partition], lines).ok();
    }
    topic
}

/// A connection to the broker, which coordinates `group` from now on.
async fn connect(broker: &Broker, group: &str) -> Peer {
    let mut peer = Peer::connect(&broker.address, "reader", Duration::from_secs(30)).await.unwrap();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    for _ in 0..300 {
        let found = peer.call_at(&request, 4).await.unwrap();
        if found.coordinators[0].error_code == 0 {
            return peer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no coordinator within 30 s");
}

/// Joins `group` in the classic protocol as its only member, and takes partition 1 of `topic`.
async fn join_classic(peer: &mut Peer, group: &str, topic: &str) -> String {
    let topic_bytes = |partitions: &[u8]| {
        let mut bytes = vec![0, 0, 0, 0, 0, 1];
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend(partitions);
        bytes.extend([0xff; 4]);
        Bytes::from(bytes)
    };
    let mut member = String::new();
    loop {
        let join = JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_member_id(text(&member))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![
                JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(topic_bytes(&[])),
            ]);
        let joined = peer.call_at(&join, 5).await.unwrap();
        member = joined.member_id.to_string();
        // The coordinator may still load, and a member is told its id first (KIP-394).
        match joined.error_code {
            0 => {
                let mine = SyncGroupRequestAssignment::default()
                    .with_member_id(text(&member))
                    .with_assignment(topic_bytes(&[0, 0, 0, 1, 0, 0, 0, 1]));
                let sync = SyncGroupRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_generation_id(joined.generation_id)
                    .with_member_id(text(&member))
                    .with_assignments(vec![mine]);
                assert_eq!(peer.call_at(&sync, 3).await.unwrap().error_code, 0);
                return member;
            }
            14..=16 | 79 => tokio::time::sleep(Duration::from_millis(50)).await,
            error => panic!("join: error {error}"),
        }
    }
}

async fn leave(peer: &mut Peer, group: &str, member: &str) {
    let leave = LeaveGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_members(vec![MemberIdentity::default().with_member_id(text(member))]);
    assert_eq!(peer.call_at(&leave, 3).await.unwrap().error_code, 0);
}

#[test]
fn the_help_of_groups_is_as_it_was() {
    assert_snapshot("help-group.txt", &run(&["group", "--help"]).ok());
    assert_snapshot("help-group-seek.txt", &run(&["group", "seek", "--help"]).ok());
    let nowhere = run(&["group", "seek", "g", "--topic", "t"]);
    assert!(nowhere.code == 2 && nowhere.stderr.contains("--to-earliest"), "{nowhere:?}");
    let twice = run(&["group", "seek", "g", "--topic", "t", "--to-earliest", "--to-latest"]);
    assert_eq!(twice.code, 2, "{twice:?}");
}

#[test]
fn the_offsets_of_a_group_are_made_moved_and_deleted() {
    let broker = Broker::start();
    let (group, topic) = (name("offsets"), topic_of_ten(&broker, "offsets"));
    let seek = |args: &[&str]| {
        let all: Vec<&str> = ["group", "seek", &group].into_iter().chain(args.iter().copied()).collect();
        broker.run(&all)
    };
    let planned = seek(&["--topic", &topic, "--to-offset", "3", "--dry-run", "-o", "json"]);
    assert!(planned.stderr.contains("nothing was changed"), "{planned:?}");
    let rows = |before: [Option<i64>; 2], after: [i64; 2]| {
        let row = |partition: usize| json!({"topic": topic, "partition": partition, "before": before[partition], "after": after[partition], "start": 0, "end": 5});
        json!([row(0), row(1)])
    };
    assert_eq!(planned.json(), rows([None; 2], [3; 2]));
    assert_eq!(broker.run(&["group", "describe", &group]).code, 1, "a dry run makes no group");

    let moved = seek(&["--topic", &topic, "--to-offset", "3", "--yes", "-o", "json"]).json();
    assert_eq!(moved, rows([None; 2], [3; 2]));
    let partition = seek(&["--topic", &topic, "--partition", "1", "--shift-by", "-1", "--yes", "-o", "json"]);
    assert_eq!(partition.json()[0]["after"], 2);
    let lag = broker.run(&["group", "lag", &group, "-o", "json"]).json();
    assert_eq!(lag[0]["lag"], 5, "{lag}");
    assert_eq!(lag[0]["partitions"][1]["committed"], 2, "{lag}");
    let page = broker.run(&["group", "lag", &group]).ok();
    assert!(page.ends_with(&format!("total lag: {group} 5\n")), "{page}");
    let beyond = seek(&["--all-topics", "--shift-by", "100", "--yes", "-o", "json"]).json();
    assert_eq!(beyond, rows([Some(3), Some(2)], [5; 2]), "the end is as far as it goes");
    let ago = seek(&["--topic", &topic, "--by-duration", "PT1H", "--yes", "-o", "json"]).json();
    assert_eq!(ago, rows([Some(5); 2], [0; 2]));
    let future = seek(&["--topic", &topic, "--to-datetime", "2100-01-01T00:00:00Z", "--yes", "-o", "json"]);
    assert_eq!(future.json(), rows([Some(0); 2], [5; 2]));

    let listed = broker.run(&["group", "list", "--state", "empty", "-o", "json"]).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["group"] == group.as_str()).unwrap().clone();
    assert_eq!((&row["type"], &row["state"]), (&json!("classic"), &json!("Empty")), "{row}");
    let others = broker.run(&["group", "list", "--type", "consumer", "-o", "json"]).json();
    assert!(others.as_array().unwrap().iter().all(|row| row["group"] != group.as_str()), "{others}");
    let described = broker.run(&["group", "describe", &group, "-o", "json"]).json();
    assert_eq!((&described[0]["state"], &described[0]["members"]), (&json!("Empty"), &json!([])));

    let kept = broker.run(&["group", "delete", &group, "--dry-run", "-o", "json"]).json();
    assert_eq!(kept, json!([{"group": group, "topic": null, "offsets": 2, "deleted": false}]));
    let some = broker.run(&["group", "delete", &group, "--topic", &topic, "--yes"]).ok();
    assert_eq!(some, format!("deleted 2 offsets of {group} in {topic}\n"));
    let again = seek(&["--topic", &topic, "--to-latest", "--yes", "-o", "json"]).json();
    assert_eq!(again, rows([None; 2], [5; 2]), "no offset was left");
    let gone = broker.run(&["group", "delete", &group, "--yes"]).ok();
    assert_eq!(gone, format!("deleted {group} with 2 offsets\n"));
    let missing = broker.run(&["group", "delete", &group, "--yes"]);
    assert_eq!(
        (missing.code, missing.stderr.as_str()),
        (
            1,
            &*format!(
                "error: group {group:?} does not exist\n  --> {}\nhelp: see what there is: ketcd group list\n",
                broker.address
            )
        )
    );
}

#[test]
fn a_classic_group_with_a_member_is_shown_and_left_alone() {
    let broker = Broker::start();
    let (group, topic) = (name("classic"), topic_of_ten(&broker, "classic"));
    block_on(async {
        let mut peer = connect(&broker, &group).await;
        let member = join_classic(&mut peer, &group, &topic).await;
        let described = broker.run(&["group", "describe", &group, "-o", "json"]).json();
        assert_eq!(described[0]["state"], "Stable", "{described}");
        assert_eq!(described[0]["type"], "classic");
        assert_eq!(described[0]["assignor"], "range");
        assert_eq!(described[0]["members"][0]["member"], member.as_str());
        assert_eq!(described[0]["members"][0]["assignment"], json!({&*topic: [1]}));
        let lag = broker.run(&["group", "lag", &group, "-o", "json"]).json();
        assert_eq!(
            lag[0]["partitions"],
            json!([{"topic": topic, "partition": 1, "committed": null, "end": 5, "lag": null, "member": member, "client": "reader", "host": "127.0.0.1"}])
        );
        for refused in [
            &["group", "seek", &group, "--topic", &topic, "--to-earliest", "--yes"][..],
            &["group", "delete", &group, "--yes"],
        ] {
            let ended = broker.run(refused);
            let told = ended.stderr.contains("is active (Stable, 1 member): nothing was");
            assert!(ended.code == 1 && told, "{ended:?}");
        }
        leave(&mut peer, &group, &member).await;
    });
    broker.run(&["group", "seek", &group, "--topic", &topic, "--to-earliest", "--yes"]).ok();
    broker.run(&["group", "delete", &group, "--yes"]).ok();
}

#[test]
fn a_group_of_the_new_protocol_shows_its_epochs() {
    let broker = Broker::start();
    let (group, topic) = (name("consumer"), topic_of_ten(&broker, "consumer"));
    block_on(async {
        let mut peer = connect(&broker, &group).await;
        let beat = |epoch: i32, member: &str| {
            let joining = epoch == 0;
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(GroupId(text(&group)))
                .with_member_id(text(member))
                .with_member_epoch(epoch)
                .with_rebalance_timeout_ms(if joining { 30_000 } else { -1 })
                .with_subscribed_topic_names(joining.then(|| vec![TopicName(text(&topic))]))
                .with_topic_partitions(joining.then(Vec::<TopicPartitions>::new))
        };
        let member = uuid::Uuid::new_v4().to_string();
        let mut epoch = 0;
        // Until it has its partitions: the coordinator may still load, and Kafka 4.3 batches assignments.
        for _ in 0..300 {
            let answer = peer.call_at(&beat(epoch, &member), 1).await.unwrap();
            match answer.error_code {
                0 if answer.assignment.is_some_and(|a| !a.topic_partitions.is_empty()) => break,
                0 => epoch = answer.member_epoch,
                14..=16 => {}
                error => panic!("heartbeat: error {error} {:?}", answer.error_message),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let described = broker.run(&["group", "describe", &group, "-o", "json"]).json();
        assert_eq!(described[0]["type"], "consumer", "{described}");
        assert_eq!(described[0]["state"], "Stable");
        assert_eq!(described[0]["assignor"], "uniform");
        assert_eq!(described[0]["epoch"], described[0]["assignment_epoch"]);
        assert_eq!(described[0]["members"][0]["assignment"], json!({&*topic: [0, 1]}));
        let page = broker.run(&["group", "describe", &group]).ok();
        assert!(page.starts_with(&format!("group {group}  consumer  Stable  epoch ")), "{page}");
        assert!(page.contains(&format!("{topic}:0-1")), "{page}");
        let listed = broker.run(&["group", "list", "--type", "consumer", "-o", "plain"]).ok();
        assert!(
            listed.lines().any(|line| line.starts_with(&format!("{group}\tconsumer\tStable\t"))),
            "{listed}"
        );
        assert_eq!(peer.call_at(&beat(-1, &member), 1).await.unwrap().error_code, 0);
    });
    let row = broker.run(&["group", "describe", &group, "-o", "json"]).json();
    assert_eq!(row[0]["state"], "Empty", "{row}");
    broker.run(&["group", "seek", &group, "--topic", &topic, "--to-latest", "--yes"]).ok();
    broker.run(&["group", "delete", &group, "--yes"]).ok();
}

#[test]
fn a_coordinator_that_was_killed_and_loads_is_asked_until_it_answers() {
    let Some(broker) = Broker::with_data() else { return };
    let (group, topic) = (name("killed"), topic_of_ten(&broker, "killed"));
    broker.run(&["group", "seek", &group, "--topic", &topic, "--to-offset", "2", "--yes"]).ok();
    let broker = broker.kill_and_restart();
    let lag = broker.run(&["group", "lag", &group, "-o", "json"]).json();
    assert_eq!(lag[0]["lag"], 6, "{lag}");
    broker.run(&["group", "delete", &group, "--yes"]).ok();
}
