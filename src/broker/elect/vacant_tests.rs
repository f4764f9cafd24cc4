//! Campaigns with data: images, times and outcomes in, ballots out.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::metadata::MetadataError;
use crate::metadata::image::BrokerImage;
use crate::replication::election::Grounds;
use crate::types::{BrokerEpoch, BrokerId, PartitionEpoch, TopicName};

const NONE: [i32; 0] = [];
const ME: ReplicaEntry = ReplicaEntry { id: BrokerId(2), epoch: BrokerEpoch(20) };

/// Entries by id: broker n lives in epoch 10 n.
fn entry(id: i32) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(i64::from(id) * 10) }
}

fn topic_id(n: u128) -> TopicId {
    TopicId::new(Uuid::from_u128(n)).unwrap()
}

fn broker(id: i32) -> Arc<BrokerImage> {
    let epoch = entry(id).epoch;
    Arc::new(BrokerImage::of(BrokerId(id), epoch))
}

/// Partitions with these replicas, the first one leading, all in sync.
fn topic(n: u128, partitions: &[&[i32]]) -> Arc<TopicImage> {
    let state = |replicas: &&[i32]| {
        let isr: Vec<ReplicaEntry> = replicas.iter().map(|id| entry(*id)).collect();
        Arc::new(PartitionImage {
            replicas: replicas.iter().map(|id| BrokerId(*id)).collect(),
            leader: isr.first().copied(),
            leader_epoch: LeaderEpoch(3),
            isr,
            partition_epoch: PartitionEpoch(50),
            ..PartitionImage::assigned(Vec::new())
        })
    };
    let name = TopicName::new(&format!("t{n}")).unwrap();
    let partitions = partitions.iter().map(state).collect();
    Arc::new(TopicImage { id: topic_id(n), name, mod_revision: 40, deleting: false, partitions })
}

fn image(live: &[i32], topics: &[Arc<TopicImage>]) -> ClusterImage {
    ClusterImage {
        revision: 100,
        brokers: live.iter().map(|id| (BrokerId(*id), broker(*id))).collect(),
        topics: topics.iter().map(|topic| (topic.id, Arc::clone(topic))).collect(),
        ..ClusterImage::default()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Campaign {
    vacancies: Vacancies,
    unclean: bool,
    not_ready: Vec<i32>,
}

impl Campaign {
    fn new() -> Self {
        Self { vacancies: Vacancies::default(), unclean: false, not_ready: vec![] }
    }

    fn observe(&mut self, image: &ClusterImage, at: u64) {
        self.vacancies.observe(&Arc::new(image.clone()), ME, ms(at));
    }

    fn ballots(&mut self, at: u64) -> Vec<Ballot> {
        let (unclean, not_ready) = (self.unclean, self.not_ready.clone());
        let rules = |_: &ClusterImage, _: &TopicImage| ElectionRules { min_insync_replicas: 1, unclean };
        self.vacancies.ballots(ms(at), rules, |_, index| !not_ready.contains(&index))
    }

    /// The partitions of the ballots sent at a time.
    fn sent(&mut self, at: u64) -> Vec<i32> {
        self.ballots(at).iter().map(|ballot| ballot.change.partition).collect()
    }

    fn next(&self) -> Option<u64> {
        self.vacancies.next_look().map(|at| u64::try_from(at.as_millis()).unwrap())
    }
}

#[test]
fn nothing_is_done_while_all_leaders_live() {
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[1, 2, 3], &[topic(1, &[&[1, 2, 3], &[2, 3, 1]])]), 0);
    assert_eq!((campaign.vacancies.count(), campaign.next()), (0, None));
    assert_eq!(campaign.sent(10_000), NONE);
}

#[test]
fn the_best_placed_candidate_tries_at_once_and_others_in_their_turn() {
    let topics = [topic(1, &[&[1, 2, 3], &[1, 3, 2], &[3, 2, 1], &[1, 3]])];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[1, 2, 3], &topics), 0);
    campaign.observe(&image(&[2, 3], &topics), 1_000);
    // Partition 0: rank 0. Partition 1: behind 3. Partition 2: its leader lives. Partition 3: no replica of ours.
    assert_eq!((campaign.vacancies.count(), campaign.next()), (2, Some(1_000)));
    assert_eq!(campaign.sent(1_000), [0]);
    assert_eq!(campaign.sent(1_399), NONE);
    assert_eq!(campaign.sent(1_400), [1]);
}

