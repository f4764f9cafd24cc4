//! Ends leases in time.

use std::time::Duration;

use super::shared::Shared;
use super::store::Write;

/// The longest sleep while there are leases: a suspended machine's clock of leases runs on, its timers do not.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// The sleep while there are none; a grant wakes earlier.
const IDLE_SLEEP: Duration = Duration::from_secs(3600);

/// Runs until the store closes.
pub async fn run(shared: Shared) {
    loop {
        let next = shared.state.read().0.leases().next_deadline();
        let now = shared.clock.elapsed();
        let wait = next.map_or(IDLE_SLEEP, |deadline| deadline.saturating_sub(now).min(LONGEST_SLEEP));
        if !wait.is_zero() {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return,
                () = shared.leases_changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            continue;
        }
        if shared.submit(Write::Expire).await.is_err() {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return,
                () = tokio::time::sleep(LONGEST_SLEEP) => {}
            }
        }
    }
}
