//! ApiVersions: the first question of every client.

use bytes::{Buf, Bytes};
use ketcd::handlers::REGISTRY;
use ketcd::protocol::peer::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use ketcd::protocol::peer::{Decodable, encode_frame};

use crate::fixture::{peer, shared, text};
use crate::wire;

const INVALID_REQUEST: i16 = 42;
const UNSUPPORTED_VERSION: i16 = 35;

async fn ask(version: i16, name: &str, software_version: &str) -> Bytes {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text(name))
        .with_client_software_version(text(software_version));
    let request = if version < 3 { ApiVersionsRequest::default() } else { request };
    let frame = encode_frame(&request, version, 9, "tests").unwrap();
    wire::exchange(&mut wire::open(shared()).await, &frame).await.answer()
}

/// The header of this answer has version 0 always: old clients must be able to read it.
fn read(mut answer: Bytes, version: i16) -> ApiVersionsResponse {
    assert_eq!(ResponseHeader::decode(&mut answer, 0).unwrap().correlation_id, 9);
    let response = ApiVersionsResponse::decode(&mut answer, version).unwrap();
    assert!(!answer.has_remaining());
    response
}

#[tokio::test]
async fn the_answer_is_the_registry() {
    for version in 0..=4 {
        let answer = read(ask(version, "tests", "1.0").await, version);
        let told: Vec<_> =
            answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let served: Vec<_> = REGISTRY.iter().map(|it| (it.key, it.advertised_min, it.max)).collect();
        assert_eq!((answer.error_code, told), (0, served), "v{version}");
    }
}

#[tokio::test]
async fn produce_is_advertised_from_version_0_and_not_served_there() {
    let peer = peer().await;
    assert_eq!(peer.versions()[&0], (0, 13));
    let mut socket = wire::open(shared()).await;
    let outcome = wire::exchange(&mut socket, &wire::request(0, 2, 1, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0])).await;
    assert_eq!(outcome, wire::Outcome::Closed);
}

#[tokio::test]
async fn an_unknown_version_is_answered_in_version_0_with_the_error_and_the_range() {
    for version in [5, 99, i16::MAX, -1] {
        let mut socket = wire::open(shared()).await;
        // From version 3 on the header ends with tagged fields.
        let tags: &[u8] = if version >= 3 { &[0] } else { &[] };
        let answer = wire::exchange(&mut socket, &wire::request(18, version, 9, tags)).await.answer();
        let answer = read(answer, 0);
        assert_eq!(answer.error_code, UNSUPPORTED_VERSION, "v{version}");
        let range: Vec<_> =
            answer.api_keys.iter().map(|it| (it.api_key, it.min_version, it.max_version)).collect();
        assert_eq!(range, [(18, 0, 4)]);
        // The client asks again on the same connection.
        let again = wire::exchange(&mut socket, &wire::request(18, 0, 9, &[])).await.answer();
        assert_eq!(read(again, 0).error_code, 0);
    }
}

#[tokio::test]
async fn a_software_name_that_is_no_word_is_refused() {
    for (name, version) in
        [("", "1"), ("a", ""), ("-a", "1"), ("a b", "1"), ("a", "1\n2"), ("\u{1b}[31m", "1")]
    {
        for request_version in [3, 4] {
            let answer = read(ask(request_version, name, version).await, request_version);
            assert_eq!(answer.error_code, INVALID_REQUEST, "{name:?} {version:?}");
        }
    }
    assert_eq!(read(ask(4, "apache-kafka-java", "4.3.1").await, 4).error_code, 0);
}