#[test]
fn a_rank_counts_from_when_the_leader_was_seen_to_be_gone() {
    let topics = [topic(1, &[&[1, 3, 2]])];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[2, 3], &topics), 0);
    assert_eq!(campaign.sent(0), NONE);
    // Other news do not push the turn away.
    for at in [100, 200, 300] {
        campaign.observe(&image(&[2, 3, 4 + i32::try_from(at).unwrap()], &topics), at);
        assert_eq!(campaign.sent(at), NONE);
    }
    assert_eq!((campaign.next(), campaign.sent(400)), (Some(400), vec![0]));
}

#[test]
fn whoever_is_elected_meanwhile_ends_the_campaign() {
    let before = topic(1, &[&[1, 3, 2], &[1, 3, 2]]);
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[2, 3], &[Arc::clone(&before)]), 0);
    assert_eq!(campaign.sent(0), NONE);
    let mut after = TopicImage::clone(&before);
    let won = PartitionImage {
        leader: Some(entry(3)),
        leader_epoch: LeaderEpoch(4),
        ..PartitionImage::clone(&before.partitions[0])
    };
    after.partitions[0] = Arc::new(won);
    let after = Arc::new(after);
    campaign.observe(&image(&[2, 3], &[Arc::clone(&after)]), 50);
    assert_eq!((campaign.vacancies.count(), campaign.sent(400)), (1, vec![1]));
    // The new leader dies too: a new vacancy with times of its own.
    campaign.observe(&image(&[2], &[after]), 5_000);
    assert_eq!(campaign.sent(5_000), [0, 1], "nobody is ahead any more");
}

#[test]
fn a_partition_whose_log_is_not_recovered_is_waited_for() {
    let topics = [topic(1, &[&[1, 2], &[1, 2]])];
    let mut campaign = Campaign::new();
    campaign.not_ready = vec![1];
    campaign.observe(&image(&[2], &topics), 0);
    assert_eq!(campaign.sent(0), [0]);
    campaign.not_ready.clear();
    assert_eq!(campaign.sent(99), NONE);
    assert_eq!(campaign.sent(100), [1]);
}

#[test]
fn who_lost_tries_again_at_another_time_and_later_each_time() {
    let topics = [topic(1, &[&[1, 2]])];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[2], &topics), 0);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let ballots = campaign.ballots(now);
        assert_eq!(ballots.len(), 1, "at {now}");
        campaign.vacancies.outcome(&ballots[0], &PartitionOutcome::Rejected, ms(now), 1.0);
        // News do not hurry it: that is what the pause is for.
        campaign.observe(&image(&[2, 9], &topics), now);
        campaign.observe(&image(&[2], &topics), now);
        let next = campaign.next().unwrap();
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 640, 640]);
}

#[test]
fn the_pause_after_a_loss_is_a_matter_of_chance() {
    let topics = [topic(1, &[&[1, 2]])];
    for (chance, expected) in [(0.0, 0), (0.25, 5), (1.0, 20)] {
        let mut campaign = Campaign::new();
        campaign.observe(&image(&[2], &topics), 0);
        let ballots = campaign.ballots(0);
        campaign.vacancies.outcome(&ballots[0], &PartitionOutcome::Rejected, Duration::ZERO, chance);
        assert_eq!(campaign.next(), Some(expected));
    }
}

#[test]
fn lost_answers_and_an_absent_etcd_are_tried_again() {
    let topics = [topic(1, &[&[1, 2]])];
    let unknown = PartitionOutcome::Unknown { why: "lost".into() };
    let not_sent = PartitionOutcome::NotSent(MetadataError::NoSpace);
    for (outcome, expected) in [(unknown, 200), (not_sent, 500)] {
        let mut campaign = Campaign::new();
        campaign.observe(&image(&[2], &topics), 0);
        let first = campaign.ballots(0);
        campaign.vacancies.outcome(&first[0], &outcome, Duration::ZERO, 1.0);
        assert_eq!(campaign.sent(expected - 1), NONE);
        // The same compares: whichever of both lands, only one does.
        assert_eq!(campaign.ballots(expected), first);
    }
}

