//! A session: one lease, kept alive, on which several recipes stand.
//!
//! # The problem
//!
//! Locks, elections, registrations and ephemeral keys are keys that must vanish when their owner dies, so each is tied to a
//! lease that the owner keeps alive. The owner must stop acting as one **before** etcd lets the lease go, also when it cannot
//! reach etcd, was stopped for a while, or slept with its machine.
//!
//! # The guarantee
//!
//! - While [`is_valid`](Session::is_valid) is true, the lease has not expired, and what is tied to it is there.
//! - [`lost`](Session::lost) resolves once, with the reason, before the lease expires: at a deadline that counts from when the
//!   last confirmed renewal was sent, less a margin. It does not wait for etcd to be reached again.
//! - A session that is lost stays lost. There is no reconnecting under the same name: start another session and acquire again.
//!
//! # What it does not guarantee
//!
//! - Somebody else can revoke the lease, or delete a key tied to it. That ends the ownership at once; a revoked lease is
//!   noticed with the next renewal, within about a third of the time to live.
//! - Between a check of `is_valid` and the action that it allows, time passes. What must never be done by two owners is done
//!   in a transaction that compares the owner's key, or carries a fencing token.
//!
//! ```no_run
//! # async fn work() {}
//! # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
//! use etcd_core::Put;
//! use etcd_recipes::session::Session;
//! use std::time::Duration;
//!
//! let session = Session::new(&client, Duration::from_secs(10)).await?;
//! client.send(Put::new("workers/a", "ready").lease(session.id())).await?;
//! tokio::select! {
//!     () = work() => session.close().await?,
//!     reason = session.lost() => eprintln!("no longer a worker: {reason}"),
//! }
//! # Ok(()) }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_core::{Client, Lease, LeaseId, LostReason, Result};

/// A lease kept alive as long as any clone of the session lives. Dropping the last clone stops the renewals; the lease, and
/// what is tied to it, then ends when its time to live is over.
#[derive(Clone, Debug)]
#[doc(alias("NewSession", "concurrency"))]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    lease: Lease,
}

impl Session {
    /// Grants a lease and keeps it alive. `ttl` is rounded up to whole seconds, and etcd may grant more; the shorter it is,
    /// the sooner others take over from a dead owner, and the shorter an outage may be that the owner survives.
    ///
    /// # Errors
    /// Those of [`Client::lease`]. Dropping the future leaves at most a lease that ends when its time to live is over.
    pub fn new(
        client: &Client,
        ttl: Duration,
    ) -> impl Future<Output = Result<Self>> + Send + use<> {
        let client = client.clone();
        async move {
            let lease = client.lease(ttl).await?;
            Ok(Self::with_lease(&client, lease))
        }
    }

    /// A session on a lease that is kept alive already.
    pub fn with_lease(client: &Client, lease: Lease) -> Self {
        Self(Arc::new(Inner {
            client: client.clone(),
            lease,
        }))
    }

    /// The client that the session was made with.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The id of the lease, to tie keys to.
    pub fn id(&self) -> LeaseId {
        self.0.lease.id()
    }

    /// The time to live that etcd granted.
    pub fn ttl(&self) -> Duration {
        self.0.lease.ttl()
    }

    /// Whether the session holds, by the clock at this moment. Once false, it stays false.
    pub fn is_valid(&self) -> bool {
        self.0.lease.is_valid()
    }

    /// How much longer the session holds if no further renewal is confirmed; zero when it is lost.
    pub fn remaining(&self) -> Duration {
        self.0.lease.remaining()
    }

    /// Resolves when the session is lost, with the reason; at once if it is lost already. The future may be dropped, and does
    /// not keep the session alive.
    #[doc(alias = "Done")]
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        self.0.lease.lost()
    }

    /// Ends the session, for all its clones, but leaves the lease, and what is tied to it, until its time to live is over.
    pub fn orphan(self) {
        self.0.lease.halt();
    }

    /// Ends the session, for all its clones, and revokes the lease: what is tied to it is deleted.
    ///
    /// # Errors
    /// Those of [`Lease::revoke`]; that the lease is gone already is none. After an error, and when the future is dropped, the
    /// lease ends at the latest when its time to live is over.
    pub fn close(self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.0.lease.revoke()
    }
}
