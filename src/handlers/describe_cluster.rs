//! DescribeCluster (key 60), v0-2. The brokers, the controller and the cluster's id.
//!
//! - v1 endpoint type: only brokers (1) are served; controllers (2) are not a separate quorum here (KIP-919).
//! - v2 may ask for fenced brokers: those without a registration that nobody has unregistered, where they were seen last (KIP-1073).

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{CLUSTER_OPERATIONS, NONE, OPERATIONS_NOT_ASKED, broker_id, endpoint_of, text};
use crate::metadata::image::Endpoint;
use crate::protocol::error::ErrorCode;
use crate::types::BrokerId;

const ENDPOINT_BROKERS: i8 = 1;

pub struct DescribeCluster;

impl Api for DescribeCluster {
    type Request = DescribeClusterRequest;
    const NAME: &'static str = "DescribeCluster";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: DescribeClusterRequest) -> Handled<DescribeClusterResponse> {
        if context.version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
            return Handled::Now(
                DescribeClusterResponse::default()
                    .with_error_code(ErrorCode::MismatchedEndpointType.code())
                    .with_error_message(Some(text(
                        "this is a broker endpoint: there are no controller endpoints",
                    ))),
            );
        }
        let image = context.broker.image();
        let listener = &context.connection.listener;
        let live = image.brokers.values();
        let mut brokers: Vec<DescribeClusterBroker> =
            live.filter_map(|live| broker(live.id, &live.endpoints, live.rack.as_ref(), listener)).collect();
        if request.include_fenced_brokers {
            let known = image.broker_meta.iter().filter(|(id, _)| !image.brokers.contains_key(id));
            let fenced =
                known.filter_map(|(id, meta)| broker(*id, &meta.endpoints, meta.rack.as_ref(), listener));
            brokers.extend(fenced.map(|broker| broker.with_is_fenced(true)));
        }
        let operations = if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        };
        Handled::Now(
            DescribeClusterResponse::default()
                .with_endpoint_type(ENDPOINT_BROKERS)
                .with_cluster_id(text(&image.cluster_id))
                .with_controller_id(kafka_protocol::messages::BrokerId(
                    image.controller.map_or(NONE, |(controller, _)| controller.get()),
                ))
                .with_brokers(brokers)
                .with_cluster_authorized_operations(operations),
        )
    }
}

/// A broker as clients of `listener` reach it; `None` if it does not have that listener.
fn broker(
    id: BrokerId,
    endpoints: &[Endpoint],
    rack: Option<&String>,
    listener: &str,
) -> Option<DescribeClusterBroker> {
    let endpoint = endpoint_of(endpoints, listener)?;
    Some(
        DescribeClusterBroker::default()
            .with_broker_id(broker_id(id))
            .with_host(text(&endpoint.host))
            .with_port(i32::from(endpoint.port))
            .with_rack(rack.map(text)),
    )
}
