//! What a client thinks of one endpoint, and waiting until it thinks so.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_core::{Client, EndpointState, Row};

use crate::wait;

/// The client's row about `endpoint`.
///
/// # Errors
/// When that is none of its endpoints.
pub fn row(client: &Client, endpoint: &str) -> Result<Row> {
    let endpoints = client.endpoints();
    let row = endpoints
        .rows()
        .iter()
        .find(|row| &*row.endpoint == endpoint);
    row.cloned()
        .with_context(|| format!("{endpoint} is not in\n{endpoints}"))
}

/// Waits until the client counts `endpoint` as active.
///
/// # Errors
/// When that takes longer than `limit`; the error has the client's table.
pub async fn active(client: &Client, endpoint: &str, limit: Duration) -> Result<()> {
    until(client, endpoint, "active", limit, |state| {
        *state == EndpointState::Active
    })
    .await
}

/// Waits until the client has frozen `endpoint`.
///
/// # Errors
/// As [`active`].
pub async fn frozen(client: &Client, endpoint: &str, limit: Duration) -> Result<()> {
    let is_frozen = |state: &EndpointState| matches!(state, EndpointState::Frozen { .. });
    until(client, endpoint, "frozen", limit, is_frozen).await
}

/// Waits until the client suspects `endpoint`, or has given it up.
///
/// # Errors
/// As [`active`].
pub async fn not_active(client: &Client, endpoint: &str, limit: Duration) -> Result<()> {
    until(client, endpoint, "not active", limit, |state| {
        *state != EndpointState::Active
    })
    .await
}

async fn until(
    client: &Client,
    endpoint: &str,
    what: &str,
    limit: Duration,
    is: impl Fn(&EndpointState) -> bool,
) -> Result<()> {
    let holds = async || row(client, endpoint).is_ok_and(|row| is(&row.state));
    wait::until(&format!("{endpoint} is {what}"), limit, holds)
        .await
        .with_context(|| client.endpoints().to_string())
}
