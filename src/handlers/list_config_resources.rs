//! ListConfigResources (key 74), v0-1. What has a configuration (KIP-1142). v0: client metrics only. v1: the types asked for, or all.
//!
//! - Topics and brokers are listed whether anything is set for them or not, groups only with a configuration of their own.
//! - Broker loggers (8) and client metrics (16) are not served: there are none.

use std::ops::RangeInclusive;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC, endpoint_of, text};
use crate::metadata::image::{ClusterImage, ConfigEntity};
use crate::protocol::error::ErrorCode;

const RESOURCE_BROKER_LOGGER: i8 = 8;
const RESOURCE_CLIENT_METRICS: i8 = 16;
const ALL: [i8; 5] =
    [RESOURCE_TOPIC, RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP];

pub struct ListConfigResources;

impl Api for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const NAME: &'static str = "ListConfigResources";
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        context: &RequestContext,
        request: ListConfigResourcesRequest,
    ) -> Handled<ListConfigResourcesResponse> {
        let asked = match request.resource_types.as_slice() {
            _ if context.version == 0 => &[RESOURCE_CLIENT_METRICS][..],
            [] => &ALL[..],
            asked => asked,
        };
        if asked.iter().any(|one| !ALL.contains(one)) {
            let error = ErrorCode::UnsupportedVersion;
            return Handled::Now(ListConfigResourcesResponse::default().with_error_code(error.code()));
        }
        let image = context.broker.image();
        let listed = ALL.iter().filter(|one| asked.contains(one)).flat_map(|one| {
            let names = names(&image, *one, &context.connection.listener);
            names
                .into_iter()
                .map(|name| ConfigResource::default().with_resource_name(text(name)).with_resource_type(*one))
        });
        Handled::Now(ListConfigResourcesResponse::default().with_config_resources(listed.collect()))
    }
}

fn names(image: &ClusterImage, resource_type: i8, listener: &str) -> Vec<String> {
    match resource_type {
        RESOURCE_TOPIC => image.topic_names.keys().map(ToString::to_string).collect(),
        RESOURCE_BROKER => {
            let reachable =
                image.brokers.values().filter(|one| endpoint_of(&one.endpoints, listener).is_some());
            reachable.map(|broker| broker.id.to_string()).collect()
        }
        RESOURCE_GROUP => {
            let groups = image.configs.iter().filter_map(|(entity, entries)| match entity {
                ConfigEntity::Group(name) if !entries.is_empty() => Some(name.clone()),
                _ => None,
            });
            groups.collect()
        }
        _ => Vec::new(),
    }
}
