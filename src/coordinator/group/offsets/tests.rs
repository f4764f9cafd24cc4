//! What is committed, how it is told, and when it is forgotten.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::coordinator::group::command::{CommitPartition, CommitTopic};
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::turn::{Now, Turn};
use crate::metadata::image::TopicImage;
use crate::types::TopicName;

const DAY_MS: Millis = 86_400_000;

/// Offsets with all that a step needs.
#[derive(Default)]
struct World {
    offsets: Offsets,
    settings: GroupSettings,
    image: ClusterImage,
    wall_ms: Millis,
    log: Vec<Record>,
}

impl World {
    fn step<T>(&mut self, act: impl FnOnce(&mut Offsets, &mut Context<'_>) -> T) -> T {
        let (mut timers, mut turn) = (Timers::default(), Turn::default());
        let mut context = Context {
            now: Now { wall_ms: self.wall_ms, elapsed_ms: 0 },
            settings: &self.settings,
            image: &self.image,
            timers: &mut timers,
            turn: &mut turn,
        };
        let answer = act(&mut self.offsets, &mut context);
        self.log.append(&mut turn.records);
        answer
    }

    fn commit(&mut self, group: &str, topic: &str, partitions: &[(i32, i64)]) -> Vec<(i32, ErrorCode)> {
        let id = self.image.topic_names.get(topic).copied().unwrap_or_default();
        let request = commit(group, topic, id, partitions);
        self.step(|offsets, context| offsets.commit(context, &request, |_, _| ErrorCode::None)).remove(0).1
    }

    fn committed(&self, group: &str, topic: &str, partition: i32) -> i64 {
        fetch(&self.offsets, group, topic, partition).offset
    }

    fn make_topic(&mut self, name: &str, id: TopicId) {
        let topic = TopicImage {
            id,
            name: TopicName::new(name).unwrap(),
            mod_revision: 1,
            deleting: false,
            partitions: vec![],
        };
        self.image.topic_names.insert(TopicName::new(name).unwrap(), id);
        self.image.topics.insert(id, Arc::new(topic));
    }

    fn begin_deletion(&mut self, name: &str) {
        let id = self.image.topic_names.remove(name).unwrap();
        Arc::make_mut(self.image.topics.get_mut(&id).unwrap()).deleting = true;
    }

    fn forget_deleted(&mut self) -> bool {
        self.step(|offsets, context| offsets.forget_deleted_topics(context))
    }

    fn expire(&mut self, group: &str, aging: Aging, read: &str) -> bool {
        self.step(|offsets, context| offsets.expire(context, &group.into(), aging, |topic| topic == read))
    }

    /// What a replay of the log gives, every record through its bytes.
    fn replayed(&self) -> Offsets {
        let mut offsets = Offsets::default();
        for record in &self.log {
            let (key, value) = record.encode();
            match Record::decode(&key, value.as_deref()).unwrap().unwrap() {
                Record::OffsetCommit { group, topic, partition, value } => {
                    offsets.replay(&group, &topic, partition, value);
                }
                other => panic!("no offset: {other:?}"),
            }
        }
        offsets
    }
}

fn id(number: u128) -> TopicId {
    TopicId::new(Uuid::from_u128(number)).unwrap()
}

fn commit(group: &str, topic: &str, id: TopicId, partitions: &[(i32, i64)]) -> OffsetCommit {
    let partition = |(index, offset): &(i32, i64)| CommitPartition {
        index: *index,
        offset: *offset,
        leader_epoch: 4,
        metadata: Name::default(),
    };
    let partitions = partitions.iter().map(partition).collect();
    OffsetCommit {
        group: group.into(),
        generation: -1,
        topics: vec![CommitTopic { name: topic.into(), id, partitions }],
        ..OffsetCommit::default()
    }
}

fn fetch(offsets: &Offsets, group: &str, topic: &str, partition: i32) -> FetchedOffset {
    let topics = Some(vec![(Name::from(topic), vec![partition])]);
    let request = OffsetFetch { group: group.into(), epoch: -1, topics, ..OffsetFetch::default() };
    offsets.fetch(&request).remove(0).1.remove(0)
}

fn everything(offsets: &Offsets) -> Vec<(Name, Name, i32, i64)> {
    let mut all: Vec<_> = offsets.iter().map(|(g, t, p, o)| (g.clone(), t.clone(), p, o)).collect();
    all.sort();
    all
}

#[test]
fn a_committed_offset_is_told_with_all_that_was_committed_and_others_are_minus_one() {
    let mut world = World::default();
    let mut request = commit("g", "t", TopicId::ZERO, &[(3, 17)]);
    request.topics[0].partitions[0].metadata = "where I was".into();
    world.step(|offsets, context| offsets.commit(context, &request, |_, _| ErrorCode::None));
    let told = fetch(&world.offsets, "g", "t", 3);
    assert_eq!((told.offset, told.leader_epoch, &*told.metadata), (17, 4, "where I was"));
    for (group, topic, partition) in [("g", "t", 4), ("g", "u", 3), ("h", "t", 3)] {
        let told = fetch(&world.offsets, group, topic, partition);
        assert_eq!((told.offset, told.leader_epoch, told.error), (-1, -1, ErrorCode::None));
    }
}

#[test]
fn all_offsets_of_a_group_are_told_by_topic_and_none_of_another_group() {
    let mut world = World::default();
    world.commit("g", "b", &[(0, 1)]);
    world.commit("g", "a", &[(1, 2), (0, 3)]);
    world.commit("g", "b", &[(5, 4)]);
    world.commit("other", "a", &[(0, 9)]);
    let all = world.offsets.fetch(&OffsetFetch { group: "g".into(), epoch: -1, ..OffsetFetch::default() });
    let all: Vec<_> = all
        .iter()
        .map(|(topic, parts)| (&**topic, parts.iter().map(|p| (p.index, p.offset)).collect::<Vec<_>>()))
        .collect();
    assert_eq!(all, [("b", vec![(0, 1), (5, 4)]), ("a", vec![(0, 3), (1, 2)])]);
    let none = world.offsets.fetch(&OffsetFetch { group: "nobody".into(), ..OffsetFetch::default() });
    assert_eq!(none, []);
}

#[test]
fn metadata_that_is_too_large_refuses_its_partition_only() {
    let mut world = World::default();
    world.settings.offset_metadata_max_bytes = 4;
    let mut request = commit("g", "t", TopicId::ZERO, &[(0, 1), (1, 1), (2, 1)]);
    request.topics[0].partitions[0].metadata = "12345".into();
    // Four units of UTF-16, twelve bytes: Kafka counts the former.
    request.topics[0].partitions[1].metadata = "✓✓✓✓".into();
    let answer = world.step(|offsets, context| offsets.commit(context, &request, |_, _| ErrorCode::None));
    let errors = [(0, ErrorCode::OffsetMetadataTooLarge), (1, ErrorCode::None), (2, ErrorCode::None)];
    assert_eq!(answer, [("t".into(), errors.to_vec())]);
    assert_eq!(everything(&world.offsets).len(), 2);
    assert_eq!(world.log.len(), 2);
}

#[test]
fn a_partition_that_may_not_be_committed_keeps_its_offset() {
    let mut world = World::default();
    world.commit("g", "t", &[(0, 5), (1, 5)]);
    let request = commit("g", "t", TopicId::ZERO, &[(0, 9), (1, 9)]);
    let check = |_, partition| if partition == 0 { ErrorCode::StaleMemberEpoch } else { ErrorCode::None };
    let answer = world.step(|offsets, context| offsets.commit(context, &request, check));
    assert_eq!(answer[0].1, [(0, ErrorCode::StaleMemberEpoch), (1, ErrorCode::None)]);
    assert_eq!((world.committed("g", "t", 0), world.committed("g", "t", 1)), (5, 9));
}

#[test]
fn offsets_go_back_only_if_they_are_committed_back() {
    let mut world = World::default();
    world.commit("g", "t", &[(0, 100)]);
    world.commit("g", "t", &[(0, 7)]);
    assert_eq!(world.committed("g", "t", 0), 7);
    assert_eq!(everything(&world.replayed()), everything(&world.offsets));
}

#[test]
fn deleting_offsets_spares_topics_that_are_read() {
    let mut world = World::default();
    world.commit("g", "read", &[(0, 1)]);
    world.commit("g", "left", &[(0, 1), (1, 1)]);
    let topics = vec![("read".into(), vec![0]), ("left".into(), vec![0, 7]), ("never".into(), vec![0])];
    let request = OffsetDelete { group: "g".into(), topics };
    let records = world.log.len();
    let answer = world.step(|offsets, context| offsets.delete(context, &request, |topic| topic == "read"));
    let none = ErrorCode::None;
    assert_eq!(answer[0], ("read".into(), vec![(0, ErrorCode::GroupSubscribedToTopic)]));
    assert_eq!(answer[1], ("left".into(), vec![(0, none), (7, none)]));
    assert_eq!(answer[2], ("never".into(), vec![(0, none)]));
    assert_eq!(world.log.len() - records, 1, "one tombstone: for what was there");
    assert_eq!(world.committed("g", "read", 0), 1);
    assert_eq!(world.committed("g", "left", 0), -1);
    assert_eq!(everything(&world.replayed()), everything(&world.offsets));
}

#[test]
fn a_deleted_group_leaves_nothing_and_others_keep_theirs() {
    let mut world = World::default();
    world.commit("g", "t", &[(0, 1), (1, 1)]);
    world.commit("h", "t", &[(0, 1)]);
    world.step(|offsets, context| offsets.delete_group(context, &"g".into()));
    assert_eq!(everything(&world.offsets), [("h".into(), "t".into(), 0, 1)]);
    assert_eq!(world.offsets.groups(), ["h".into()]);
    assert_eq!(everything(&world.replayed()), everything(&world.offsets));
}

#[test]
fn offsets_age_from_their_commit_or_from_when_the_group_became_empty() {
    let mut world = World { wall_ms: 10 * DAY_MS, ..World::default() };
    world.commit("g", "t", &[(0, 1)]);
    world.wall_ms = 12 * DAY_MS;
    world.commit("g", "t", &[(1, 1)]);
    world.wall_ms = 17 * DAY_MS;
    assert!(!world.expire("g", Aging::InUse, ""), "in use, nothing ages");
    assert!(!world.expire("g", Aging::Since(10 * DAY_MS + 1), ""), "empty for a moment less than 7 days");
    assert_eq!(everything(&world.offsets).len(), 2);
    assert!(!world.expire("g", Aging::SinceCommit, "t"), "somebody reads the topic");
    assert_eq!(everything(&world.offsets).len(), 2);
    assert!(!world.expire("g", Aging::SinceCommit, ""));
    assert_eq!(everything(&world.offsets), [("g".into(), "t".into(), 1, 1)]);
    assert!(world.expire("g", Aging::Since(10 * DAY_MS), ""), "nothing is left");
    assert_eq!(everything(&world.offsets), []);
    assert_eq!(everything(&world.replayed()), []);
}

#[test]
fn an_offset_that_brought_its_own_time_goes_then_even_from_a_busy_group() {
    let mut world = World { wall_ms: 1000, ..World::default() };
    let mut request = commit("g", "t", id(7), &[(0, 1)]);
    request.retention_ms = Some(500);
    world.step(|offsets, context| offsets.commit(context, &request, |_, _| ErrorCode::None));
    assert_eq!(fetch(&world.offsets, "g", "t", 0).leader_epoch, -1, "its version has no epoch");
    assert_eq!(fetch(&world.replayed(), "g", "t", 0), fetch(&world.offsets, "g", "t", 0));
    world.wall_ms = 1499;
    assert!(!world.expire("g", Aging::Since(0), ""));
    world.wall_ms = 1500;
    assert!(world.expire("g", Aging::Since(1500), ""));
}

#[test]
fn offsets_of_a_topic_being_deleted_are_forgotten_in_all_groups() {
    let mut world = World::default();
    world.make_topic("t", id(1));
    world.make_topic("u", id(2));
    world.commit("g", "t", &[(0, 1)]);
    world.commit("h", "t", &[(0, 1)]);
    world.commit("h", "u", &[(0, 1)]);
    let mut request = commit("h", "t", id(1), &[(5, 1)]);
    request.retention_ms = Some(DAY_MS);
    world.step(|offsets, context| offsets.commit(context, &request, |_, _| ErrorCode::None));
    assert!(!world.forget_deleted());
    assert_eq!(everything(&world.offsets).len(), 4);
    world.begin_deletion("t");
    assert!(!world.forget_deleted());
    assert_eq!(everything(&world.offsets), [("h".into(), "u".into(), 0, 1)]);
    assert_eq!(everything(&world.replayed()), everything(&world.offsets));
    let records = world.log.len();
    assert!(!world.forget_deleted());
    assert_eq!(world.log.len(), records, "what is forgotten is forgotten once");
}

#[test]
fn offsets_of_a_topic_that_was_made_again_are_forgotten_and_those_of_the_new_one_are_kept() {
    let mut world = World::default();
    world.make_topic("t", id(1));
    world.commit("g", "t", &[(0, 100), (1, 100)]);
    world.make_topic("t", id(2));
    world.image.topics.remove(&id(1));
    world.commit("g", "t", &[(0, 3)]);
    world.forget_deleted();
    assert_eq!(everything(&world.offsets), [("g".into(), "t".into(), 0, 3)]);
    // The same after a replay of a log in which nobody had time to forget.
    world.log.truncate(3);
    world.offsets = world.replayed();
    world.forget_deleted();
    assert_eq!(everything(&world.offsets), [("g".into(), "t".into(), 0, 3)]);
}

#[test]
fn offsets_of_a_topic_that_the_image_lacks_are_kept() {
    let mut world = World::default();
    world.make_topic("t", id(1));
    world.commit("g", "t", &[(0, 100)]);
    world.image = ClusterImage::default();
    world.forget_deleted();
    assert_eq!(world.committed("g", "t", 0), 100);
}

#[test]
fn what_one_turn_cannot_hold_is_forgotten_in_the_next_ones() {
    let mut world = World::default();
    world.make_topic("t", id(1));
    let many: Vec<(i32, i64)> = (0..25_000).map(|partition| (partition, 1)).collect();
    world.commit("g", "t", &many);
    world.wall_ms = 8 * DAY_MS;
    assert!(!world.expire("g", Aging::SinceCommit, ""));
    assert_eq!(everything(&world.offsets).len(), 15_000);
    world.begin_deletion("t");
    assert!(world.forget_deleted());
    assert!(!world.forget_deleted());
    assert_eq!(everything(&world.offsets), []);
}

/// Not a benchmark: a bound that a quadratic step or a fat entry breaks by far.
#[test]
fn many_offsets_are_committed_told_and_forgotten_in_linear_time() {
    let mut world = World::default();
    // In an order that is as bad as any.
    let many: Vec<(i32, i64)> = (0..200_000i64).map(|n| ((n * 7919 % 200_003) as i32, n)).collect();
    let answer = world.commit("g", "t", &many);
    assert_eq!(answer.len(), 200_000);
    assert_eq!(world.log.len(), 200_000);
    assert_eq!(world.committed("g", "t", 7919), 1);
    let key = std::mem::size_of::<table::Key>();
    let entry = std::mem::size_of::<table::Entry>();
    assert!(key + entry <= 64, "{key} + {entry} bytes for an offset");
    world.log.clear();
    world.step(|offsets, context| offsets.delete_group(context, &"g".into()));
    assert_eq!(world.log.len(), 200_000);
    assert_eq!(world.offsets.iter().count(), 0);
}
