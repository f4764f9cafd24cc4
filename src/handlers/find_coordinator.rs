//! FindCoordinator (key 10), v0-6. Which broker keeps a group.
//!
//! - v1 key types, v4 many keys at once, each with an error of its own; v6 share keys.
//! - The topic of committed offsets is made at the first question, and the answer waits for it: a retry would cost clients more.
//! - Transaction and share coordinators are not served: an error that clients take as fatal, anything retriable would make them wait
//!   for their whole timeout (`wire.md` rule 11). An empty group is not refused, as in Kafka.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use tracing::debug;

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, NONE, broker_id, endpoint_of, text};
use crate::broker::groups::NoCoordinator;
use crate::metadata::image::BrokerImage;
use crate::protocol::error::ErrorCode;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
const KEY_TYPE_SHARE: i8 = 2;
const FIRST_BATCHED_VERSION: i16 = 4;
const FIRST_VERSION_WITH_SHARE_KEYS: i16 = 6;

pub struct FindCoordinator;

impl Api for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const NAME: &'static str = "FindCoordinator";
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(context: &RequestContext, request: FindCoordinatorRequest) -> Handled<FindCoordinatorResponse> {
        let batched = context.version >= FIRST_BATCHED_VERSION;
        let keys = if batched { request.coordinator_keys } else { vec![request.key] };
        if let Some(failure) = refusal(context.version, request.key_type) {
            let refused = keys.into_iter().map(|key| unavailable(key, &failure));
            return Handled::Now(response(batched, refused.collect()));
        }
        let Some(first) = keys.first().cloned() else {
            return Handled::Now(response(batched, Vec::new()));
        };
        // With the topic there, no question has to wait.
        if context.broker.coordinator_now(&first).is_ok() {
            let found = keys.into_iter().map(|key| {
                let found = context.broker.coordinator_now(&key);
                answer(context, key, found)
            });
            return Handled::Now(response(batched, found.collect()));
        }
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let mut found = Vec::with_capacity(keys.len());
            let first = context.broker.find_coordinator(&first).await;
            let no_topic = first.err().filter(|error| matches!(error, NoCoordinator::NoTopic(_)));
            for key in keys {
                let coordinator = match &no_topic {
                    Some(error) => Err(error.clone()),
                    None => context.broker.coordinator_now(&key),
                };
                found.push(answer(&context, key, coordinator));
            }
            response(batched, found)
        }))
    }
}

/// Why no key of this type has a coordinator.
fn refusal(version: i16, key_type: i8) -> Option<Failure> {
    match key_type {
        KEY_TYPE_GROUP => None,
        KEY_TYPE_TRANSACTION => Some(Failure::new(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this broker does not serve transactions: unset transactional.id",
        )),
        KEY_TYPE_SHARE if version >= FIRST_VERSION_WITH_SHARE_KEYS => Some(Failure::new(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this broker does not serve share groups",
        )),
        other => {
            Some(Failure::new(ErrorCode::InvalidRequest, format!("coordinators of type {other} are unknown")))
        }
    }
}

fn answer(
    context: &RequestContext,
    key: StrBytes,
    found: Result<Arc<BrokerImage>, NoCoordinator>,
) -> Coordinator {
    let found = match found {
        Ok(broker) => broker,
        Err(error) => {
            debug!(group = %key, cause = %error, "no coordinator");
            return unavailable(key, &Failure::new(errors::of_no_coordinator(&error), error.to_string()));
        }
    };
    // A broker that clients of this listener cannot reach is none.
    let Some(endpoint) = endpoint_of(&found.endpoints, &context.connection.listener) else {
        let message = format!("broker {} has no endpoint for this listener", found.id);
        return unavailable(key, &Failure::new(ErrorCode::CoordinatorNotAvailable, message));
    };
    Coordinator::default()
        .with_key(key)
        .with_node_id(broker_id(found.id))
        .with_host(text(&endpoint.host))
        .with_port(i32::from(endpoint.port))
        .with_error_message(None)
}

fn unavailable(key: StrBytes, failure: &Failure) -> Coordinator {
    Coordinator::default()
        .with_key(key)
        .with_node_id(kafka_protocol::messages::BrokerId(NONE))
        .with_port(NONE)
        .with_error_code(failure.code.code())
        .with_error_message(Some(text(&failure.message)))
}

/// Before v4 there is one answer, and its fields stand in the response itself.
fn response(batched: bool, mut coordinators: Vec<Coordinator>) -> FindCoordinatorResponse {
    if batched {
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let only = coordinators.pop().unwrap_or_default();
    FindCoordinatorResponse::default()
        .with_error_code(only.error_code)
        .with_error_message(only.error_message)
        .with_node_id(only.node_id)
        .with_host(only.host)
        .with_port(only.port)
}
