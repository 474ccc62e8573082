//! One renewal on a stream of its own.

use std::time::Duration;

use etcd_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use etcd_proto::rpc::LEASE_KEEP_ALIVE_PATH;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::{LeaseId, seconds};
use crate::backoff::Backoff;
use crate::clock::{BootInstant, Clock};
use crate::error::{Decision, Error, LostReason, Outcome, Result, decide};
use crate::net::Metadata;
use crate::observe;
use crate::pool::{EndpointId, OpenStream, Pool, Prefer};
use crate::token::Tokens;

/// An answer to a renewal is a header and two numbers.
pub(super) const MAX_ANSWER: usize = 64 << 10;
/// How long one endpoint may take when others may be asked.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A lease as etcd confirmed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewed {
    pub(super) id: LeaseId,
    pub(super) ttl: Duration,
    /// When the request was sent: etcd counts from then, or from later.
    pub(super) sent: BootInstant,
}

/// Renews a lease, on one endpoint after the other until `limit`: a renewal does no harm when it is sent twice.
/// A lease that etcd does not have is `Error::LeaseLost`.
pub(super) async fn renew_once(
    pool: &Pool,
    tokens: &Tokens,
    clock: &Clock,
    id: LeaseId,
    pinned: Option<EndpointId>,
    limit: Duration,
) -> Result<Renewed> {
    let mut seen = observe::Call::begin(LEASE_KEEP_ALIVE_PATH);
    let (span, started) = (seen.span(), seen.started());
    let mut backoff = Backoff::new(Duration::from_millis(25), 2.0, Duration::from_secs(1));
    let mut avoid = None;
    let renewed = async {
        loop {
            let metadata = Metadata {
                require_leader: true,
                token: tokens.get().await?,
            };
            let mut stream = pool
                .open(
                    LEASE_KEEP_ALIVE_PATH,
                    Prefer::Leader,
                    avoid,
                    pinned,
                    &metadata,
                )
                .await?;
            seen.attempt(&stream.name);
            let Ok(result) =
                timeout(ATTEMPT.min(limit / 2), renew_on(&mut stream, clock, id)).await
            else {
                seen.failed_on(&stream.name);
                avoid = Some(stream.endpoint);
                continue;
            };
            match result {
                Err(error) if tokens.refused(&stream.token, &error) => {}
                Err(error) if !is_final(&error) => {
                    tracing::debug!(endpoint = %stream.name, lease = %id, %error, "lease renewal is tried again");
                    pool.report(stream.endpoint, &error);
                    avoid = Some(stream.endpoint);
                }
                result => return result,
            }
            seen.failed_on(&stream.name);
            sleep(backoff.next().unwrap_or(ATTEMPT)).await;
        }
    };
    let timed_out = |_| {
        Error::timeout(
            started.elapsed(),
            "a lease to be renewed",
            Outcome::Unknown,
            None,
            pool.reports(),
        )
    };
    let renewed = timeout(limit, renewed).instrument(span).await;
    seen.end(renewed.map_err(timed_out).flatten())
}

fn is_final(error: &Error) -> bool {
    matches!(
        decide(error, true),
        Decision::Fail | Decision::Reauthenticate
    )
}

async fn renew_on(stream: &mut OpenStream, clock: &Clock, id: LeaseId) -> Result<Renewed> {
    let sent = clock.now();
    stream.tx.send(&LeaseKeepAliveRequest { id: id.0 }).await?;
    let lost = |why| Error::connection(stream.name.clone(), Outcome::Unknown, why);
    let answer: Option<LeaseKeepAliveResponse> = tokio::select! {
        answer = stream.rx.message(MAX_ANSWER) => answer?,
        () = stream.health.troubled() => return Err(lost("it went silent")),
    };
    let answer = answer.ok_or_else(|| lost("the stream ended without an answer"))?;
    let ttl = seconds(answer.ttl);
    if ttl.is_zero() {
        return Err(Error::LeaseLost {
            id: id.0,
            reason: LostReason::NotFound,
        });
    }
    Ok(Renewed { id, ttl, sent })
}
