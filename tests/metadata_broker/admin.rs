//! Topics, configuration, producer ids, the audit trail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketcd::metadata::image::{ClusterImage, ConfigEntity, ReplicaEntry};
use ketcd::metadata::inspect::{Entry, Inspector};
use ketcd::metadata::txn::partitions::{PartitionChange, Reliance};
use ketcd::metadata::{
    AUDIT_ENTRIES_KEPT, AlterError, AuditEntry, ConnectionOptions, Metadata, MetadataError, NewTopic,
    PartitionOutcome,
};
use ketcd::types::{BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicName};

use crate::server::{Broker, Server, new_topic, options};

crate::on_every_server!(
    a_topic_lives_and_dies,
    a_topic_needs_living_brokers_and_sane_assignments,
    a_topic_too_large_for_one_txn_is_refused_by_its_size,
    twenty_writers_create_topics_at_once,
    twenty_writers_of_one_name_make_one_topic,
    twenty_writers_of_one_configuration_lose_nothing,
    a_restarted_broker_ballots_for_all_its_partitions,
    a_ballot_that_relies_on_the_wrong_thing_is_rejected_alone,
    a_configuration_of_no_topic_is_refused,
    producer_ids_are_never_given_twice,
    the_audit_trail_is_sequential_and_bounded,
    the_inspector_lists_and_watches,
);

async fn a_topic_lives_and_dies(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let metadata = &broker.metadata;
    let mut topic = new_topic("t", 3);
    topic.configs = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
    let revision = metadata.create_topic(topic.clone()).await.unwrap();
    // Read your writes: no waiting here.
    let image = metadata.image();
    assert!(image.revision >= revision);
    let seen = image.topic("t").unwrap();
    assert_eq!((seen.id, seen.partitions.len(), seen.mod_revision), (topic.id, 3, revision));
    let leader = seen.partitions[0].leader.unwrap();
    assert_eq!((leader.id, leader.epoch), (BrokerId(1), metadata.session().broker_epoch));
    let entity = ConfigEntity::Topic(topic.name.clone());
    assert_eq!(image.config(&entity).unwrap()["retention.ms"], "1");
    // The same call again, as after a lost answer, is the same topic; another id is another topic.
    assert_eq!(metadata.create_topic(topic.clone()).await, Ok(revision));
    let other = metadata.create_topic(new_topic("t", 1)).await;
    assert_eq!(other, Err(MetadataError::AlreadyExists { what: "topic t".into() }));

    metadata.create_partitions(topic.id, 3, vec![vec![BrokerId(1)]; 2]).await.unwrap();
    assert_eq!(metadata.image().topic("t").unwrap().partitions.len(), 5);
    let stale = metadata.create_partitions(topic.id, 3, vec![vec![BrokerId(1)]]).await;
    assert!(matches!(stale, Err(MetadataError::Conflict { .. })), "{stale:?}");

    metadata.delete_topic(topic.id).await.unwrap();
    let image = metadata.image();
    assert!(image.topic("t").is_none() && image.topics[&topic.id].deleting);
    assert_eq!(image.config(&entity), None);
    let again = metadata.delete_topic(topic.id).await;
    assert!(matches!(again, Err(MetadataError::NotFound { .. })), "{again:?}");
    // The name is free while the old topic's logs still go.
    let reborn = new_topic("t", 1);
    metadata.create_topic(reborn.clone()).await.unwrap();
    assert_eq!(metadata.image().topic("t").unwrap().id, reborn.id);

    broker.until("the controller's role", |metadata| metadata.session().is_controller()).await;
    metadata.finish_topic_deletion(topic.id).await.unwrap();
    assert!(!metadata.image().topics.contains_key(&topic.id));
    metadata.finish_topic_deletion(topic.id).await.unwrap();
    let living = metadata.finish_topic_deletion(reborn.id).await;
    assert!(matches!(living, Err(MetadataError::Invalid { .. })), "{living:?}");
    let second = Broker::start(&server.endpoint(), 2).await;
    assert_eq!(second.metadata.finish_topic_deletion(topic.id).await, Err(MetadataError::NotController));
}

