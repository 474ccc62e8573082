//! Puts under a condition, and what became of one whose answer was lost.

use std::future::Future;

use bytes::Bytes;
use etcd_proto::etcdserverpb::response_op::Response;
use etcd_proto::etcdserverpb::{PutRequest, TxnResponse};
use etcd_proto::mvccpb::KeyValue;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::compare::Compare;
use crate::error::{Error, Outcome, Result};
use crate::kv::{Get, Put};
use crate::range::IntoBytes;
use crate::txn::Txn;
use crate::watch::Watch;

/// The condition of a [guarded put](Client::guarded_put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision, as in [`KeyValue::mod_revision`]; 0 if it does not exist.
    ModRevision(i64),
}

/// How a put under a condition ended.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "the put may have been refused"]
pub enum PutIf {
    /// The condition held, and the key was written.
    Written {
        /// The revision of the write: the key's new `mod_revision`.
        revision: i64,
    },
    /// The condition did not hold.
    Refused {
        /// The key as it is; `None` if it does not exist.
        found: Option<KeyValue>,
    },
}

impl PutIf {
    /// The key was written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self, PutIf::Written { .. })
    }
}

impl Client {
    /// Puts a key that does not exist yet; says what is there if it does.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::PutIf;
    /// match client.create("config", "default").await? {
    ///     PutIf::Written { revision } => println!("created at {revision}"),
    ///     PutIf::Refused { found } => println!("there is {found:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias("put_if_absent", "KeyMissing"))]
    pub fn create(
        &self,
        key: impl IntoBytes,
        value: impl IntoBytes,
    ) -> impl Future<Output = Result<PutIf>> + Send + 'static {
        let guarded = Guarded::new(Put::new(key, value), Guard::Absent);
        let client = self.at_most_once();
        async move { Ok(answer(client.send(guarded?.txn).await?)) }
    }

    /// Replaces the value of a key that was last written at `mod_revision` (0: that does not exist), and of no other: what was
    /// read at that revision has not changed since. Says what is there otherwise. The key loses its lease, if it has one.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let read = client.get("limit").await?.into_first().unwrap_or_default();
    /// let doubled = read.value_str().unwrap_or("0").parse().unwrap_or(0) * 2;
    /// let result = client.replace("limit", doubled.to_string(), read.mod_revision).await?;
    /// println!("{}", result.is_written());
    /// # Ok(()) }
    /// ```
    #[doc(alias("compare_and_swap", "OptimisticPut"))]
    pub fn replace(
        &self,
        key: impl IntoBytes,
        value: impl IntoBytes,
        mod_revision: i64,
    ) -> impl Future<Output = Result<PutIf>> + Send + 'static {
        let guarded = Guarded::new(Put::new(key, value), Guard::ModRevision(mod_revision));
        let client = self.at_most_once();
        async move { Ok(answer(client.send(guarded?.txn).await?)) }
    }

    /// Puts under a condition, and finds out what happened when the answer is lost.
    ///
    /// A write whose answer was lost is usually left as unknown: it may have been applied, and may yet be. This one is sent
    /// again until it is answered, which the condition makes safe, since it no longer holds once the put was applied. When it
    /// does not hold then, the key's history tells whether it was this put that changed it. So **no other write may put the same
    /// value under the same lease**: put something unique into the value (a random number, a name and a count), or tie the
    /// key to a lease that only this caller uses.
    ///
    /// With [`Guard::Absent`] one thing cannot be told: a key of this put that others have deleted and created again since
    /// counts as refused.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for a put with `ignore_value` or `ignore_lease`; those of [`send`](Self::send). An outcome that
    /// is unknown is left when nobody answers within the time limit, when the history was compacted meanwhile, and after
    /// `database space exceeded`, unless the put is seen to have been applied.
    ///
    /// Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Guard, Put};
    /// use std::time::Duration;
    /// let lease = client.lease(Duration::from_secs(10)).await?;
    /// let mine = client.guarded_put(Put::new("owner", "me").lease(&lease), Guard::Absent).await?;
    /// println!("{}", mine.is_written());
    /// # Ok(()) }
    /// ```
    pub fn guarded_put(
        &self,
        put: Put,
        guard: Guard,
    ) -> impl Future<Output = Result<PutIf>> + Send + 'static {
        let client = self.at_most_once();
        async move {
            let guarded = Guarded::new(put, guard)?;
            let until = Instant::now() + client.time_limit();
            match client.send(guarded.txn.clone()).await {
                Ok(reply) => Ok(answer(reply)),
                Err(error) if error.outcome() == Outcome::NotApplied || error.is_closed() => {
                    Err(error)
                }
                Err(error) => {
                    tracing::debug!(%error, "what became of a guarded put is found out");
                    guarded.resolve(&client, until).await.ok_or(error)
                }
            }
        }
    }
}

