//! FindCoordinator, and the topic that the first question makes.

use futures_util::future::join_all;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::{FindCoordinatorRequest, MetadataRequest};
use ketcd::protocol::peer::{Peer, StrBytes};
use tempfile::TempDir;

use crate::fixture::{
    DEADLINE, OwnBroker, batch, connect, groups_are_served, named, peer, produce, produce_request, text,
    topic,
};
use crate::member::{commit, committed};

const INVALID_TOPIC_EXCEPTION: i16 = 17;
const INVALID_REQUEST: i16 = 42;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const TOPIC: &str = "__consumer_offsets";

fn batched(key_type: i8, keys: &[&str]) -> FindCoordinatorRequest {
    let keys = keys.iter().map(|key| text(key)).collect();
    FindCoordinatorRequest::default().with_key_type(key_type).with_coordinator_keys(keys)
}

#[tokio::test]
async fn the_first_questions_of_many_make_the_topic_once_and_name_this_broker() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["offsets.topic.num.partitions=5"]).await;
    let questions = (0..20).map(|client| {
        let address = broker.address.clone();
        async move {
            let mut peer = connect(&address).await;
            let group = format!("group-{client}");
            let answer = peer.call_at(&batched(0, &[&group, "other"]), 4).await.unwrap();
            let named: Vec<_> = answer.coordinators.iter().map(|one| one.key.as_str().to_owned()).collect();
            assert_eq!(named, [group.as_str(), "other"]);
            for one in &answer.coordinators {
                assert_eq!((one.error_code, one.node_id.0), (0, 0), "{one:?}");
                assert_eq!(format!("{}:{}", one.host, one.port), address);
            }
            // What was named can be asked at once.
            assert_eq!(committed(&mut peer, &group, "nothing", 0).await, -1);
        }
    });
    join_all(questions).await;
    let mut peer = connect(&broker.address).await;
    let asked = MetadataRequestTopic::default().with_name(Some(named(TOPIC)));
    let answer = peer.call_at(&MetadataRequest::default().with_topics(Some(vec![asked])), 12).await.unwrap();
    let topic = &answer.topics[0];
    assert_eq!((topic.error_code, topic.is_internal, topic.partitions.len()), (0, true, 5));
    broker.stop().await;
}

#[tokio::test]
async fn before_version_4_there_is_one_question_and_one_answer() {
    let mut peer = peer().await;
    for version in 0..=3 {
        let request = FindCoordinatorRequest::default().with_key(text("group"));
        let answer = peer.call_at(&request, version).await.unwrap();
        assert_eq!((answer.error_code, answer.node_id.0), (0, 0), "v{version}");
        assert!(answer.port > 0);
    }
}

#[tokio::test]
async fn coordinators_that_are_not_served_are_refused_for_good_and_in_words() {
    let mut peer = peer().await;
    let transaction = peer.call_at(&batched(1, &["id"]), 5).await.unwrap();
    let one = &transaction.coordinators[0];
    assert_eq!((one.error_code, one.key.as_str()), (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "id"));
    assert!(one.error_message.as_ref().is_some_and(|message| message.contains("transactions")));
    let old = FindCoordinatorRequest::default().with_key(text("id")).with_key_type(1);
    let old = peer.call_at(&old, 2).await.unwrap();
    assert_eq!((old.error_code, old.port), (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1));
    assert!(old.error_message.as_ref().is_some_and(|message: &StrBytes| message.contains("transactions")));
    for (version, key_type, code) in
        [(6, 2, TRANSACTIONAL_ID_AUTHORIZATION_FAILED), (5, 2, INVALID_REQUEST), (6, 9, INVALID_REQUEST)]
    {
        let answer = peer.call_at(&batched(key_type, &["k"]), version).await.unwrap();
        assert_eq!(answer.coordinators[0].error_code, code, "type {key_type} in v{version}");
    }
}

#[tokio::test]
async fn clients_do_not_write_where_the_coordinator_keeps_its_state() {
    let mut clients = peer().await;
    let found = clients.call_at(&batched(0, &["group"]), 4).await.unwrap();
    assert_eq!(found.coordinators[0].error_code, 0);
    let refused = produce(&mut clients, TOPIC, 0, batch(&["x"])).await;
    assert_eq!(refused.error_code, INVALID_TOPIC_EXCEPTION);
    // Kafka lets the client of its own administrator write: what it writes is not ours, and is skipped when groups are loaded.
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["offsets.topic.num.partitions=1"]).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "kept").await.name;
    let _ = peer.call_at(&batched(0, &["group"]), 4).await.unwrap();
    assert_eq!(commit(&mut peer, "group", &topic, 0, 41).await, 0);
    let mut admin = Peer::connect(&broker.address, "__admin_client", DEADLINE).await.unwrap();
    let request = produce_request(TOPIC, 0, -1, Some(batch(&["x"])));
    let answer = admin.call_at(&request, 9).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    drop((peer, admin));
    broker.stop().await;
    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    assert_eq!(committed(&mut peer, "group", &topic, 0).await, 41);
    broker.stop().await;
}