async fn a_topic_needs_living_brokers_and_sane_assignments(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let with = |assignment: Vec<Vec<i32>>| NewTopic {
        assignment: assignment
            .into_iter()
            .map(|replicas| replicas.into_iter().map(BrokerId).collect())
            .collect(),
        ..new_topic("t", 1)
    };
    let refused = broker.metadata.create_topic(with(vec![vec![1], vec![1, 7]])).await;
    assert_eq!(refused, Err(MetadataError::BrokerNotLive { id: BrokerId(7) }));
    for bad in [vec![], vec![vec![]], vec![vec![1, 1]]] {
        let refused = broker.metadata.create_topic(with(bad)).await;
        assert!(matches!(refused, Err(MetadataError::Invalid { .. })), "{refused:?}");
    }
    assert!(broker.metadata.image().topics.is_empty());
}

async fn a_topic_too_large_for_one_txn_is_refused_by_its_size(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    broker.metadata.create_topic(new_topic("large", 100_000)).await.unwrap();
    assert_eq!(broker.metadata.image().topic("large").unwrap().partitions.len(), 100_000);
    let refused = broker.metadata.create_topic(new_topic("larger", 400_000)).await;
    assert!(matches!(refused, Err(MetadataError::TooLarge { unit: "bytes", .. })), "{refused:?}");
}

