//! UnregisterBroker (key 64), v0. Forgets a broker that is away for good, so that it is not told of as fenced any more.
//!
//! - A broker that is alive is refused: it would register again at once. Its replicas are moved by a reassignment first.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::text;
use crate::metadata::MetadataError;
use crate::protocol::error::ErrorCode;
use crate::types::BrokerId;

pub struct UnregisterBroker;

impl Api for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    const NAME: &'static str = "UnregisterBroker";
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        context: &RequestContext,
        request: UnregisterBrokerRequest,
    ) -> Handled<UnregisterBrokerResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let response = UnregisterBrokerResponse::default();
            match context.broker.unregister(BrokerId(request.broker_id.0), &context.who()).await {
                Ok(()) => response,
                Err(error) => {
                    let code = match &error {
                        MetadataError::NotFound { .. } => ErrorCode::BrokerIdNotRegistered,
                        error => errors::of_metadata(error),
                    };
                    response.with_error_code(code.code()).with_error_message(Some(text(error.to_string())))
                }
            }
        }))
    }
}