/// A put under a condition, and how to know it again.
struct Guarded {
    txn: Txn,
    key: Bytes,
    value: Bytes,
    lease: i64,
    /// The key's last write must have been at this revision, 0 if it must not exist.
    mod_revision: i64,
}

impl Guarded {
    fn new(put: Put, guard: Guard) -> Result<Self> {
        let PutRequest {
            key,
            value,
            lease,
            ignore_value,
            ignore_lease,
            ..
        } = put.clone().into();
        if ignore_value || ignore_lease {
            return Err(Error::invalid_request(
                "a guarded put with ignore_value or ignore_lease would not be known again",
            ));
        }
        let mod_revision = match guard {
            Guard::Absent => 0,
            Guard::ModRevision(revision) => revision,
        };
        let txn = Txn::new()
            .when(Compare::mod_revision(&key).equals(mod_revision))
            .then(put)
            .or_else(Get::key(&key));
        Ok(Self {
            txn,
            key,
            value,
            lease,
            mod_revision,
        })
    }

    /// What became of it; `None` if that cannot be found out by `until`.
    async fn resolve(&self, client: &Client, until: Instant) -> Option<PutIf> {
        let again = self.rest(client, until).send(self.txn.clone()).await;
        let (found, now) = match again {
            Ok(reply) => {
                let now = reply.revision();
                match answer(reply) {
                    PutIf::Refused { found } => (found, now),
                    written => return Some(written),
                }
            }
            // Out of space, etcd refuses also what it has applied.
            Err(error) => {
                tracing::debug!(%error, "a guarded put could not be sent again");
                let read = self.rest(client, until).get(&self.key).await.ok()?;
                return self.written(read.first()?);
            }
        };
        // Whether it is ours is decided by the first write after the revision that was asked for.
        let first = match &found {
            _ if self.mod_revision > now => None,
            _ if self.mod_revision > 0 => Some(self.write_after(client, until).await?),
            Some(kv) if kv.version > 1 => {
                let created = Get::key(&self.key).revision(kv.create_revision);
                let read = self.rest(client, until).get(created).await.ok()?;
                Some(read.into_first()?)
            }
            found => found.clone(),
        };
        let ours = first.as_ref().and_then(|kv| self.written(kv));
        Some(ours.unwrap_or(PutIf::Refused { found }))
    }

    /// The first write after the revision that was asked for, a put or a delete: the condition has not held since.
    async fn write_after(&self, client: &Client, until: Instant) -> Option<KeyValue> {
        let watch = Watch::key(&self.key).start_revision(self.mod_revision.saturating_add(1));
        let first = async {
            let mut watcher = self.rest(client, until).watch(watch).await.ok()?;
            let batch = watcher.try_next().await.ok()??;
            batch.events.into_iter().next()?.kv
        };
        timeout_at(until, first).await.ok()?
    }

    fn written(&self, kv: &KeyValue) -> Option<PutIf> {
        let ours = kv.value == self.value && kv.lease == self.lease && kv.version > 0;
        ours.then_some(PutIf::Written {
            revision: kv.mod_revision,
        })
    }

    /// The client with what is left of the time; reading, and sending this put again, does no harm.
    fn rest(&self, client: &Client, until: Instant) -> Client {
        let left = until.saturating_duration_since(Instant::now());
        client.timeout(left).idempotent()
    }
}

/// What etcd says to the transaction.
pub(crate) fn answer(reply: TxnResponse) -> PutIf {
    if reply.succeeded {
        return PutIf::Written {
            revision: reply.revision(),
        };
    }
    let read = reply.responses.into_iter().next();
    let found = match read.and_then(|read| read.response) {
        Some(Response::ResponseRange(range)) => range.into_first(),
        _ => None,
    };
    PutIf::Refused { found }
}
