//! KV: Range, Put, DeleteRange, Txn, Compact.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use tonic::{Request, Response};

use super::super::range::range;
use super::super::reply::Reply;
use super::super::store::Write;
use super::{Answer, Answers, Service, mismatch, not_served};

#[tonic::async_trait]
impl PbKvService for Service {
    async fn range(&self, request: Request<PbRangeRequest>) -> Answer<PbRangeResponse> {
        let mut response = {
            let (store, visible) = self.0.state.read();
            range(store.map(), request.get_ref(), visible)?
        };
        response.header = Some(self.0.complete(response.header));
        Ok(Response::new(response))
    }

    type RangeStreamStream = Answers<PbRangeStreamResponse>;

    async fn range_stream(&self, _request: Request<PbRangeRequest>) -> Answer<Self::RangeStreamStream> {
        not_served("RangeStream")
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Answer<PbPutResponse> {
        match self.0.submit(Write::Put(request.into_inner())).await? {
            Reply::Put(mut response) => {
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn delete_range(&self, request: Request<PbDeleteRequest>) -> Answer<PbDeleteResponse> {
        match self.0.submit(Write::Delete(request.into_inner())).await? {
            Reply::Delete(mut response) => {
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Answer<PbTxnResponse> {
        match self.0.submit(Write::Txn(request.into_inner())).await? {
            Reply::Txn(mut response) => {
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn compact(&self, request: Request<PbCompactionRequest>) -> Answer<PbCompactionResponse> {
        let revision = request.into_inner().revision;
        match self.0.submit(Write::Compact { revision }).await? {
            Reply::Compact(mut response) => {
                response.header = Some(self.0.complete(response.header));
                Ok(Response::new(response))
            }
            other => Err(mismatch(&other)),
        }
    }
}
