//! The handle on a real server that outage tests use: killing, freezing and restarting do what they say.

use std::time::Duration;

use etcd_client::Client;

use crate::backend::block_on;
use crate::etcd::{RealEtcd, Release, skip};

/// Longer than a server that runs needs, and what a frozen one costs this test.
const PATIENCE: Duration = Duration::from_secs(2);

async fn answers(client: &mut Client) -> bool {
    matches!(tokio::time::timeout(PATIENCE, client.get("k", None)).await, Ok(Ok(_)))
}

#[test]
fn a_real_server_can_be_frozen_thawed_killed_and_restarted_with_its_data() {
    block_on(async {
        if let Err(why) = Release::Current.etcd() {
            return skip("outage", &why);
        }
        let mut server = RealEtcd::start(Release::Current).await.unwrap();
        let endpoint = server.endpoint();
        let mut client = server.client().await;
        client.put("k", "v", None).await.unwrap();
        server.freeze();
        assert!(!answers(&mut client).await, "a frozen server is silent");
        server.thaw();
        assert!(client.get("k", None).await.is_ok(), "a thawed one goes on");
        server.kill();
        assert!(!answers(&mut client).await, "a killed one is gone");
        server.restart().await.unwrap();
        assert_eq!(server.endpoint(), endpoint);
        let found = server.client().await.get("k", None).await.unwrap();
        assert_eq!(found.kvs()[0].value(), b"v");
    });
}
