//! The coordinators of groups: found, asked, and asked again while they move or load.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::client::{Cluster, ConnectArgs, text};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::Request;
use crate::protocol::peer::messages::{FindCoordinatorRequest, GroupId};
use crate::types::Clock;

/// Pause before a coordinator that moves, loads or is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The groups of a cluster, each reached through its coordinator.
#[derive(Debug)]
pub struct Groups {
    /// The cluster.
    pub cluster: Cluster,
    /// Where each group was found.
    coordinators: BTreeMap<String, i32>,
}

impl Groups {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub async fn connect(args: &ConnectArgs) -> Outcome<Self> {
        Ok(Self { cluster: Cluster::connect(args).await?, coordinators: BTreeMap::new() })
    }

    /// The broker that coordinates `group`, as found last.
    #[must_use]
    pub fn coordinator_of(&self, group: &str) -> Option<i32> {
        self.coordinators.get(group).copied()
    }

    /// Asks the coordinator of `group`: `request` makes the request for a version, `code` finds the error of the answer. While that says
    /// that the coordinator is elsewhere, away or loading, it is looked for and asked again, up to the timeout.
    ///
    /// # Errors
    /// If it cannot be found or reached in time. Other codes in the answer are the caller's.
    pub async fn ask<R: Request>(
        &mut self,
        group: &str,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Outcome<R::Response> {
        let clock = Clock::system();
        let give_up = clock.elapsed() + self.cluster.timeout();
        loop {
            let failed = match self.ask_once(group, &request).await? {
                Ok(answer) => match ErrorCode::from_code(code(&answer)) {
                    Some(moved) if is_about_coordinator(moved) => {
                        CliError::from_code(&format!("group {group:?}"), moved.code(), None)
                            .at(self.cluster.address())
                    }
                    _ => return Ok(answer),
                },
                Err(error) => error,
            };
            self.coordinators.remove(group);
            if clock.elapsed() > give_up {
                return Err(failed);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The inner error is worth another try.
    async fn ask_once<R: Request>(
        &mut self,
        group: &str,
        request: &impl Fn(i16) -> R,
    ) -> Outcome<Result<R::Response, CliError>> {
        let id = match self.find(group).await {
            Ok(id) => id,
            Err(error) if matches!(error.exit, Exit::Temporary) => return Ok(Err(error)),
            Err(error) => return Err(error),
        };
        match call(&mut self.cluster, id, request).await {
            Err(error) if error.exit == Exit::Unreachable => {
                self.cluster.forget(id);
                Ok(Err(error))
            }
            other => other.map(Ok),
        }
    }

    /// The coordinator of `group`, from memory or by asking.
    async fn find(&mut self, group: &str) -> Outcome<i32> {
        if let Some(id) = self.coordinators.get(group) {
            return Ok(*id);
        }
        let version = self.cluster.any().version_of::<FindCoordinatorRequest>()?;
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)])
        } else {
            FindCoordinatorRequest::default().with_key(text(group))
        };
        let mut answer = self.cluster.any().call_at(&request, version).await?;
        let (id, code, message) = match answer.coordinators.pop() {
            Some(found) => (found.node_id.0, found.error_code, found.error_message),
            None => (answer.node_id.0, answer.error_code, answer.error_message),
        };
        if code != ErrorCode::None.code() {
            let what = format!("the coordinator of group {group:?}");
            return Err(CliError::from_code(&what, code, message.as_deref()).at(self.cluster.address()));
        }
        // The addresses of brokers come with the metadata of no topic at all.
        self.cluster.refresh(Some(&[])).await?;
        self.coordinators.insert(group.to_owned(), id);
        Ok(id)
    }

    /// Asks every broker, each until it has loaded its groups, up to the timeout.
    ///
    /// # Errors
    /// If one cannot be reached, or is not ready in time.
    pub async fn ask_all<R: Request>(
        &mut self,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Outcome<Vec<(i32, R::Response)>> {
        self.cluster.refresh(Some(&[])).await?;
        let brokers: Vec<i32> = self.cluster.metadata().brokers.iter().map(|b| b.node_id.0).collect();
        let clock = Clock::system();
        let give_up = clock.elapsed() + self.cluster.timeout();
        let mut answers = Vec::new();
        for id in brokers {
            loop {
                let answer = call(&mut self.cluster, id, &request).await?;
                let error = code(&answer);
                let loading = ErrorCode::from_code(error).is_some_and(is_about_coordinator);
                if loading && clock.elapsed() <= give_up {
                    tokio::time::sleep(RETRY_PAUSE).await;
                } else if error != ErrorCode::None.code() {
                    return Err(CliError::from_code(&format!("the groups of broker {id}"), error, None));
                } else {
                    answers.push((id, answer));
                    break;
                }
            }
        }
        Ok(answers)
    }
}

async fn call<R: Request>(
    cluster: &mut Cluster,
    broker: i32,
    request: &impl Fn(i16) -> R,
) -> Outcome<R::Response> {
    let peer = cluster.broker(broker).await?;
    let version = peer.version_of::<R>()?;
    Ok(peer.call_at(&request(version), version).await?)
}

/// A group's name for a request.
#[must_use]
pub fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

const fn is_about_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}