#[test]
fn an_own_restart_makes_all_its_leaderships_vacant() {
    // Led by the lifetime before this one, and this broker is in sync.
    let before = topic(1, &[&[2, 1], &[1, 2]]);
    let mut topic = TopicImage::clone(&before);
    let old = ReplicaEntry { id: ME.id, epoch: BrokerEpoch(15) };
    topic.partitions[0] = Arc::new(PartitionImage {
        leader: Some(old),
        isr: vec![old, entry(1)],
        ..PartitionImage::clone(&before.partitions[0])
    });
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[1, 2], &[Arc::new(topic)]), 0);
    let ballots = campaign.ballots(0);
    assert_eq!(ballots.len(), 1);
    assert_eq!((ballots[0].change.partition, ballots[0].grounds), (0, Grounds::InSync));
}

#[test]
fn nobody_campaigns_before_the_image_shows_its_registration() {
    let topics = [topic(1, &[&[1, 2]])];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[], &topics), 0);
    assert_eq!(campaign.sent(0), NONE);
    assert_eq!(campaign.next(), None, "an image that shows it will wake the campaign");
    campaign.observe(&image(&[2], &topics), 10);
    assert_eq!(campaign.sent(10), [0]);
}

#[test]
fn a_configuration_that_allows_unclean_elections_is_looked_at_again() {
    // Broker 2 is no longer in sync, and the only in-sync one is away.
    let before = topic(1, &[&[1, 2]]);
    let mut topic = TopicImage::clone(&before);
    topic.partitions[0] =
        Arc::new(PartitionImage { isr: vec![entry(1)], ..PartitionImage::clone(&before.partitions[0]) });
    let mut image = image(&[2], &[Arc::new(topic)]);
    let mut campaign = Campaign::new();
    campaign.observe(&image, 0);
    assert_eq!((campaign.sent(0), campaign.next()), (vec![], None));
    for entity in [ConfigEntity::Topic(before.name.clone()), ConfigEntity::ClusterDefault] {
        let mut campaign = Campaign::new();
        campaign.observe(&image, 0);
        assert_eq!(campaign.sent(0), NONE);
        campaign.unclean = true;
        image.configs.insert(entity.clone(), Arc::default());
        campaign.observe(&image, 5);
        let ballots = campaign.ballots(5);
        assert_eq!((ballots.len(), ballots[0].grounds), (1, Grounds::Unclean), "{entity:?}");
        image.configs.remove(&entity);
    }
}

#[test]
fn a_deleted_topic_is_forgotten() {
    let topics = [topic(1, &[&[1, 2]]), topic(2, &[&[1, 2]])];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[2], &topics), 0);
    assert_eq!(campaign.vacancies.count(), 2);
    let mut deleting = TopicImage::clone(&topics[0]);
    deleting.deleting = true;
    campaign.observe(&image(&[2], &[Arc::new(deleting)]), 1);
    assert_eq!((campaign.vacancies.count(), campaign.next()), (0, None));
}

#[test]
fn a_large_failover_goes_in_batches() {
    let partitions = vec![[1, 2].as_slice(); 10_000];
    let topics = [topic(1, &partitions)];
    let mut campaign = Campaign::new();
    campaign.observe(&image(&[1, 2], &topics), 0);
    campaign.observe(&image(&[2], &topics), 1);
    let mut sent = 0;
    for expected in [BALLOTS_MAX, BALLOTS_MAX, 10_000 - 2 * BALLOTS_MAX, 0] {
        let ballots = campaign.ballots(1);
        assert_eq!(ballots.len(), expected);
        sent += ballots.len();
        for ballot in &ballots {
            let written = PartitionOutcome::Written(PartitionEpoch(200));
            campaign.vacancies.outcome(ballot, &written, ms(1), 0.5);
        }
    }
    assert_eq!(sent, 10_000);
}
