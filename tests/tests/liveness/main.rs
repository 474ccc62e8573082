//! Silence, PINGs and suspicion: who is alive, and who must not be thought dead.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod blocked;
mod links;
mod pings;
mod starvation;

use std::future::Future;
use std::time::{Duration, Instant};

use etcd_core::{Client, EndpointState};
use tokio::time::{MissedTickBehavior, interval};

/// For what must happen, but may take its time on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `task` and sees, every millisecond, that the client thinks well of all of `endpoints`.
async fn while_active<T>(
    client: &Client,
    endpoints: &[String],
    task: impl Future<Output = T>,
) -> T {
    let watched = async {
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for row in client.endpoints().rows() {
                let watched = endpoints.iter().any(|endpoint| **endpoint == *row.endpoint);
                assert!(
                    !watched || row.state == EndpointState::Active,
                    "{}",
                    client.endpoints()
                );
            }
        }
    };
    tokio::select! {
        result = task => result,
        () = watched => unreachable!(),
    }
}

/// When `holds` became true, looking every millisecond.
async fn moment(mut holds: impl FnMut() -> bool) -> Instant {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(1));
    while !holds() {
        assert!(began.elapsed() < LIMIT, "it never became true");
        ticks.tick().await;
    }
    Instant::now()
}
