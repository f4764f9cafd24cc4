//! What AlterConfigs and IncrementalAlterConfigs share: every resource once, each with its own outcome.

use futures_util::future::join_all;
use kafka_protocol::protocol::StrBytes;

use super::endpoint::RequestContext;
use super::errors;
use super::wire::{Failure, config_entity, repeated};
use crate::broker::configs::ConfigChange;
use crate::protocol::error::ErrorCode;

/// A resource whose configuration shall change.
pub struct Alteration {
    /// Its type on the wire.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: StrBytes,
    /// What happens to its keys, or why that cannot be understood.
    pub change: Result<ConfigChange, Failure>,
}

/// Changes each resource, or only checks; the outcomes are in the order asked.
pub async fn alter(
    context: RequestContext,
    asked: Vec<Alteration>,
    validate_only: bool,
) -> Vec<(i8, StrBytes, Result<(), Failure>)> {
    let repeated = repeated(asked.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let altered = asked.into_iter().map(|one| {
        let key = (one.resource_type, one.resource_name);
        let twice = repeated.contains(&key);
        let context = &context;
        async move {
            let outcome = alter_one(context, &key, one.change, twice, validate_only).await;
            (key.0, key.1, outcome)
        }
    });
    join_all(altered).await
}

async fn alter_one(
    context: &RequestContext,
    (resource_type, resource_name): &(i8, StrBytes),
    change: Result<ConfigChange, Failure>,
    twice: bool,
    validate_only: bool,
) -> Result<(), Failure> {
    if twice {
        let message = "the request names the resource more than once";
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    let entity = config_entity(*resource_type, resource_name)?;
    let altered = context.broker.alter_config(entity, change?, validate_only, &context.who()).await;
    altered.map_err(|error| Failure::new(errors::of_config_change(&error), error))
}
