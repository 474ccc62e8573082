//! Streams: opening them on a usable endpoint, and what tells that one should be left.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::state::{EndpointId, Want};
use super::{Picked, Pool};
use crate::backoff::Backoff;
use crate::error::Result;
use crate::net::{Condition, Connection, Inbound, Metadata, Outbound, Token};
use crate::observe;

/// Which of an endpoint's connections a stream goes on. HTTP/2 gives a connection's credit back only when what came is
/// taken, so that one stream that nobody reads would hold up the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Streams that are always drained: watches, keep-alives.
    Streams,
    /// Streams that wait for their reader.
    Bulk,
}

/// Whether a stream gains from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefer {
    Leader,
    Any,
}

/// A stream and where it leads.
pub(crate) struct OpenStream {
    pub(crate) endpoint: EndpointId,
    pub(crate) name: Arc<str>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) tx: Outbound,
    pub(crate) rx: Inbound,
    pub(crate) health: Health,
    pub(crate) seen: observe::Stream,
    /// Who opened it.
    pub(crate) token: Token,
}

/// What speaks against staying on an endpoint: its connection's detector, or that it was removed from the list.
pub(crate) struct Health {
    condition: watch::Receiver<Condition>,
    /// Closed when the endpoint is removed; `None` if it was removed before anybody listened.
    listed: Option<watch::Receiver<()>>,
}

impl Health {
    /// Resolves when the connection is suspect or closed, or the endpoint removed. Cancel safe.
    pub(crate) async fn troubled(&mut self) {
        let Some(listed) = &mut self.listed else {
            return;
        };
        tokio::select! {
            // An error means that the connection is gone altogether.
            _ = self.condition.wait_for(|condition| *condition != Condition::Alive) => {}
            // Nothing is ever sent there.
            _ = listed.changed() => {}
        }
    }

    pub(crate) fn is_troubled(&self) -> bool {
        *self.condition.borrow() != Condition::Alive || self.is_removed()
    }

    /// Is the endpoint no longer one of the client's? What is on it is to move, whether or not another one is usable yet.
    pub(crate) fn is_removed(&self) -> bool {
        let listed = self.listed.as_ref();
        listed.is_none_or(|listed| listed.has_changed().is_err())
    }
}

impl Pool {
    /// Opens a stream that is always drained on a usable endpoint, waiting for one as long as it takes. Returns when the
    /// request was handed to HTTP/2: etcd answers the headers only with the first message.
    ///
    /// `avoid` is honoured when another endpoint is usable; with `pinned` no other is taken. Cancel safe.
    ///
    /// # Errors
    /// `Error::Closed`, or `Error::Config` when the pinned endpoint is not one of the client's.
    pub(crate) async fn open(
        &self,
        path: &'static str,
        prefer: Prefer,
        avoid: Option<EndpointId>,
        pinned: Option<EndpointId>,
        metadata: &Metadata,
    ) -> Result<OpenStream> {
        let avoid = avoid.into_iter().collect();
        self.open_in(Lane::Streams, path, prefer, avoid, pinned, metadata)
            .await
    }

    /// [`open`](Self::open) on the connection of a lane.
    pub(crate) async fn open_in(
        &self,
        lane: Lane,
        path: &'static str,
        prefer: Prefer,
        avoid: Vec<EndpointId>,
        pinned: Option<EndpointId>,
        metadata: &Metadata,
    ) -> Result<OpenStream> {
        let want = Want {
            leader: prefer == Prefer::Leader,
            serializable: false,
            avoid: &avoid,
            pinned,
        };
        let open = |connection: Connection| async move {
            let condition = connection.condition();
            let (tx, rx) = connection.open(path, metadata).await?;
            Ok((condition, tx, rx))
        };
        let (picked, (condition, tx, rx)) = self.place(lane, &want, open).await?;
        let health = self.health(picked.id, condition);
        let seen = observe::Stream::opened(path, &picked.name);
        Ok(OpenStream {
            endpoint: picked.id,
            name: picked.name,
            version: picked.version,
            tx,
            rx,
            health,
            seen,
            token: metadata.token.clone(),
        })
    }

    /// Does `open` on the connection of a lane of a usable endpoint, and on another one when it fails, for as long as it
    /// takes.
    pub(crate) async fn place<T, F: Future<Output = Result<T>>>(
        &self,
        lane: Lane,
        want: &Want<'_>,
        open: impl Fn(Connection) -> F,
    ) -> Result<(Picked, T)> {
        let mut avoid = want.avoid.to_vec();
        let mut backoff = Backoff::new(Duration::from_millis(50), 2.0, Duration::from_secs(1));
        loop {
            let want = Want {
                avoid: &avoid,
                ..*want
            };
            let picked = self.acquire(&want).await?;
            let opened = match self.beside(&picked, lane).await {
                Ok(connection) => open(connection).await,
                Err(error) => Err(error),
            };
            let error = match opened {
                Ok(opened) => return Ok((picked, opened)),
                Err(error) => error,
            };
            tracing::debug!(endpoint = %picked.name, %error, "no stream could be opened");
            if avoid.contains(&picked.id) || want.pinned.is_some() {
                avoid.clear();
                tokio::time::sleep(backoff.next().unwrap_or(Duration::from_secs(1))).await;
            }
            avoid.push(picked.id);
        }
    }

    pub(super) fn health(&self, id: EndpointId, condition: watch::Receiver<Condition>) -> Health {
        let listed = self.lock().listed.get(&id).map(|at| at.here.subscribe());
        Health { condition, listed }
    }
}
