//! What the benches of groups share: names, and the coordinator awake.

use std::time::Duration;

use ketcd::protocol::peer::messages::{FindCoordinatorRequest, GroupId, TopicName};
use ketcd::protocol::peer::{Peer, StrBytes};

use crate::common::process::PATIENCE;

/// The topic that groups read.
pub const TOPIC: &str = "bench-topic";
/// Coordinator errors that pass: load in progress, not available, not coordinator.
const PASSING: [i16; 3] = [14, 15, 16];

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

pub fn topic() -> TopicName {
    TopicName(text(TOPIC))
}

/// Whether an error says "again, a little later".
pub fn passes(error_code: i16) -> bool {
    PASSING.contains(&error_code)
}

/// Asks until there is a coordinator: the first question makes its topic.
pub async fn find_coordinator(peer: &mut Peer) {
    loop {
        let request =
            FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text("any")]);
        let answer = peer.call_within(&request, 4, PATIENCE).await.expect("an answer");
        if answer.coordinators.first().is_some_and(|found| found.error_code == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
