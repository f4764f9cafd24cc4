//! Requests that are cut short or lie about their lengths, for every API. What decoding them may allocate is measured in
//! `tests/guard_hostile.rs`, where nothing else runs.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use ketcd::handlers::REGISTRY;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::fixture::{connect, list_offset, peer, produce_values, shared, topic};
use crate::sample::{self, Subject};
use crate::wire::{self, Outcome};

/// Connections at a time.
const AT_ONCE: usize = 8;

async fn subject() -> Subject {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "bad").await;
    produce_values(&mut peer, &topic.name, 0, &["a", "b"]).await;
    Subject { topic, new_name: "bad-new".to_owned(), old_name: "never-was".to_owned(), changes: false }
}

/// Sends every frame, on a new connection after each that was closed; gives the outcomes in order.
async fn send_all(frames: Vec<Bytes>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(frames.len());
    let mut socket: Option<TcpStream> = None;
    for frame in frames {
        let mut open = match socket.take() {
            Some(open) => open,
            None => wire::open(shared()).await,
        };
        let outcome = wire::exchange(&mut open, &frame).await;
        if outcome != Outcome::Closed {
            socket = Some(open);
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// Makes frames of each API and version by `make`, sends them and hands the outcomes to `check`, some at a time.
async fn for_each_api(
    versions: impl Fn(i16, i16) -> Vec<i16>,
    make: impl Fn(&[u8]) -> Vec<Bytes>,
    check: fn(&str, i16, usize, &Outcome),
) -> usize {
    let subject = Arc::new(subject().await);
    let mut tasks = JoinSet::new();
    let mut sent = 0;
    for endpoint in REGISTRY {
        for version in versions(endpoint.min, endpoint.max) {
            let frames = make(&sample::frame(endpoint.key, version, 1, &subject)[4..]);
            sent += frames.len();
            if tasks.len() >= AT_ONCE {
                tasks.join_next().await.unwrap().unwrap();
            }
            tasks.spawn(async move {
                for (index, outcome) in send_all(frames).await.iter().enumerate() {
                    check(endpoint.name, version, index, outcome);
                }
            });
        }
    }
    tasks.join_all().await;
    sent
}

async fn still_serves() {
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "after").await;
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["served"]).await, 0);
}

#[tokio::test]
async fn every_prefix_of_every_request_closes_the_connection() {
    let sent = for_each_api(
        |min, max| (min..=max).collect(),
        |payload| (0..payload.len()).map(|cut| wire::framed(&payload[..cut])).collect(),
        |name, version, cut, outcome| {
            assert_eq!(outcome, &Outcome::Closed, "{name} v{version} cut after {cut} bytes");
        },
    );
    assert!(sent.await > 5_000);
    still_serves().await;
}

#[tokio::test]
async fn hostile_numbers_anywhere_are_answered_or_close_the_connection() {
    let patterns: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0x80, 0x80, 0x80, 0x80],
    ];
    let sent = for_each_api(
        |min, max| if min == max { vec![min] } else { vec![min, max] },
        |payload| {
            let mut frames = Vec::new();
            // Key, version and correlation id are another test's.
            for at in 8..payload.len() {
                for pattern in patterns {
                    let mut changed = payload.to_vec();
                    let end = (at + pattern.len()).min(changed.len());
                    changed[at..end].copy_from_slice(&pattern[..end - at]);
                    frames.push(wire::framed(&changed));
                }
            }
            frames
        },
        // That something came is all: some of these are valid requests.
        |_, _, _, _| {},
    );
    assert!(sent.await > 5_000);
    still_serves().await;
}

#[tokio::test]
async fn bytes_after_the_last_field_are_ignored() {
    let subject = subject().await;
    let mut socket = wire::open(shared()).await;
    let mut accepted = 0;
    for endpoint in REGISTRY {
        for version in endpoint.min..=endpoint.max {
            let mut payload = sample::frame(endpoint.key, version, 8, &subject)[4..].to_vec();
            payload.extend([0xAB; 7]);
            let answer = wire::exchange(&mut socket, &wire::framed(&payload)).await;
            let Outcome::Answered(answer) = answer else {
                panic!("{} v{version} with trailing bytes closed the connection", endpoint.name);
            };
            assert_eq!(answer[..4], 8i32.to_be_bytes());
            accepted += 1;
        }
    }
    assert!(accepted > 80);
}

#[tokio::test]
async fn a_request_of_too_many_elements_closes_the_connection() {
    // Metadata v1: a count, then empty names: two bytes each become a struct each.
    for (count, outcome) in [(900_000, "closed"), (1_100_000, "closed"), (1_000, "answered")] {
        let mut body = BytesMut::new();
        body.put_i32(count);
        body.put_bytes(0, count as usize * 2);
        let mut socket = wire::open(shared()).await;
        let got = match wire::exchange(&mut socket, &wire::request(3, 1, 1, &body)).await {
            Outcome::Answered(_) => "answered",
            Outcome::Closed => "closed",
        };
        assert_eq!(got, outcome, "{count} topics");
    }
    still_serves().await;
}

#[tokio::test]
async fn very_many_names_are_answered_in_time() {
    let mut socket = wire::open(shared()).await;
    let count = 100_000;
    let mut body = BytesMut::new();
    body.put_i32(count);
    for name in 0..count {
        let name = format!("no/{name}");
        body.put_i16(name.len() as i16);
        body.put_slice(name.as_bytes());
    }
    // Metadata v1 tries to create each of them.
    let answer = wire::exchange(&mut socket, &wire::request(3, 1, 6, &body)).await.answer();
    assert_eq!(answer[..4], 6i32.to_be_bytes());
    still_serves().await;
}

#[tokio::test]
async fn many_large_requests_do_not_lose_a_record() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "large").await.name;
    let value = "x".repeat(900_000);
    for _ in 0..20 {
        produce_values(&mut peer, &topic, 0, &[&value]).await;
    }
    let (_, _, end, _) = list_offset(&mut peer, &topic, 0, -1).await;
    assert_eq!(end, 20);
}