async fn twenty_writers_create_topics_at_once(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let writers = (0..20).map(|writer| {
        let metadata = broker.metadata.clone();
        tokio::spawn(async move {
            for n in 0..5 {
                let topic = new_topic(&format!("t-{writer}-{n}"), 2);
                metadata.create_topic(topic.clone()).await.unwrap();
                assert_eq!(metadata.image().topic(topic.name.as_str()).unwrap().id, topic.id);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(broker.metadata.image().topic_names.len(), 100);
}

async fn twenty_writers_of_one_name_make_one_topic(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let writers = (0..20).map(|_| {
        let metadata = broker.metadata.clone();
        tokio::spawn(async move {
            let topic = new_topic("t", 1);
            metadata.create_topic(topic.clone()).await.map(|_| topic.id)
        })
    });
    let mut made = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(id) => made.push(id),
            Err(error) => assert_eq!(error, MetadataError::AlreadyExists { what: "topic t".into() }),
        }
    }
    assert_eq!(made, [broker.metadata.image().topic("t").unwrap().id]);
}

async fn twenty_writers_of_one_configuration_lose_nothing(server: &mut Server) {
    let first = Broker::start(&server.endpoint(), 1).await;
    let second = Broker::start(&server.endpoint(), 2).await;
    first.metadata.create_topic(new_topic("t", 1)).await.unwrap();
    let entity = ConfigEntity::Topic(TopicName::new("t").unwrap());
    // A later version's field must survive all rewrites.
    let key = "/ketcd/test/config/topics/t";
    server.client().await.put(key, r#"{"v":1,"entries":{},"later":7}"#, None).await.unwrap();
    let writers = (0..20).map(|writer| {
        let metadata = if writer % 2 == 0 { first.metadata.clone() } else { second.metadata.clone() };
        let entity = entity.clone();
        tokio::spawn(async move {
            let change = move |now: &BTreeMap<String, String>| {
                let mut next = now.clone();
                next.insert(format!("key-{writer}"), "x".to_owned());
                Ok::<_, ()>(next)
            };
            metadata.alter_config(entity, change).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let stored = server.client().await.get(key, None).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    assert_eq!((value["entries"].as_object().unwrap().len(), &value["later"]), (20, &serde_json::json!(7)));
    first.sees("all entries", |image| image.config(&entity).is_some_and(|config| config.len() == 20)).await;
}

/// The ballot of a broker for a partition that its former lifetime led.
fn ballot(metadata: &Metadata, topic: TopicId, partition: i32) -> PartitionChange {
    let image = metadata.image();
    let me = ReplicaEntry { id: metadata.broker_id(), epoch: metadata.session().broker_epoch };
    let mut value = image.partition_record(topic, partition).unwrap();
    let old = value.value.leader.unwrap();
    value.value.leader = Some(me);
    value.value.leader_epoch = LeaderEpoch(value.value.leader_epoch.get() + 1);
    value.value.isr = vec![me];
    let topic_image = &image.topics[&topic];
    PartitionChange {
        topic,
        partition,
        read: topic_image.partitions[partition as usize].partition_epoch,
        topic_revision: topic_image.mod_revision,
        value,
        relies_on: vec![Reliance::Over(old), Reliance::Lives(me), Reliance::Intact(old)],
    }
}

async fn a_restarted_broker_ballots_for_all_its_partitions(server: &mut Server) {
    let Broker { metadata, state } = Broker::start(&server.endpoint(), 1).await;
    let topic = new_topic("t", 1_000);
    metadata.create_topic(topic.clone()).await.unwrap();
    let lifetime = metadata.image().brokers[&BrokerId(1)].incarnation;
    metadata.close().await;
    let mut intact = options(&server.endpoint(), Some(1), state.path());
    intact.registration.data_may_be_lost = false;
    intact.vouched = vec![lifetime];
    let metadata = Metadata::connect(intact).await.unwrap();
    let key = format!("/ketcd/test/partitions/{}/0000000007", topic.id);
    let changes: Vec<_> = (0..1_000).map(|partition| ballot(&metadata, topic.id, partition)).collect();
    let begun = tokio::time::Instant::now();
    let outcomes = metadata.change_partitions(changes).await;
    eprintln!("1,000 ballots in {:?}", begun.elapsed());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, PartitionOutcome::Written(_))), "{outcomes:?}");
    let image = metadata.image();
    let me = metadata.session().broker_epoch;
    for partition in &image.topic("t").unwrap().partitions {
        assert_eq!((partition.leader.unwrap().epoch, partition.leader_epoch.get()), (me, 1));
    }
    // A later version's field survives our next change.
    let mut client = server.client().await;
    let stored = client.get(key.clone(), None).await.unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    value["later"] = 7.into();
    let put = client.put(key.clone(), value.to_string(), None).await.unwrap();
    metadata.wait_for(put.header().unwrap().revision(), crate::server::SOON).await.unwrap();
    let mut again = ballot(&metadata, topic.id, 7);
    again.relies_on.clear();
    let epochs = |image: &ClusterImage| -> Vec<_> {
        let partitions = &image.topic("t").unwrap().partitions;
        (0..).zip(partitions).map(|(index, state)| (index, state.partition_epoch)).collect()
    };
    let before = epochs(&metadata.image());
    assert!(
        metadata.partitions_stand(topic.id, before.clone()).await.unwrap(),
        "all 1,000 as they were read"
    );
    let outcomes = metadata.change_partitions(vec![again]).await;
    assert!(matches!(outcomes[..], [PartitionOutcome::Written(_)]), "{outcomes:?}");
    assert!(!metadata.partitions_stand(topic.id, before).await.unwrap(), "one has changed");
    assert!(metadata.partitions_stand(topic.id, epochs(&metadata.image())).await.unwrap());
    let stored = client.get(key, None).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    assert_eq!((&value["later"], &value["leader_epoch"]), (&7.into(), &2.into()));
}

async fn a_ballot_that_relies_on_the_wrong_thing_is_rejected_alone(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let metadata = &broker.metadata;
    let topic = new_topic("t", 20);
    metadata.create_topic(topic.clone()).await.unwrap();
    let mut changes: Vec<_> = (0..20).map(|partition| ballot(metadata, topic.id, partition)).collect();
    for change in &mut changes {
        // Led by this very lifetime: nothing that is over may be relied on.
        change.relies_on.remove(0);
    }
    let me = ReplicaEntry { id: BrokerId(1), epoch: metadata.session().broker_epoch };
    changes[3].relies_on.push(Reliance::Over(me));
    changes[11].read = PartitionEpoch(1);
    changes[17].relies_on.push(Reliance::Refuted(me));
    let outcomes = metadata.change_partitions(changes).await;
    for (partition, outcome) in outcomes.iter().enumerate() {
        let rejected = *outcome == PartitionOutcome::Rejected;
        assert_eq!(rejected, [3, 11, 17].contains(&partition), "{partition}: {outcome:?}");
    }
}

async fn a_configuration_of_no_topic_is_refused(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let set = |_: &BTreeMap<String, String>| Ok::<_, ()>(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    let none = ConfigEntity::Topic(TopicName::new("none").unwrap());
    let refused = broker.metadata.alter_config(none, set).await;
    let not_found = MetadataError::NotFound { what: "topic none".into() };
    assert_eq!(refused, Err(AlterError::Metadata(not_found)));
    let no = |_: &BTreeMap<String, String>| Err::<BTreeMap<String, String>, _>("no");
    let refused = broker.metadata.alter_config(ConfigEntity::ClusterDefault, no).await;
    assert_eq!(refused, Err(AlterError::Refused("no")));
    broker.metadata.alter_config(ConfigEntity::ClusterDefault, set).await.unwrap();
    assert_eq!(broker.metadata.image().config(&ConfigEntity::ClusterDefault).unwrap()["a"], "b");
}

async fn producer_ids_are_never_given_twice(server: &mut Server) {
    let brokers = [Broker::start(&server.endpoint(), 1).await, Broker::start(&server.endpoint(), 2).await];
    let takers = (0..8).map(|n| {
        let metadata = brokers[n % 2].metadata.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..800 {
                ids.push(metadata.next_producer_id().await.unwrap());
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        ids.extend(taker.await.unwrap());
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 6_400);
    // The block is fetched ahead: after a moment none has to wait.
    brokers[0].until("a prefetched block", |metadata| metadata.try_next_producer_id().is_some()).await;
}

/// The trail once its newest entry is number `newest`.
async fn audited(inspector: &Inspector, newest: i64) -> Vec<Entry> {
    let newest = format!("audit/{newest:020}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (entries, _) = inspector.list("audit/").await.unwrap();
        if entries.last().is_some_and(|entry| entry.key.ends_with(&newest)) {
            return entries;
        }
        assert!(tokio::time::Instant::now() < deadline, "the newest entry never came: {:?}", entries.last());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn the_audit_trail_is_sequential_and_bounded(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let inspector = inspector(server);
    for n in 0..1_050 {
        let entry = AuditEntry { who: "User:a".into(), what: format!("change {n}"), revision: n };
        broker.metadata.audit(entry);
        if n % 500 == 499 {
            // The queue is bounded: give the writer time, as real changes do.
            audited(&inspector, n).await;
        }
    }
    let entries = audited(&inspector, 1_049).await;
    assert_eq!(entries.len() as u64, AUDIT_ENTRIES_KEPT);
    let value = entries[0].value.as_ref().unwrap();
    assert_eq!((&value["what"], &value["broker"]), (&"change 50".into(), &1.into()));
    assert_eq!(broker.metadata.counters().audit_dropped, 0);
}

fn inspector(server: &Server) -> Inspector {
    let keys = ketcd::metadata::keys::Keys::of_cluster("test");
    Inspector::new(ConnectionOptions::new(vec![server.endpoint()]), keys).unwrap()
}

async fn the_inspector_lists_and_watches(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let inspector = inspector(server);
    let (entries, revision) = inspector.list("brokers/live").await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].kind.as_deref(), Some("BrokerLive(BrokerId(1))"));
    assert_eq!(entries[0].value.as_ref().unwrap()["host"], "host");
    let mut changes = inspector.watch(revision + 1).await.unwrap();
    let topic = new_topic("t", 1);
    broker.metadata.create_topic(topic.clone()).await.unwrap();
    let found = async {
        loop {
            let changed = changes.next().await.unwrap();
            if changed.iter().any(|entry| entry.key == "/ketcd/test/topics/name/t") {
                assert_eq!(changed.iter().filter(|entry| entry.key.contains("/topics/")).count(), 2);
                return;
            }
        }
    };
    tokio::time::timeout(crate::server::SOON, found).await.expect("the change comes");
}
