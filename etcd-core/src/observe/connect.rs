//! What it takes to be connected, phase by phase.

use std::fmt::Display;
use std::future::Future;

use tokio::time::Instant;

use super::call::millis;
use super::meter;
use crate::error::Error;

/// Runs one phase of connecting to an endpoint and tells how long it took, also when it is given up: whoever bounds the time
/// drops it, and this says in which phase that was.
pub(crate) async fn phase<T, E: Display>(
    endpoint: &str,
    phase: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut running = Running {
        endpoint,
        phase,
        began: Instant::now(),
        over: false,
    };
    let result = work.await;
    running.over = true;
    match &result {
        Ok(_) => running.tell("ok", None),
        Err(error) => running.tell("failed", Some(error)),
    }
    result
}

struct Running<'a> {
    endpoint: &'a str,
    phase: &'static str,
    began: Instant,
    over: bool,
}

impl Running<'_> {
    fn tell(&self, result: &'static str, error: Option<&dyn Display>) {
        let elapsed = self.began.elapsed();
        meter::phase(self.phase, result, elapsed);
        tracing::debug!(
            target: "etcd_core::connect",
            endpoint = self.endpoint,
            phase = self.phase,
            result,
            elapsed_ms = millis(elapsed),
            error = error.map(tracing::field::display),
            "connect phase"
        );
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.tell("given up", None);
        }
    }
}

/// A login, which all calls without a token wait for.
#[derive(Debug)]
pub(crate) struct Login(Instant);

impl Login {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// `result`: the generation of the token.
    pub(crate) fn end(&self, result: Result<u64, &Error>) {
        let elapsed = self.0.elapsed();
        let elapsed_ms = millis(elapsed);
        meter::login(result.is_ok());
        match result {
            Ok(generation) => {
                meter::phase("auth", "ok", elapsed);
                tracing::debug!(target: "etcd_core::token", phase = "auth", elapsed_ms, generation, "logged in");
            }
            Err(error) => {
                meter::phase("auth", "failed", elapsed);
                if !error.is_closed() {
                    tracing::warn!(target: "etcd_core::token", phase = "auth", elapsed_ms, %error, "no token");
                }
            }
        }
    }
}
