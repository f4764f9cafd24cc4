//! Bytes that are no requests: wrong lengths, other protocols, unknown APIs, noise; and many good frames at once.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use ketcd::handlers::REGISTRY;
use ketcd::types::random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{DEADLINE, connect, produce_values, shared, topic};
use crate::sample::{self, Subject};
use crate::wire::{self, Outcome};

/// Another client is served, on a new connection.
async fn others_are_served() {
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "bystander").await;
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["served"]).await, 0);
}

#[tokio::test]
async fn lengths_that_are_none_close_the_connection() {
    for length in [0, 1, 3, 7, -1, -2, i32::MIN, (100 << 20) + 1, i32::MAX] {
        let mut socket = wire::open(shared()).await;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0; 16]);
        assert_eq!(wire::exchange(&mut socket, &bytes).await, Outcome::Closed, "length {length}");
    }
    others_are_served().await;
}

#[tokio::test]
async fn other_protocols_are_sent_away() {
    let greetings: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03tls hello, more or less",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"*1\r\n$4\r\nPING\r\n",
        b"AMQP\0\0\x09\x01",
        b"HELO example.org\r\n",
    ];
    for greeting in greetings {
        let mut socket = wire::open(shared()).await;
        let mut answer = Vec::new();
        socket.write_all(greeting).await.unwrap();
        // Only one is told something, in its own protocol; all are closed.
        let ended = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{:?} is left waiting", String::from_utf8_lossy(greeting));
        assert!(answer.len() < 1000);
    }
    others_are_served().await;
}

#[tokio::test]
async fn apis_and_versions_that_are_not_served_close_the_connection() {
    let mut asked = 0;
    for key in (-2..100).chain([i16::MAX, i16::MIN]) {
        let served = REGISTRY.iter().find(|it| it.key == key);
        let versions = match served {
            // Answered, see ApiVersions.
            Some(endpoint) if endpoint.key == 18 => continue,
            Some(endpoint) => vec![-1, endpoint.min - 1, endpoint.max + 1, i16::MAX],
            None => vec![0, 1],
        };
        for version in versions {
            let mut socket = wire::open(shared()).await;
            let outcome = wire::exchange(&mut socket, &wire::request(key, version, 1, &[0; 64])).await;
            assert_eq!(outcome, Outcome::Closed, "api {key} version {version}");
            asked += 1;
        }
    }
    assert!(asked > 200);
    others_are_served().await;
}

#[tokio::test]
async fn eight_megabytes_of_noise_change_nothing() {
    let mut sent = 0;
    while sent < 8 << 20 {
        let noise: Vec<u8> = (0..8192).flat_map(|_| random::below(u64::MAX).to_be_bytes()).collect();
        let mut socket = wire::open(shared()).await;
        // Half of it as it is, half as a frame whose length is right.
        let noise = if sent % (128 << 10) == 0 { wire::framed(&noise) } else { noise.into() };
        let _ = socket.write_all(&noise).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await.expect("closed in time").ok();
        sent += 64 << 10;
    }
    others_are_served().await;
}

#[tokio::test]
async fn ten_thousand_frames_at_once_are_answered_in_their_order() {
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "pipeline").await;
    let name = topic.name.clone();
    let subject =
        Subject { topic, new_name: "pipelined".to_owned(), old_name: "never-was".to_owned(), changes: false };
    const COUNT: i32 = 10_000;
    // Answers that are ready at once between those that come later.
    let keys = [18, 0, 3, 2, 1, 61, 0, 60, 22, 23];
    let mut frames = BytesMut::new();
    for id in 0..COUNT {
        let key = keys[id as usize % keys.len()];
        let version = REGISTRY.iter().find(|it| it.key == key).unwrap().max;
        frames.put_slice(&sample::frame(key, version, id, &subject));
    }
    let (mut read, mut write) = wire::open(shared()).await.into_split();
    let sending = tokio::spawn(async move {
        write.write_all(&frames).await.unwrap();
        write
    });
    let all = async {
        for expected in 0..COUNT {
            let length = read.read_u32().await.unwrap();
            let mut frame = vec![0; length as usize];
            read.read_exact(&mut frame).await.unwrap();
            assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()), expected);
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("all answers come");
    drop(sending.await.unwrap());
    let (_, _, end, _) = crate::fixture::list_offset(&mut peer, &name, 0, -1).await;
    assert_eq!(end, i64::from(COUNT) / 5, "each produce was stored once");
}

#[tokio::test]
async fn a_correlation_id_used_again_is_answered_again() {
    let mut socket = wire::open(shared()).await;
    for _ in 0..3 {
        let answer = wire::exchange(&mut socket, &wire::request(18, 0, -7, &[])).await.answer();
        assert_eq!(answer[..4], (-7i32).to_be_bytes());
    }
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let mut socket = wire::open(shared()).await;
    let frame = wire::request(18, 0, 5, &[]);
    for byte in &frame[..frame.len() - 1] {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = wire::exchange(&mut socket, &frame[frame.len() - 1..]).await.answer();
    assert_eq!(answer[..4], 5i32.to_be_bytes());
}

#[tokio::test]
async fn clients_that_announce_large_frames_and_stay_silent_do_not_stop_others() {
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut socket = wire::open(shared()).await;
        socket.write_all(&(100i32 << 20).to_be_bytes()).await.unwrap();
        socket.write_all(&[0, 0, 0, 9, 0, 0]).await.unwrap();
        silent.push(socket);
    }
    tokio::time::timeout(DEADLINE, others_are_served()).await.expect("others are served");
}
