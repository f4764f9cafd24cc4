//! InitProducerId (key 22), v0-5. Gives an idempotent producer its id, from a block that was taken from etcd ahead of time.
//!
//! - A transactional id is refused with an error that clients take as fatal: anything retriable would make them wait for their whole
//!   timeout (`wire.md` rule 11).
//! - The producer id and epoch that a v3+ request may carry matter only with a transactional id (KIP-360).

use std::ops::RangeInclusive;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId};
use tracing::warn;

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use crate::protocol::error::ErrorCode;
use crate::types::ProducerId;

/// What every client takes as "ask again": Kafka's own answer while it has no block of ids.
const RETRY: ErrorCode = ErrorCode::CoordinatorLoadInProgress;

pub struct InitProducerId;

impl Api for InitProducerId {
    type Request = InitProducerIdRequest;
    const NAME: &'static str = "InitProducerId";
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(context: &RequestContext, request: InitProducerIdRequest) -> Handled<InitProducerIdResponse> {
        if request.transactional_id.as_ref().is_some_and(|id| id.is_empty()) {
            return Handled::Now(refused(ErrorCode::InvalidRequest));
        }
        if request.transactional_id.is_some() {
            return Handled::Now(refused(ErrorCode::TransactionalIdAuthorizationFailed));
        }
        if let Some(id) = context.broker.metadata().try_next_producer_id() {
            return Handled::Now(given(id));
        }
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            match context.broker.metadata().next_producer_id().await {
                Ok(id) => given(id),
                Err(cause) => {
                    warn!(%cause, "no producer id can be given");
                    refused(if cause.retriable() { RETRY } else { errors::of_metadata(&cause) })
                }
            }
        }))
    }
}

fn given(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_producer_id(WireProducerId(id.get())).with_producer_epoch(0)
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.code())
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1)
}
