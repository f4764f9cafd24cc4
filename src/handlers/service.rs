//! From a frame to its handler: header, guard, registry.

use std::sync::Arc;

use bytes::Bytes;

use super::reply::{CloseReason, Connection, Reply, Service};
use super::{api_versions, endpoint::RequestContext, find};
use crate::broker::Broker;
use crate::protocol::{guard, header};
use crate::telemetry::metrics;

/// Serves the registry over one broker.
pub struct BrokerService {
    broker: Arc<Broker>,
}

impl BrokerService {
    /// Serves `broker`.
    #[must_use]
    pub const fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn dispatch(&self, connection: &Arc<Connection>, frame: &Bytes) -> Result<Reply, CloseReason> {
        let (header, body) =
            header::parse(frame).map_err(|cause| CloseReason::Malformed(cause.to_string()))?;
        let context = RequestContext {
            broker: Arc::clone(&self.broker),
            connection: Arc::clone(connection),
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
        };
        let unsupported = CloseReason::Unsupported { key: header.api_key, version: header.api_version };
        let endpoint = find(header.api_key).ok_or_else(|| unsupported.clone())?;
        if !(endpoint.min..=endpoint.max).contains(&header.api_version) {
            if header.api_key == api_versions::KEY {
                return Ok(api_versions::unsupported_version(&context));
            }
            return Err(unsupported);
        }
        let malformed = |cause: String| CloseReason::Malformed(format!("{}: {cause}", endpoint.name));
        let checked = guard::check(header.api_key, header.api_version, &body)
            .map_err(|cause| malformed(cause.to_string()))?;
        // Decoded, a request may take as much again as the largest frame, and no more (rule X3).
        let memory_bytes_max = self.broker.broker_config().socket_request_max_bytes;
        if checked.memory_bytes() > memory_bytes_max {
            return Err(malformed(format!("its {} elements are too many", checked.elements)));
        }
        if checked.trailing_bytes > 0 {
            metrics::trailing_bytes();
        }
        Ok((endpoint.call)(&context, body))
    }
}

impl Service for BrokerService {
    fn call(&self, connection: &Arc<Connection>, frame: Bytes) -> Reply {
        self.dispatch(connection, &frame).unwrap_or_else(Reply::Close)
    }
}
