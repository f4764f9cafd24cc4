//! Frames and batches written by Apache Kafka 4.3.1's own serialisers (`tests/fixtures/golden/kafka-4.3.1/Golden.java`).

use bytes::Bytes;

use super::apis::APIS;
use super::batch::{BATCH_HEADER_BYTES, BatchHeader, verify_crc};
use super::compression::{Codec, decompress};
use super::guard::{self, GuardError};
use super::header;
use super::records::{validate, walk};

const REQUESTS: &str = include_str!("../../tests/fixtures/golden/kafka-4.3.1/requests.txt");
const BATCHES: &str = include_str!("../../tests/fixtures/golden/kafka-4.3.1/batches.txt");

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn batch(name: &str) -> Bytes {
    bytes(lines(BATCHES).find(|line| line[0] == name).unwrap()[1])
}

#[test]
fn header_and_guard_accept_every_request_that_kafka_writes() {
    let mut accepted = 0;
    for line in lines(REQUESTS) {
        let number = |at: usize| line[at].parse::<i16>().unwrap();
        let (key, version, body_bytes) = (number(0), number(1), line[2].parse::<usize>().unwrap());
        let frame = bytes(line[3]);
        if !guard::knows(key, version) {
            assert_eq!(guard::check(key, version, &[]), Err(GuardError::Unknown { key, version }));
            continue;
        }
        let (header, body) = header::parse(&frame).unwrap();
        assert_eq!((header.api_key, header.api_version), (key, version));
        let client_id = (version % 3 != 2).then(|| format!("golden-{version}"));
        assert_eq!(header.client_id.as_deref(), client_id.as_deref(), "{line:?}");
        assert_eq!(body.len(), body_bytes, "{line:?}");
        assert_eq!(guard::check(key, version, &body).map(|it| it.trailing_bytes), Ok(0), "{line:?}");
        for end in 0..body.len() {
            assert!(guard::check(key, version, &body[..end]).is_err(), "cut at {end}: {line:?}");
        }
        accepted += 1;
    }
    let known: i16 = APIS.iter().map(|api| api.version_max - api.version_min + 1).sum();
    assert_eq!(accepted, known, "a golden frame for each api and version");
}

#[test]
fn the_ranges_and_flexible_versions_are_kafkas() {
    for api in APIS {
        let versions: Vec<i16> = lines(REQUESTS)
            .filter(|line| line[0] == api.key.to_string())
            .map(|line| line[1].parse().unwrap())
            .collect();
        let expected: Vec<i16> = (api.version_min..=api.kafka_version_max).collect();
        assert_eq!(versions, expected, "{}", api.name);
    }
}

#[test]
fn records_that_kafka_compressed_are_read_as_written() {
    let large: Vec<u8> = (0..70_000).map(|at| (at % 50) as u8).collect();
    for codec in Codec::ALL {
        let batch = batch(codec.name());
        verify_crc(&batch).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.codec(), header.size_bytes()), (Some(codec), batch.len()));
        assert_eq!((header.base_offset, header.last_offset(), header.record_count), (100, 103, 4));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4000, 7, 12));
        assert_eq!(header.partition_leader_epoch, 5);
        assert_eq!(header.max_timestamp, 1_700_000_000_007);

        let section = decompress(codec, &batch[BATCH_HEADER_BYTES..], 1 << 20).unwrap();
        let summary = validate(&header, &section).unwrap();
        assert_eq!((summary.max_timestamp, summary.min_timestamp), (1_700_000_000_007, 1_699_999_999_999));
        assert_eq!((summary.offset_delta_of_max_timestamp, summary.has_null_key), (1, true));
        let all: Vec<_> = walk(&section, 4).map(Result::unwrap).collect();
        assert_eq!((all[0].key, all[0].value), (Some(b"key".as_slice()), Some(b"value".as_slice())));
        assert_eq!((all[1].key, all[1].value), (None, None));
        let headers: Vec<_> = all[1].headers().map(|it| (it.key, it.value)).collect();
        assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"a", Some(b"2")), (b"b", None)]);
        assert_eq!((all[2].key, all[2].value), (Some(&b""[..]), Some(&b""[..])));
        let last: &[u8] = if codec == Codec::None { &[0] } else { &large };
        assert_eq!(all[3].value, Some(last));
    }
}

#[test]
fn attributes_that_kafka_sets_are_seen() {
    let header = |name: &str| {
        verify_crc(&batch(name)).unwrap();
        BatchHeader::parse(&batch(name)).unwrap()
    };
    assert!(!header("none").has_log_append_time() && header("log-append-time").has_log_append_time());
    assert!(!header("none").is_transactional() && header("transactional").is_transactional());
    let marker = header("commit-marker");
    assert!(marker.is_control() && marker.is_transactional());
    assert_eq!((marker.base_offset, marker.record_count, marker.base_sequence), (31, 1, -1));
    assert!(!header("transactional").is_control());
}
