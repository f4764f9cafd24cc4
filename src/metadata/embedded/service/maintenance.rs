//! Maintenance: status, alarms (never any) and defragmentation; what needs peers or a snapshot format is not served.

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse, PbDowngradeRequest,
    PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest, PbHashResponse,
    PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest, PbSnapshotResponse,
    PbStatusRequest, PbStatusResponse,
};
use tokio::sync::oneshot;
use tonic::{Request, Response};

use super::super::API_VERSION;
use super::super::error::RequestError;
use super::super::writer::Command;
use super::{Answer, Answers, Service, not_served};

#[tonic::async_trait]
impl PbMaintenanceService for Service {
    async fn alarm(&self, _request: Request<PbAlarmRequest>) -> Answer<PbAlarmResponse> {
        let visible = self.0.state.read().1;
        Ok(Response::new(PbAlarmResponse { header: Some(self.0.header(visible)), alarms: Vec::new() }))
    }

    /// Sizes: of the file after the last commit, and of the keys and values in it. A store without a file has the latter only.
    async fn status(&self, _request: Request<PbStatusRequest>) -> Answer<PbStatusResponse> {
        let (store, visible) = self.0.state.read();
        let in_use = i64::try_from(store.map().stored_bytes()).unwrap_or(i64::MAX);
        let file = i64::try_from(self.0.state.file_bytes()).unwrap_or(i64::MAX);
        Ok(Response::new(PbStatusResponse {
            header: Some(self.0.header(visible)),
            version: API_VERSION.to_owned(),
            db_size: file.max(in_use),
            db_size_in_use: in_use,
            leader: self.0.identity.member_id,
            raft_index: visible.unsigned_abs(),
            raft_applied_index: visible.unsigned_abs(),
            raft_term: 1,
            ..Default::default()
        }))
    }

    async fn defragment(&self, _request: Request<PbDefragmentRequest>) -> Answer<PbDefragmentResponse> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.commands.send(Command::Defragment { reply }).await;
        sent.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)??;
        let visible = self.0.state.read().1;
        Ok(Response::new(PbDefragmentResponse { header: Some(self.0.header(visible)) }))
    }

    async fn hash(&self, _request: Request<PbHashRequest>) -> Answer<PbHashResponse> {
        not_served("Hash")
    }

    async fn hash_kv(&self, _request: Request<PbHashKvRequest>) -> Answer<PbHashKvResponse> {
        not_served("HashKV")
    }

    type SnapshotStream = Answers<PbSnapshotResponse>;

    async fn snapshot(&self, _request: Request<PbSnapshotRequest>) -> Answer<Self::SnapshotStream> {
        not_served("Snapshot")
    }

    async fn move_leader(&self, _request: Request<PbMoveLeaderRequest>) -> Answer<PbMoveLeaderResponse> {
        not_served("MoveLeader")
    }

    async fn downgrade(&self, _request: Request<PbDowngradeRequest>) -> Answer<PbDowngradeResponse> {
        not_served("Downgrade")
    }
}
