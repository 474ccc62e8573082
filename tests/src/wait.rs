//! Waiting for a condition, in place of sleeping for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition is left alone between two looks at it.
const STEP: Duration = Duration::from_millis(5);

/// Looks at `condition` every few milliseconds until it is true.
///
/// # Errors
/// When `limit` (wall-clock time, also under tokio's paused clock) passes first; the error names `what`.
///
/// Cancel safe.
pub async fn until(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    while !condition().await {
        if start.elapsed() >= limit {
            bail!("gave up after {limit:?} waiting until {what}");
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}
