//! Waiting for a condition, in place of sleeping for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition is left alone between two looks at it.
const STEP: Duration = Duration::from_millis(5);
/// A runtime that runs nothing for this long stalls.
const STALL: Duration = Duration::from_millis(100);
const SLACK: Duration = Duration::from_secs(4);

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

/// Runs `task`; its result, and the slack that time limits of verdicts about silence need: none, or 4 s when this runtime
/// stalled meanwhile, since a client that gets no time to run starts its waits anew.
///
/// Cancel safe as `task` is.
pub async fn with_slack<T>(task: impl Future<Output = T>) -> (T, Duration) {
    let mut stalled = false;
    let clock = async {
        loop {
            let asleep = Instant::now();
            tokio::time::sleep(STEP).await;
            stalled |= asleep.elapsed() > STALL;
        }
    };
    let result = tokio::select! {
        result = task => result,
        () = clock => unreachable!("the clock never stops"),
    };
    let slack = if stalled { SLACK } else { Duration::ZERO };
    (result, slack)
}
