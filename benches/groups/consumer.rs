//! KIP-848: a hundred connections follow the heartbeat protocol as clients do: at once when there is something to acknowledge, else as
//! often as the broker says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::ConsumerGroupHeartbeatRequest;
use ketcd::protocol::peer::messages::consumer_group_heartbeat_request::TopicPartitions;
use ketcd::types::{Clock, random};
use tokio::sync::{Barrier, mpsc, watch};
use uuid::Uuid;

use crate::common::process::{Broker, PATIENCE, ms};
use crate::wire::{group, passes, text, topic};
use crate::{MEMBERS, PARTITIONS, Settling};

type Owned = BTreeSet<(Uuid, i32)>;

pub async fn start_and_leave(broker: &Broker, clock: &Clock, name: &str) -> Settling {
    let (tell, mut told) = mpsc::channel(MEMBERS);
    let (leave, told_to_leave) = watch::channel(false);
    let ready = Arc::new(Barrier::new(MEMBERS + 1));
    let mut members = Vec::new();
    for place in 0..MEMBERS {
        let peer = broker.peer().await;
        let id = random::uuid().to_string();
        let member = Member { peer, group: name.to_owned(), id, epoch: 0, owned: Owned::new(), place };
        let leaves = (place == 0).then(|| told_to_leave.clone());
        members.push(tokio::spawn(member.run(Arc::clone(&ready), tell.clone(), leaves)));
    }
    let mut owned = vec![0; MEMBERS];
    ready.wait().await;
    let begun = clock.elapsed();
    until_even(&mut told, &mut owned, MEMBERS).await;
    let start_ms = ms(clock.elapsed() - begun);
    let begun = clock.elapsed();
    leave.send_replace(true);
    until_even(&mut told, &mut owned, MEMBERS - 1).await;
    let leave_ms = ms(clock.elapsed() - begun);
    for member in members {
        member.abort();
    }
    Settling { start_ms, leave_ms }
}

/// Until every partition has an owner and nobody owns more than its share.
async fn until_even(told: &mut mpsc::Receiver<(usize, usize)>, owned: &mut [usize], members: usize) {
    let partitions = usize::try_from(PARTITIONS).expect("positive");
    let most = partitions.div_ceil(members);
    loop {
        let (place, count) = told.recv().await.expect("members live");
        *owned.get_mut(place).expect("a member") = count;
        if owned.iter().sum::<usize>() == partitions && owned.iter().all(|count| *count <= most) {
            return;
        }
    }
}

struct Member {
    peer: Peer,
    group: String,
    id: String,
    epoch: i32,
    owned: Owned,
    place: usize,
}

impl Member {
    async fn run(
        mut self,
        ready: Arc<Barrier>,
        tell: mpsc::Sender<(usize, usize)>,
        leaves: Option<watch::Receiver<bool>>,
    ) {
        ready.wait().await;
        let mut acknowledge = true;
        loop {
            let pause = self.heartbeat(&mut acknowledge, &tell).await;
            if acknowledge {
                continue;
            }
            match &leaves {
                None => tokio::time::sleep(pause).await,
                Some(leave) => {
                    let mut leave = leave.clone();
                    let told = tokio::time::timeout(pause, leave.wait_for(|leave| *leave)).await.is_ok();
                    if told {
                        return self.leave(&tell).await;
                    }
                }
            }
        }
    }

    /// One heartbeat; `acknowledge` says before it that the owned partitions are told, after it that they must be.
    async fn heartbeat(&mut self, acknowledge: &mut bool, tell: &mpsc::Sender<(usize, usize)>) -> Duration {
        let mut request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_member_id(text(&self.id))
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None);
        if self.epoch == 0 {
            request = request
                .with_rebalance_timeout_ms(60_000)
                .with_subscribed_topic_names(Some(vec![topic()]))
                .with_topic_partitions(Some(Vec::new()));
        } else if *acknowledge {
            request = request.with_topic_partitions(Some(self.by_topic()));
        }
        let answer = self.peer.call_within(&request, 1, PATIENCE).await.expect("an answer");
        if passes(answer.error_code) {
            return Duration::from_millis(20);
        }
        assert_eq!(answer.error_code, 0, "heartbeat: {:?}", answer.error_message);
        self.epoch = answer.member_epoch;
        *acknowledge = false;
        if let Some(assignment) = answer.assignment {
            let assigned: Owned = assignment
                .topic_partitions
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic_id, *index)))
                .collect();
            *acknowledge = assigned != self.owned;
            self.owned = assigned;
            tell.send((self.place, self.owned.len())).await.expect("the bench listens");
        }
        Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or_default())
    }

    fn by_topic(&self) -> Vec<TopicPartitions> {
        let mut topics: Vec<TopicPartitions> = Vec::new();
        for (topic, index) in &self.owned {
            match topics.last_mut() {
                Some(last) if last.topic_id == *topic => last.partitions.push(*index),
                _ => topics
                    .push(TopicPartitions::default().with_topic_id(*topic).with_partitions(vec![*index])),
            }
        }
        topics
    }

    async fn leave(&mut self, tell: &mpsc::Sender<(usize, usize)>) {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_member_id(text(&self.id))
            .with_member_epoch(-1)
            .with_subscribed_topic_names(None);
        self.peer.call_within(&request, 1, PATIENCE).await.expect("an answer");
        tell.send((self.place, 0)).await.expect("the bench listens");
    }
}
