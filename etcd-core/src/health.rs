//! `client.check_health()`.

use std::future::Future;
use std::sync::Arc;

use crate::client::Client;
use crate::pool::Finding;

/// What one endpoint answered when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// What became of it.
    pub health: Health,
}

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It says that it serves, and knows a leader, unless it tells that only to users.
    Serving,
    /// It says that it does not serve, as while it is defragmented.
    NotServing,
    /// It has no leader.
    NoLeader,
    /// It is connected and did not answer in time.
    Silent,
    /// It is not connected.
    Unreachable {
        /// Why it failed last, if it did.
        cause: Option<Arc<str>>,
    },
}

impl Client {
    /// Asks every endpoint now, all at the same time, whether it serves (gRPC's health service) and who leads, and heeds the
    /// answers for what comes next. Takes twice the `connect_timeout` at most. Does not try to connect those that are not. Dropping the
    /// future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) {
    /// use etcd_core::Health;
    /// for asked in client.check_health().await {
    ///     if asked.health != Health::Serving {
    ///         println!("{}: {:?}", asked.endpoint, asked.health);
    ///     }
    /// }
    /// # }
    /// ```
    #[doc(alias("endpoint_health", "HealthCheck"))]
    pub fn check_health(&self) -> impl Future<Output = Vec<EndpointHealth>> + Send + 'static {
        let pool = self.pool().clone();
        async move {
            let found = pool.look_at_all().await.into_iter();
            let answer = found.map(|(view, finding)| EndpointHealth {
                endpoint: view.endpoint.url().clone(),
                health: match finding {
                    Some(Finding::Serving) => Health::Serving,
                    Some(Finding::NotServing) => Health::NotServing,
                    Some(Finding::NoLeader) => Health::NoLeader,
                    Some(Finding::Silent) => Health::Silent,
                    None => Health::Unreachable { cause: view.cause },
                },
            });
            answer.collect()
        }
    }
}
