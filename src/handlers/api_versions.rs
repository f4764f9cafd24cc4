//! ApiVersions (key 18), v0-4. Tells which APIs this broker serves, from the registry.
//!
//! - v3+ carries the client's software name and version (KIP-511); a name that is not a word is INVALID_REQUEST.
//! - v3+ tells features (KIP-584): `group.version` 1 is finalized, since groups of KIP-848 are served. A supported feature whose least
//!   level is 0 is told from v4 on only: older clients cannot read it (KAFKA-17011).
//! - An unknown version is answered with a v0 body, UNSUPPORTED_VERSION and the table (KIP-511); answers always have header v0.

use std::ops::RangeInclusive;

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Encodable, Request};

use super::endpoint::{Api, Handled, RequestContext, begin_frame, finish_frame};
use super::reply::{CloseReason, Reply, Response};
use super::wire::text;
use super::{REGISTRY, find};
use crate::protocol::error::ErrorCode;

pub const KEY: i16 = ApiKey::ApiVersions as i16;

pub struct ApiVersions;

impl Api for ApiVersions {
    type Request = ApiVersionsRequest;
    const NAME: &'static str = "ApiVersions";
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(context: &RequestContext, request: ApiVersionsRequest) -> Handled<ApiVersionsResponse> {
        if context.version >= 3 {
            let name = request.client_software_name.as_str();
            let version = request.client_software_version.as_str();
            if !is_software_word(name) || !is_software_word(version) {
                return Handled::Now(
                    ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code()),
                );
            }
            let _ = context.connection.software.set((name.to_owned(), version.to_owned()));
        }
        Handled::Now(features(context, table()))
    }
}

fn table() -> ApiVersionsResponse {
    let versions = REGISTRY.iter().map(|endpoint| {
        ApiVersion::default()
            .with_api_key(endpoint.key)
            .with_min_version(endpoint.advertised_min)
            .with_max_version(endpoint.max)
    });
    ApiVersionsResponse::default().with_api_keys(versions.collect())
}

/// Kafka's feature that stands for KIP-848: level 0 is without, 1 with.
const GROUP_VERSION: (&str, i16) = ("group.version", 1);

fn features(context: &RequestContext, answer: ApiVersionsResponse) -> ApiVersionsResponse {
    if context.version < 3 {
        return answer;
    }
    let (name, level) = GROUP_VERSION;
    let supported = SupportedFeatureKey::default().with_name(text(name)).with_max_version(level);
    let finalized = FinalizedFeatureKey::default()
        .with_name(text(name))
        .with_max_version_level(level)
        .with_min_version_level(level);
    answer
        .with_supported_features(if context.version >= 4 { vec![supported] } else { Vec::new() })
        .with_finalized_features(vec![finalized])
        // Grows with every change of the cluster's metadata, as Kafka's metadata offset.
        .with_finalized_features_epoch(context.broker.image().revision)
}

/// Kafka's rule for software names and versions (`ApiVersionsRequest.isValid`): letters, digits, `-` and `.`, both ends alphanumeric.
fn is_software_word(word: &str) -> bool {
    let inner = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    let ends = [word.bytes().next(), word.bytes().last()];
    inner && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// The answer to a version that is not served: a v0 body with the error. It names only ApiVersions, as Kafka does.
pub fn unsupported_version(context: &RequestContext) -> Reply {
    let own = find(KEY).map(|endpoint| {
        ApiVersion::default().with_api_key(KEY).with_min_version(endpoint.min).with_max_version(endpoint.max)
    });
    let body = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own.into_iter().collect());
    let context = RequestContext { version: 0, ..context.clone() };
    let encoded = begin_frame::<ApiVersionsRequest>(&context, 64).and_then(|mut frame| {
        body.encode(&mut frame, 0)?;
        finish_frame(&mut frame);
        Ok(frame.freeze())
    });
    match encoded {
        Ok(frame) => Reply::Now(Response::from(frame)),
        Err(cause) => Reply::Close(CloseReason::Malformed(cause.to_string())),
    }
}

const _: () = assert!(KEY == <ApiVersionsRequest as Request>::KEY);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_rule() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.1", "a"] {
            assert!(is_software_word(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a\n", "ü"] {
            assert!(!is_software_word(bad), "{bad:?}");
        }
    }
}
