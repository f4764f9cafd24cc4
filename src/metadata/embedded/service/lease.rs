//! Lease: grant, revoke, keep-alive, time-to-live, list.

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService,
    PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures_util::StreamExt;
use tonic::{Request, Response, Streaming};

use super::super::reply::Reply;
use super::super::store::Write;
use super::{Answer, Answers, Service, mismatch};
use crate::types::random;

impl Service {
    /// Renews a lease; a TTL of 0 says that there is none.
    fn renew(&self, id: i64) -> PbLeaseKeepAliveResponse {
        let now = self.0.clock.elapsed();
        let ttl = self.0.state.write().renew(id, now).unwrap_or(0);
        let revision = self.0.state.read().1;
        PbLeaseKeepAliveResponse { header: Some(self.0.header(revision)), id, ttl }
    }
}

#[tonic::async_trait]
impl PbLeaseService for Service {
    async fn lease_grant(&self, request: Request<PbLeaseGrantRequest>) -> Answer<PbLeaseGrantResponse> {
        let PbLeaseGrantRequest { ttl, id } = request.into_inner();
        let id = match id {
            0 => i64::try_from(random::below(i64::MAX.unsigned_abs())).unwrap_or(0) + 1,
            chosen => chosen,
        };
        match self.0.submit(Write::Grant { id, ttl }).await? {
            Reply::Grant(mut response) => {
                self.0.leases_changed.notify_one();
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn lease_revoke(&self, request: Request<PbLeaseRevokeRequest>) -> Answer<PbLeaseRevokeResponse> {
        match self.0.submit(Write::Revoke { id: request.into_inner().id }).await? {
            Reply::Revoke(mut response) => {
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }

    type LeaseKeepAliveStream = Answers<PbLeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let service = self.clone();
        let closing = self.0.closing.clone().cancelled_owned();
        let answers = request
            .into_inner()
            .map(move |message| message.map(|renewal| service.renew(renewal.id)))
            .take_until(closing);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Answer<PbLeaseTimeToLiveResponse> {
        let PbLeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let now = self.0.clock.elapsed();
        let (store, visible) = self.0.state.read();
        let mut response = PbLeaseTimeToLiveResponse {
            header: Some(self.0.header(visible)),
            id,
            ttl: -1,
            ..Default::default()
        };
        // Rounded down, and -1 for a lease that has ended or never was, as etcd.
        if let Some(lease) = store.leases().get(id).filter(|lease| lease.deadline > now) {
            response.ttl = i64::try_from(lease.deadline.saturating_sub(now).as_secs()).unwrap_or(i64::MAX);
            response.granted_ttl = lease.ttl;
            if keys {
                response.keys = lease.keys.iter().map(|key| key.to_vec()).collect();
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(&self, _request: Request<PbLeaseLeasesRequest>) -> Answer<PbLeaseLeasesResponse> {
        let (store, visible) = self.0.state.read();
        let leases = store.leases().ids().map(|id| PbLeaseStatus { id }).collect();
        Ok(Response::new(PbLeaseLeasesResponse { header: Some(self.0.header(visible)), leases }))
    }
}
