//! What is asked of the members: whether they serve, who they are, and who leads.

use std::sync::Weak;
use std::time::Duration;

use etcd_proto::etcdserverpb::{StatusRequest, StatusResponse};
use etcd_proto::health::health_check_response::ServingStatus;
use etcd_proto::health::{HealthCheckRequest, HealthCheckResponse};
use etcd_proto::rpc::{HEALTH_WATCH_PATH, Unary};
use futures_util::future::join_all;
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::link::unless_closed;
use super::state::{EndpointId, EndpointView, Generation, Member};
use super::{Pool, PoolOptions, Version};
use crate::error::{Error, Outcome, Result};
use crate::net::connect::within;
use crate::net::{Connection, Metadata, Step, Token, grpc};
use crate::observe::phase;

/// A member that did not serve is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest message about health.
const MAX_HEALTH: usize = 1 << 10;

/// Any gRPC reply shows that etcd serves here; a Status reply also tells its version, who the member is and who leads. Without
/// one, nothing is known of that.
pub(super) async fn first_reply(
    calls: &Connection,
    options: &PoolOptions,
    deadline: Instant,
) -> Result<StatusResponse> {
    let limit = within(options.connect_timeout, deadline);
    let name = calls.name();
    match timeout(limit, phase(&name, "first_reply", status(calls, options))).await {
        Ok(Ok(status)) => match too_old(&status, options) {
            Some(cause) => Err(Error::connection(calls.name(), Outcome::NotApplied, cause)),
            None => Ok(status),
        },
        Ok(Err(Error::Server(_))) => Ok(StatusResponse::default()),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let cause = format!("HTTP/2 connected, but no reply from etcd within {limit:?}");
            Err(Error::connection(calls.name(), Outcome::NotApplied, cause))
        }
    }
}

/// That the member is older than the client was told to put up with, in words.
fn too_old(status: &StatusResponse, options: &PoolOptions) -> Option<String> {
    let (version, wanted) = (&status.version, options.min_version?);
    let older = Version::parse(version).is_some_and(|told| told < wanted);
    older.then(|| format!("etcd {version} is older than min_server_version, {wanted}"))
}

pub(super) fn member(status: &StatusResponse) -> Member {
    Member {
        id: status.header.as_ref().map_or(0, |header| header.member_id),
        leader: status.leader,
        raft_term: status.raft_term,
        learner: status.is_learner,
    }
}

/// A member that tells who it is also tells its leader, if it has one.
pub(super) fn is_leaderless(status: &StatusResponse) -> bool {
    let member = member(status);
    member.id != 0 && member.leader == 0
}

/// With authentication on, etcd answers it only to users.
pub(super) async fn status(calls: &Connection, options: &PoolOptions) -> Result<StatusResponse> {
    ask(calls, &StatusRequest::default(), options.token.get()).await
}

