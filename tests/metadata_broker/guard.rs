//! Starts that must be refused: another cluster, an etcd that went back in time, a Kubernetes control plane.

use std::time::Duration;

use ketcd::metadata::{Metadata, MetadataError, MetadataOptions};
use tempfile::TempDir;

use crate::server::{Broker, Server, new_topic, options};

crate::on_every_server!(
    another_cluster_is_refused,
    a_wiped_etcd_is_refused_until_accepted,
    an_etcd_that_went_back_in_time_is_refused_until_accepted,
    an_etcd_that_forgot_epochs_is_refused_whatever_its_revision,
    producer_ids_that_another_broker_gave_out_are_passed_over,
    a_kubernetes_control_plane_is_refused_unless_forced,
);

mod real {
    use super::a_server_with_users_is_spoken_to;
    crate::on_real_servers!(a_server_with_users_is_spoken_to);
}

async fn refusal(options: MetadataOptions) -> MetadataError {
    Metadata::connect(options).await.err().expect("must be refused")
}

async fn another_cluster_is_refused(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let found = broker.metadata.image().cluster_id.to_string();
    let state = TempDir::new().unwrap();
    let mut other = options(&server.endpoint(), Some(2), state.path());
    other.known_cluster_id = Some("another".into());
    let expected = "another".to_owned();
    assert_eq!(
        refusal(other.clone()).await,
        MetadataError::ClusterIdMismatch { expected, found: found.clone() }
    );
    other.known_cluster_id = Some(found);
    Metadata::connect(other).await.unwrap();
}

async fn a_wiped_etcd_is_refused_until_accepted(server: &mut Server) {
    let state = TempDir::new().unwrap();
    let mut known = options(&server.endpoint(), Some(1), state.path());
    known.known_cluster_id = Some("AAAAAAAAAAAAAAAAAAAAAQ".into());
    let found = "none".to_owned();
    let expected = "AAAAAAAAAAAAAAAAAAAAAQ".to_owned();
    assert_eq!(refusal(known.clone()).await, MetadataError::ClusterIdMismatch { expected, found });
    known.accept_rollback = true;
    let metadata = Metadata::connect(known).await.unwrap();
    assert_eq!(&*metadata.image().cluster_id, "AAAAAAAAAAAAAAAAAAAAAQ");
}

async fn an_etcd_that_went_back_in_time_is_refused_until_accepted(server: &mut Server) {
    let Broker { metadata, state } = Broker::start(&server.endpoint(), 1).await;
    metadata.create_topic(new_topic("t", 1)).await.unwrap();
    let last = metadata.next_producer_id().await.unwrap();
    let image = metadata.image();
    metadata.close().await;
    let path = state.path().join("etcd-session.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(kept["highest_revision"].as_i64().unwrap() >= image.revision, "{kept}");
    assert_eq!(kept["cluster_id"], *image.cluster_id);
    kept["highest_revision"] = 1_000_000.into();
    std::fs::write(&path, kept.to_string()).unwrap();
    server.client().await.delete("/ketcd/test/producer-ids", None).await.unwrap();

    let mut again = options(&server.endpoint(), Some(1), state.path());
    let refused = refusal(again.clone()).await;
    assert!(matches!(refused, MetadataError::RolledBack { seen: 1_000_000, .. }), "{refused}");
    again.accept_rollback = true;
    let metadata = Metadata::connect(again.clone()).await.unwrap();
    assert!(metadata.next_producer_id().await.unwrap() > last, "no id is given twice, also then (rule T11)");
    metadata.close().await;
    again.accept_rollback = false;
    Metadata::connect(again).await.unwrap();
}

async fn an_etcd_that_forgot_epochs_is_refused_whatever_its_revision(server: &mut Server) {
    let broker = Broker::start_with(&server.endpoint(), 1, |options| {
        options.resync_interval = Duration::from_millis(50);
    })
    .await;
    let topic = new_topic("t", 1);
    broker.metadata.create_topic(topic.clone()).await.unwrap();
    let key = format!("/ketcd/test/partitions/{}/0000000000", topic.id);
    let value =
        |epoch: i32| format!(r#"{{"v":1,"leader":null,"leader_epoch":{epoch},"isr":[],"replicas":[1]}}"#);
    let mut client = server.client().await;
    client.put(key.clone(), value(7), None).await.unwrap();
    broker.sees("epoch 7", |image| image.topic("t").unwrap().partitions[0].leader_epoch.get() == 7).await;
    assert!(!broker.metadata.is_fenced());
    // As after a restore: an older value, though at a higher revision.
    client.put(key, value(6), None).await.unwrap();
    broker.until("its refusal", Metadata::is_fenced).await;
    let why = broker.metadata.session().why.unwrap();
    assert!(why.contains("leader epoch 6 of t-0") && why.contains("etcd.accept.rollback"), "{why}");
    assert_eq!(broker.metadata.image().topic("t").unwrap().partitions[0].leader_epoch.get(), 7);
    let refused = broker.metadata.create_topic(new_topic("u", 1)).await.unwrap_err();
    assert!(matches!(refused, MetadataError::EpochRolledBack { .. }), "{refused}");
}

async fn producer_ids_that_another_broker_gave_out_are_passed_over(server: &mut Server) {
    let first = Broker::start(&server.endpoint(), 1).await;
    let second = Broker::start(&server.endpoint(), 2).await;
    let mut last = first.metadata.next_producer_id().await.unwrap();
    for _ in 0..2_500 {
        last = last.max(first.metadata.next_producer_id().await.unwrap());
    }
    let Broker { metadata, state } = second;
    metadata.close().await;
    // The backup is from before all that, and the second broker starts first.
    server.client().await.delete("/ketcd/test/producer-ids", None).await.unwrap();
    let mut again = options(&server.endpoint(), Some(2), state.path());
    again.accept_rollback = true;
    let metadata = Metadata::connect(again).await.unwrap();
    assert!(metadata.next_producer_id().await.unwrap() > last, "rule T11");
}

async fn a_kubernetes_control_plane_is_refused_unless_forced(server: &mut Server) {
    server.client().await.put("/registry/pods/default/a", "x", None).await.unwrap();
    let state = TempDir::new().unwrap();
    let mut options = options(&server.endpoint(), Some(1), state.path());
    assert_eq!(refusal(options.clone()).await, MetadataError::SharedWithKubernetes);
    options.allow_kubernetes = true;
    Metadata::connect(options).await.unwrap();
}

async fn a_server_with_users_is_spoken_to(server: &mut Server) {
    let mut client = server.client().await;
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.ok();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
    let broker = Broker::start_with(&server.endpoint(), 1, |options| {
        options.connection.user = Some("root".into());
        options.connection.password = Some("secret".into());
    })
    .await;
    broker.metadata.create_topic(new_topic("t", 1)).await.unwrap();
    broker.until("the controller's role", |metadata| metadata.session().is_controller()).await;
    let state = TempDir::new().unwrap();
    let mut wrong = options(&server.endpoint(), Some(2), state.path());
    wrong.connection.user = Some("root".into());
    wrong.connection.password = Some("wrong".into());
    let refused = refusal(wrong).await;
    assert!(matches!(refused, MetadataError::Refused { .. }), "{refused}");
}
