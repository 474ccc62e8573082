//! Following the member list: what a list of members makes of the list of endpoints, on demand and at an interval.

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use etcd_proto::etcdserverpb::{Member, MemberListRequest, MemberListResponse};
use etcd_proto::rpc::Unary;
use prost::Message;
use tokio::sync::watch;

use super::Admission;
use crate::budget::Budget;
use crate::call::{Plan, run};
use crate::class;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::net::endpoint::{Address, Endpoint};
use crate::net::grpc;
use crate::observe;
use crate::pool::Pool;
use crate::pool::state::{EndpointView, Phase};
use crate::token::Tokens;

/// Time limit of a round that nobody asked for.
const ROUND: Duration = Duration::from_secs(5);

/// Brings a client's endpoints in line with the member list.
pub(crate) struct EndpointSync {
    pool: Arc<Pool>,
    tokens: Arc<Tokens>,
    pub(super) admission: Admission,
    /// The endpoints that are there only because the member list named them.
    found: Mutex<HashSet<Endpoint>>,
    /// Of the first list. 0: there was none.
    cluster_id: AtomicU64,
}

impl Client {
    /// Asks for the member list and follows it. Endpoints that were given, to the builder or to
    /// [`add_endpoint`](Self::add_endpoint), always stay; those that a member list named come and go with it:
    ///
    /// - A member that votes and has started, and to which none of the given endpoints leads just now, is reached by all
    ///   addresses it advertises. Learners, and members that have not started, are not.
    /// - An address counts if it could have been given to the builder: encrypted if the client's connections are, and otherwise
    ///   not; never plaintext for a password, unless that is allowed. Sockets and unspecified addresses (`0.0.0.0`) do not
    ///   count; `localhost`, which etcd advertises unless told otherwise, does if a given endpoint is on this machine, too.
    ///   Whether an address can be reached is not asked: one that cannot be is tried now and then, and does no harm.
    /// - A list that names no such member changes nothing, nor does one of another cluster than the first.
    ///
    /// The list is the leader's (linearizable) since etcd 3.5, and of an older one what the member knows by itself.
    ///
    /// # Errors
    /// Those of [`member_list`](Self::member_list), `Error::ClusterChanged`. Cancel safe.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// client.sync_endpoints().await?;
    /// println!("{}", client.endpoints());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "Sync")]
    pub fn sync_endpoints(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (sync, limit) = (self.shared.sync.clone(), self.time_limit());
        async move { sync.round(limit).await }
    }
}

impl EndpointSync {
    pub(crate) fn new(pool: Arc<Pool>, tokens: Arc<Tokens>, admission: Admission) -> Arc<Self> {
        Arc::new(Self {
            pool,
            tokens,
            admission,
            found: Mutex::default(),
            cluster_id: AtomicU64::new(0),
        })
    }

    /// Starts following, until what is returned is dropped or the client closed.
    pub(crate) fn every(self: &Arc<Self>, interval: Duration) -> watch::Sender<()> {
        let owner = watch::Sender::new(());
        let mut gone = owner.subscribe();
        let sync = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::select! {
                () = follow(sync, interval) => {}
                _ = gone.changed() => {}
            }
        });
        owner
    }

    /// These endpoints were given, or were there before.
    pub(super) fn given(&self, list: &[Endpoint]) {
        self.found().retain(|endpoint| list.contains(endpoint));
    }

    async fn round(&self, limit: Duration) -> Result<()> {
        let list = match self.list(true, limit).await {
            Err(Error::Unsupported(_)) => self.list(false, limit).await?,
            list => list?,
        };
        self.pool.change_list(|views| {
            let mut found = self.found();
            let follow = Follow {
                views: &views,
                found: &found,
                admission: &self.admission,
            };
            let (list, named) = follow.members(&list.members);
            *found = named;
            Ok(list)
        })
    }

    async fn list(&self, linearizable: bool, limit: Duration) -> Result<MemberListResponse> {
        let request = MemberListRequest { linearizable };
        let plan = Plan {
            path: MemberListRequest::PATH,
            body: grpc::frame(&request),
            require_leader: false,
            needs: class::needs(&request),
            anonymous: false,
            repeatable: true,
            leader: linearizable,
            serializable: false,
            at_least: 0,
            pinned: None,
            timeout: Some(limit),
            attempt_timeout: Some(limit / 2),
            wait_ready: true,
        };
        let mut seen = observe::Call::begin(plan.path);
        let budget = Budget::default();
        let called = run(&self.pool, &budget, &self.tokens, &plan, &mut seen).await;
        let (reply, from) = seen.end(called)?;
        let reply = MemberListResponse::decode(reply).map_err(|wrong| {
            Error::protocol(from.name.clone(), format!("undecodable reply: {wrong}"))
        })?;
        let cluster_id = reply.header.as_ref().map_or(0, |header| header.cluster_id);
        let (first, ours) = (&self.cluster_id, Ordering::Relaxed);
        match first.compare_exchange(0, cluster_id, ours, ours) {
            Err(seen) if seen != cluster_id => {
                Err(Error::cluster_changed(from.name, seen, cluster_id))
            }
            _ => Ok(reply),
        }
    }

    fn found(&self) -> MutexGuard<'_, HashSet<Endpoint>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does a round now and then, until the client is gone or closed.
