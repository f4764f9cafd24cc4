//! The gRPC services: they translate between etcd's messages and the store, and decide nothing.
//!
//! Auth is not served: tonic answers its calls with UNIMPLEMENTED.

mod cluster;
mod kv;
mod lease;
mod maintenance;
mod watch;

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Response, Status};

use super::reply::Reply;
use super::shared::Shared;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// One answer.
type Answer<T> = Result<Response<T>, Status>;

/// The services of one store.
#[derive(Clone)]
pub struct Service(pub Shared);

/// A call that this store does not have.
fn not_served<T>(call: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("the embedded etcd does not serve {call}")))
}

/// The writer answered a request with the reply of another: cannot happen.
fn mismatch(reply: &Reply) -> Status {
    Status::internal(format!("unexpected reply {reply:?}"))
}
