//! Cluster: a list of one member.

use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use tonic::{Request, Response};

use super::{Answer, Service, not_served};

#[tonic::async_trait]
impl PbClusterService for Service {
    async fn member_list(&self, _request: Request<PbMemberListRequest>) -> Answer<PbMemberListResponse> {
        let visible = self.0.state.read().1;
        let member = PbMember {
            id: self.0.identity.member_id,
            name: "ketcd-embedded".to_owned(),
            client_ur_ls: vec![self.0.endpoint.to_string()],
            ..Default::default()
        };
        Ok(Response::new(PbMemberListResponse {
            header: Some(self.0.header(visible)),
            members: vec![member],
        }))
    }

    async fn member_add(&self, _request: Request<PbMemberAddRequest>) -> Answer<PbMemberAddResponse> {
        not_served("MemberAdd")
    }

    async fn member_remove(
        &self,
        _request: Request<PbMemberRemoveRequest>,
    ) -> Answer<PbMemberRemoveResponse> {
        not_served("MemberRemove")
    }

    async fn member_update(
        &self,
        _request: Request<PbMemberUpdateRequest>,
    ) -> Answer<PbMemberUpdateResponse> {
        not_served("MemberUpdate")
    }

    async fn member_promote(
        &self,
        _request: Request<PbMemberPromoteRequest>,
    ) -> Answer<PbMemberPromoteResponse> {
        not_served("MemberPromote")
    }
}
