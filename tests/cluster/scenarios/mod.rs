//! What is broken, one file for each way.

mod alone;
mod chaos;
mod etcd_away;
mod groups;
mod kills;
mod losses;
mod pauses;
mod reassignment;
mod routes;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod stops;

use crate::cluster::{Cluster, Options};
use crate::skip;

/// A cluster, or the test is skipped.
async fn cluster(options: Options) -> Option<Cluster> {
    match Cluster::start(options).await {
        Ok(cluster) => Some(cluster),
        Err(why) => {
            skip::skip(&why);
            None
        }
    }
}