/// Does it say that it serves? Most members always do; one that is being defragmented does not if it was told to say so. One
/// without the health service is as good as one with it.
async fn serves(calls: &Connection) -> Result<bool> {
    match ask(calls, &HealthCheckRequest::default(), Token::default()).await {
        Ok(reply) => Ok(is_serving(&reply)),
        Err(Error::Server(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_serving(reply: &HealthCheckResponse) -> bool {
    reply.status() != ServingStatus::NotServing
}

async fn ask<M: Unary>(calls: &Connection, request: &M, token: Token) -> Result<M::Reply> {
    let metadata = Metadata {
        require_leader: false,
        token,
    };
    let body = grpc::frame(request);
    let mut call = calls.unary(M::PATH, metadata, body).await?;
    loop {
        match call.step().await {
            Step::Suspect => {}
            Step::Vanished(outcome) => {
                return Err(Error::connection(calls.name(), outcome, calls.cause()));
            }
            Step::Done(reply) => {
                return M::Reply::decode(reply?).map_err(|wrong| {
                    Error::protocol(calls.name(), format!("undecodable reply: {wrong}"))
                });
            }
        }
    }
}

/// What a look at a member finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Serving,
    NotServing,
    NoLeader,
    /// It did not answer in time, or the connection broke.
    Silent,
}

/// Asks the member whether it serves and who leads, and takes note of it.
pub(super) async fn look(
    pool: &Weak<Pool>,
    id: EndpointId,
    generation: Generation,
    calls: &Connection,
    options: &PoolOptions,
) -> Finding {
    let asked = || async { tokio::join!(serves(calls), status(calls, options)) };
    let told = match timeout(options.connect_timeout, asked()).await {
        // It may have been this program that had no time.
        Err(_) => timeout(options.connect_timeout, asked()).await,
        told => told,
    };
    let (finding, status) = match told {
        Ok((Ok(true), Ok(status))) if is_leaderless(&status) => (Finding::NoLeader, Some(status)),
        Ok((Ok(true), Ok(status))) => (Finding::Serving, Some(status)),
        // It says no more to those without a token.
        Ok((Ok(true), Err(Error::Server(_)))) => (Finding::Serving, None),
        Ok((Ok(false), status)) => (Finding::NotServing, status.ok()),
        Ok(_) | Err(_) => (Finding::Silent, None),
    };
    if let Some(pool) = pool.upgrade() {
        pool.note(id, generation, finding, status, options);
    }
    finding
}

/// Looks at a member at intervals, sooner when it did not serve, and when somebody asks for it, until its connection is given up.
pub(super) async fn keep_looking(
    pool: &Weak<Pool>,
    id: EndpointId,
    generation: Generation,
    mut wanted: watch::Receiver<()>,
    options: &PoolOptions,
) {
    let interval = options.health_interval;
    let mut rest = interval;
    loop {
        tokio::select! {
            () = sleep(rest), if !interval.is_zero() => {}
            // The connection was given up.
            wanted = wanted.changed() => if wanted.is_err() { return },
        }
        if interval.is_zero() {
            continue;
        }
        let calls = pool.upgrade().and_then(|pool| pool.calls(id, generation));
        let Some(calls) = calls else { return };
        rest = match look(pool, id, generation, &calls, options).await {
            Finding::Serving | Finding::NoLeader => interval,
            Finding::NotServing | Finding::Silent => interval.min(LOOK_AGAIN),
        };
    }
}

/// Follows what a member says about itself, if it was asked for that, for as long as it says something.
pub(super) async fn listen(
    pool: &Weak<Pool>,
    id: EndpointId,
    generation: Generation,
    options: &PoolOptions,
) {
    let calls = pool.upgrade().and_then(|pool| pool.calls(id, generation));
    if let Some(calls) = calls.filter(|_| options.health_watch) {
        let name = calls.name();
        let heard = async {
            let (tx, mut rx) = calls.open(HEALTH_WATCH_PATH, &Metadata::default()).await?;
            // Who holds the connection keeps it from closing; a stream alone does not when its owner ends.
            drop(calls);
            tx.send_last(&HealthCheckRequest::default()).await?;
            while let Some(told) = rx.message(MAX_HEALTH).await? {
                let Some(pool) = pool.upgrade() else { break };
                pool.serving(id, generation, is_serving(&told));
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = heard.await {
            tracing::debug!(endpoint = %name, %error, "the member does not tell whether it serves");
        }
    }
    std::future::pending().await
}

impl Pool {
    fn note(
        &self,
        id: EndpointId,
        generation: Generation,
        finding: Finding,
        status: Option<StatusResponse>,
        options: &PoolOptions,
    ) {
        if let Some(status) = status {
            self.told(id, generation, &status, options);
        }
        match finding {
            Finding::Serving => self.serving(id, generation, true),
            Finding::NotServing | Finding::Silent => self.serving(id, generation, false),
            Finding::NoLeader => self.leaderless(id, generation),
        }
    }

    fn told(
        &self,
        id: EndpointId,
        generation: Generation,
        status: &StatusResponse,
        options: &PoolOptions,
    ) {
        let mut inner = self.lock();
        match too_old(status, options) {
            Some(cause) => self.lose(&mut inner, id, generation, &cause),
            None => {
                inner.learn_version(id, generation, status);
                inner.state.probed(id, generation, member(status));
            }
        }
    }

    fn serving(&self, id: EndpointId, generation: Generation, serving: bool) {
        if self.lock().state.serving(id, generation, serving) {
            tracing::debug!(endpoint = ?id, serving, "the member told, or did not answer, whether it serves");
            self.wake();
        }
    }

    /// The connection for calls of an endpoint, if it is still the same.
    pub(super) fn calls(&self, id: EndpointId, generation: Generation) -> Option<Connection> {
        let inner = self.lock();
        let link = inner.links.get(&id);
        let same = link.filter(|link| link.generation == generation);
        same.map(|link| link.calls.clone())
    }

    /// Looks at an endpoint soon.
    pub(super) fn look_soon(&self, id: EndpointId) {
        if let Some(link) = self.lock().links.get(&id) {
            link.look.send_replace(());
        }
    }

    /// Looks at all endpoints now; `None` where there is no connection.
    pub(crate) async fn look_at_all(&self) -> Vec<(EndpointView, Option<Finding>)> {
        let views = self.snapshot();
        let looks = views.into_iter().map(|(view, _)| async move {
            let link = self
                .lock()
                .links
                .get(&view.id)
                .map(|link| (link.generation, link.calls.clone()));
            let finding = match link {
                Some((generation, calls)) => {
                    Some(look(&self.this, view.id, generation, &calls, &self.options).await)
                }
                None => None,
            };
            (view, finding)
        });
        join_all(looks).await
    }
}

/// Asks the member who leads, in the background. One that would not tell its version before may turn out to be too old.
pub(super) fn ask_status(pool: &Pool, id: EndpointId, generation: Generation, calls: Connection) {
    let (options, closed) = (pool.options.clone(), pool.closed.subscribe());
    let pool = pool.this.clone();
    tokio::spawn(unless_closed(closed, async move {
        if let Ok(Ok(status)) = timeout(options.connect_timeout, status(&calls, &options)).await
            && let Some(pool) = pool.upgrade()
        {
            pool.told(id, generation, &status, &options);
        }
    }));
}

/// Asks every member: with a token they may tell what they did not tell without.
pub(super) fn ask_all(pool: &Weak<Pool>) {
    let Some(pool) = pool.upgrade() else { return };
    for (id, link) in &pool.lock().links {
        ask_status(&pool, *id, link.generation, link.calls.clone());
    }
}
