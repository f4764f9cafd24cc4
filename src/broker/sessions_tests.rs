//! Sessions by hand: requests in, what they are served and what they look at out.

use super::*;
use crate::types::{BrokerEpoch, BrokerId};

fn wanted(index: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        topic: TopicKey::Name("t".to_owned()),
        index,
        fetch_offset,
        max_bytes: 100,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        cursor: None,
        told: None,
    }
}

fn request(id: i32, epoch: i32) -> SessionRequest {
    SessionRequest { id, epoch, uses_ids: false, follower: false }
}

fn indexes(partitions: &[FetchPartition]) -> Vec<i32> {
    partitions.iter().map(|partition| partition.index).collect()
}

#[test]
fn an_incremental_fetch_has_the_partitions_named_before() {
    let sessions = FetchSessions::new(2);
    let (context, _) =
        sessions.begin(request(0, 0), vec![wanted(0, 5), wanted(1, 6)], &[], Duration::ZERO).unwrap();
    let id = context.id();
    assert_ne!(id, 0);
    let (context, named) = sessions.begin(request(id, 1), vec![wanted(1, 9)], &[], Duration::ZERO).unwrap();
    assert!(matches!(&context, SessionContext::Incremental(turn) if turn.id == id));
    let partitions = context.partitions(named);
    assert_eq!(partitions.iter().map(|p| (p.index, p.fetch_offset)).collect::<Vec<_>>(), [(0, 5), (1, 9)]);
    let forgotten = [(TopicKey::Name("t".to_owned()), 0)];
    let (context, _) = sessions.begin(request(id, 2), vec![], &forgotten, Duration::ZERO).unwrap();
    assert_eq!(indexes(&context.partitions(vec![])), [1]);
}

#[test]
fn a_wrong_session_or_epoch_is_refused() {
    let sessions = FetchSessions::new(2);
    let now = Duration::ZERO;
    assert_eq!(sessions.begin(request(7, 1), vec![], &[], now).unwrap_err(), SessionError::NotFound(7));
    let (context, _) = sessions.begin(request(0, 0), vec![wanted(0, 0)], &[], now).unwrap();
    assert_eq!(
        sessions.begin(request(context.id(), 2), vec![], &[], now).unwrap_err(),
        SessionError::InvalidEpoch { got: 2, expected: 1 }
    );
    let by_id = SessionRequest { uses_ids: true, ..request(context.id(), 1) };
    assert_eq!(sessions.begin(by_id, vec![], &[], now).unwrap_err(), SessionError::TopicIds);
}

#[test]
fn sessions_are_bounded_and_an_unused_one_gives_way() {
    let sessions = FetchSessions::new(1);
    let begin = |now| sessions.begin(request(0, 0), vec![wanted(0, 0)], &[], now).unwrap().0.id();
    assert_ne!(begin(Duration::ZERO), 0);
    assert_eq!(begin(Duration::from_secs(60)), 0);
    assert_ne!(begin(Duration::from_secs(121)), 0);
    assert_eq!(sessions.count(), 1);
}

#[test]
fn the_partition_behind_the_last_one_with_data_is_served_first() {
    let sessions = FetchSessions::new(1);
    let all = vec![wanted(0, 0), wanted(1, 0), wanted(2, 0)];
    let (context, _) = sessions.begin(request(0, 0), all, &[], Duration::ZERO).unwrap();
    context.turn().unwrap().answered(&wanted(0, 0), None, None, true);
    let (context, _) = sessions.begin(request(context.id(), 1), vec![], &[], Duration::ZERO).unwrap();
    assert_eq!(indexes(&context.partitions(vec![])), [1, 2, 0]);
}

#[test]
fn a_final_fetch_ends_its_session() {
    let sessions = FetchSessions::new(1);
    let (context, _) = sessions.begin(request(0, 0), vec![wanted(0, 0)], &[], Duration::ZERO).unwrap();
    let (ended, _) =
        sessions.begin(request(context.id(), -1), vec![wanted(0, 0)], &[], Duration::ZERO).unwrap();
    assert_eq!(ended.id(), 0);
    assert_eq!(sessions.count(), 0);
}

const EVERY: Duration = Duration::from_secs(5);

fn follower(epoch: i64) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(2), epoch: BrokerEpoch(epoch) }
}

fn by_id(index: i32) -> FetchPartition {
    FetchPartition { topic: TopicKey::Id(topic()), ..wanted(index, 0) }
}

fn topic() -> TopicId {
    TopicId::new(uuid::Uuid::from_u128(7)).unwrap()
}

#[test]
fn a_follower_looks_at_what_is_told_or_named_and_now_and_then_at_everything() {
    let sessions = FetchSessions::new(1);
    let asks = |id, epoch, named: &[i32]| {
        let request = SessionRequest { id, epoch, uses_ids: true, follower: true };
        let named = named.iter().map(|index| by_id(*index)).collect();
        sessions.begin(request, named, &[], Duration::ZERO).unwrap().0
    };
    let look = |context: &SessionContext, epoch: i64, at: u64| {
        let found = context.turn().unwrap().to_look_at(follower(epoch), Duration::from_millis(at), EVERY);
        found.map(|partitions| indexes(&partitions))
    };
    let context = asks(0, 0, &[0, 1, 2, 3]);
    assert_eq!(look(&context, 9, 0), Some(vec![0, 1, 2, 3]), "the first time");
    assert_eq!(look(&context, 9, 10), Some(vec![]));
    let news = context.turn().unwrap().news();
    for index in [2, 1, 7] {
        news.tell((topic(), index), false);
    }
    assert_eq!(look(&context, 9, 20), Some(vec![2, 1]), "7 is none of its partitions");
    assert_eq!(look(&context, 9, 30), Some(vec![]), "taken");
    assert_eq!(look(&context, 9, 5_000), Some(vec![0, 1, 2, 3]), "time has passed");
    assert_eq!(look(&context, 10, 5_010), Some(vec![0, 1, 2, 3]), "another lifetime");
    news.tell((topic(), 1), true);
    let second = asks(context.id(), 1, &[3]);
    let third = asks(context.id(), 2, &[4]);
    assert_eq!([&context, &second].map(|earlier| look(earlier, 10, 5_020)), [None, None]);
    assert_eq!(look(&third, 10, 5_020), Some(vec![1, 3, 4]), "with what the requests before it named");
}

#[test]
fn what_is_answered_after_the_next_request_came_is_not_taken_for_told() {
    let sessions = FetchSessions::new(1);
    let (context, _) = sessions.begin(request(0, 0), vec![wanted(0, 0)], &[], Duration::ZERO).unwrap();
    let (later, _) = sessions.begin(request(context.id(), 1), vec![], &[], Duration::ZERO).unwrap();
    let told = Some((Offset::ZERO, Offset::ZERO));
    context.turn().unwrap().answered(&wanted(0, 0), told, None, false);
    assert_eq!(later.partitions(vec![])[0].told, None);
    later.turn().unwrap().answered(&wanted(0, 0), told, None, false);
    assert_eq!(later.partitions(vec![])[0].told, told);
}
