//! Options about which endpoints there are and which are used.

use std::time::Duration;

use super::ClientBuilder;
use crate::pool::Balance;

/// How many endpoints [`connect`](ClientBuilder::connect) waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Open {
    /// None: as [`build`](ClientBuilder::build).
    Lazy,
    /// One. The default.
    #[default]
    Any,
    /// More than half of them.
    Majority,
    /// All of them.
    All,
}

impl Open {
    /// Of so many endpoints, how many are waited for.
    pub(crate) fn of(self, endpoints: usize) -> usize {
        match self {
            Open::Lazy => 0,
            Open::Any => 1,
            Open::Majority => endpoints / 2 + 1,
            Open::All => endpoints,
        }
    }

    /// Completes "waiting for …".
    pub(crate) fn what(self) -> &'static str {
        match self {
            Open::Lazy | Open::Any => "an endpoint",
            Open::Majority => "more than half of the endpoints",
            Open::All => "all endpoints",
        }
    }
}

impl ClientBuilder {
    /// How many endpoints [`connect`](Self::connect) waits for, up to the [`dial_timeout`](Self::dial_timeout). A learner counts.
    /// It fails earlier when too many endpoints are wrong in a way that time does not mend, such as a certificate for somebody
    /// else. [`Open::Majority`] and [`Open::All`] exclude [`Balance::Pinned`]. Default: [`Open::Any`].
    #[doc(alias("WithBlock", "FailOnNonTempDialError"))]
    pub fn open(mut self, open: Open) -> Self {
        self.options.open = open;
        self
    }

    /// How calls and streams are spread over the endpoints. Default: [`Balance::P2c`].
    #[doc(alias("round_robin", "pick_first", "load_balancing"))]
    pub fn balance(mut self, balance: Balance) -> Self {
        self.options.balance = balance;
        self
    }

    /// Follows the cluster's member list from the start on, at this interval: what
    /// [`Client::sync_endpoints`](crate::Client::sync_endpoints) does on demand, with the same rules. A round may take 5 s; one
    /// that fails is logged and changes nothing. 0 = never, the default: who puts a load balancer or a name in front of the members
    /// means them to be reached through it.
    #[doc(alias("AutoSyncInterval", "auto_sync_interval"))]
    pub fn auto_sync(mut self, interval: Duration) -> Self {
        self.options.auto_sync = interval;
        self
    }

    /// How often each member is asked whether it serves (gRPC's health service) and who leads; besides, it is asked at once when a
    /// stream breaks. One that does not serve, or does not answer twice within [`connect_timeout`](Self::connect_timeout), is asked
    /// again every second and gets no more calls while others serve; one without a leader is left alone for a while if there is
    /// another one. 0 = never. Default: 15 s.
    #[doc(alias("health_check", "WithHealthCheck"))]
    pub fn health_check_interval(mut self, interval: Duration) -> Self {
        self.options.health_check_interval = interval;
        self
    }

    /// Asks each member to tell by itself when it stops serving and when it serves again (gRPC's health watch): at once, and
    /// not with the next [check](Self::health_check_interval). etcd tells that of a member that is being defragmented, which
    /// answers nothing for seconds, if it was started with the feature gate `StopGRPCServiceOnDefrag` (3.6 and later; earlier
    /// `--experimental-stop-grpc-service-on-defrag`). Holds a stream open to every member, with the PINGs that belong to it.
    /// Default: off.
    #[doc(alias = "healthCheckConfig")]
    pub fn health_watch(mut self, on: bool) -> Self {
        self.options.health_watch = on;
        self
    }

    /// Serializable reads, which any member answers from what it has, never go back in time: below the latest revision of all
    /// that this client, with all its clones and views, was told by replies to reads and writes, and by watches. A member that is
    /// behind is passed over for another one, or asked again when all are; a call whose time ends with that fails with
    /// `Error::Timeout`, which says so. Linearizable reads never go back. Scans and the calls of stubs are not covered.
    /// Default: off.
    #[doc(alias("ordering", "session_consistency"))]
    pub fn monotonic_reads(mut self, on: bool) -> Self {
        self.options.monotonic_reads = on;
        self
    }
}