async fn follow(sync: Weak<EndpointSync>, interval: Duration) {
    while let Some(sync) = sync.upgrade() {
        match sync.round(ROUND).await {
            Ok(()) => {}
            Err(Error::Closed { .. }) => return,
            Err(error) => tracing::warn!(%error, "the endpoints do not follow the member list"),
        }
        drop(sync);
        tokio::time::sleep(interval).await;
    }
}

/// What a member list is applied to.
struct Follow<'a> {
    views: &'a [EndpointView],
    found: &'a HashSet<Endpoint>,
    admission: &'a Admission,
}

impl Follow<'_> {
    /// The endpoints from now on, and those of them that only the member list names.
    fn members(&self, members: &[Member]) -> (Vec<Endpoint>, HashSet<Endpoint>) {
        let mut named: Vec<Endpoint> = Vec::new();
        let started = members
            .iter()
            .filter(|member| !member.is_learner && !member.client_urls.is_empty());
        let mut empty = true;
        for member in started {
            let addresses: Vec<_> = self.addresses(member).collect();
            empty &= addresses.is_empty();
            if !self.is_reached(member) {
                named.extend(addresses);
            }
        }
        let old = self.views.iter().map(|view| &view.endpoint);
        if empty {
            return (old.cloned().collect(), self.found.clone());
        }
        let stays =
            |endpoint: &&Endpoint| !self.found.contains(endpoint) || named.contains(endpoint);
        let mut list: Vec<_> = old.filter(stays).cloned().collect();
        for endpoint in named {
            if !list.contains(&endpoint) {
                list.push(endpoint);
            }
        }
        if list.is_empty() {
            // Every given endpoint was removed by hand, and the named ones lead where others lead.
            return (
                self.views
                    .iter()
                    .map(|view| view.endpoint.clone())
                    .collect(),
                self.found.clone(),
            );
        }
        let found = list.iter().filter(|endpoint| !self.is_given(endpoint));
        let found = found.cloned().collect();
        (list, found)
    }

    fn given(&self) -> impl Iterator<Item = &EndpointView> {
        self.views
            .iter()
            .filter(|view| !self.found.contains(&view.endpoint))
    }

    fn is_given(&self, endpoint: &Endpoint) -> bool {
        self.given().any(|view| view.endpoint == *endpoint)
    }

    /// Does a given endpoint lead to it?
    fn is_reached(&self, member: &Member) -> bool {
        self.given().any(|view| {
            view.member.id == member.id && matches!(view.phase, Phase::Active | Phase::Suspect)
        })
    }

    /// The advertised addresses that count.
    fn addresses(&self, member: &Member) -> impl Iterator<Item = Endpoint> {
        let local = self.given().any(|view| is_here(&view.endpoint));
        let read = |url: &String| self.admission.list([url]).ok()?.into_iter().next();
        member
            .client_urls
            .iter()
            .filter_map(read)
            .filter(move |endpoint| {
                let Address::Tcp { host, .. } = endpoint.address() else {
                    return false;
                };
                let unspecified = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
                !unspecified && (local || !is_here(endpoint))
            })
    }
}

/// Is it an address that means this machine, whoever uses it?
fn is_here(endpoint: &Endpoint) -> bool {
    match endpoint.address() {
        Address::Tcp { .. } => endpoint.is_loopback(),
        Address::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests;
