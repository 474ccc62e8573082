//! Namespaces: views of a client that see only the keys under a prefix, and see them without it.
//!
//! A request is rewritten before it is encoded and its reply after it was decoded, in the wire's own terms, so that every
//! verb, every value and every generated message is covered by the same few lines. What happens to an RPC is in [`scope`];
//! an RPC that is not there is refused.

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod messages;
mod scope;

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::range::{IntoBytes, KeyRange, NUL, check_key, prefix_end};

use self::messages::Enter;
pub(crate) use self::messages::Leave;

impl Client {
    /// A view that is confined to the keys under `prefix`, and names them without it: `client.namespace("app1/").put("k", v)`
    /// writes `app1/k`. Nothing is added to the prefix, not even a `/`. Namespaces nest, their prefixes follow each other; an
    /// empty prefix changes nothing.
    ///
    /// Under a namespace, all keys, a prefix, or everything from a key on end where the namespace ends. The key that is equal
    /// to the prefix is outside: it would be the empty key, which etcd does not have.
    ///
    /// | what | under a namespace |
    /// |---|---|
    /// | get, put, delete, transactions with their conditions, watches, the names and keys of the server's locks and elections | mapped |
    /// | keys of a lease (`time_to_live`) | those in the namespace |
    /// | permissions of roles, snapshots | refused with [`Error::InvalidRequest`]: they are about the whole keyspace |
    /// | everything else: leases, compaction, members, maintenance, users | as without it |
    ///
    /// What is left as it is concerns the whole cluster: compaction discards the history of everybody's keys, and a lease that is
    /// revoked takes all its keys with it, wherever they are. [`close`](Self::close),
    /// [`cancel_all_watches`](Self::cancel_all_watches) and [`halt_all`](Self::halt_all) concern the whole client.
    ///
    /// A namespace keeps honest programs apart. It is no permission: for that, grant a role the range of the prefix, and use
    /// that user.
    ///
    /// # Errors
    /// Calls end with `Error::Protocol` when a server answers with a key that is outside the namespace; it is not returned.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Delete, Get};
    /// let app = client.namespace("app1/");
    /// app.put("color", "blue").await?; // app1/color
    /// let kvs = app.get(Get::all()).await?.kvs; // [color]
    /// let cache = app.namespace("cache/");
    /// cache.delete(Delete::all()).await?; // app1/cache/…, and nothing else
    /// # Ok(()) }
    /// ```
    #[doc(alias("NewKV", "key_prefix", "KvClientPrefix"))]
    pub fn namespace(&self, prefix: impl IntoBytes) -> Self {
        let prefix = prefix.into_bytes();
        self.with(|view| view.namespace = Namespace::within(view.namespace.as_ref(), &prefix))
    }
}

/// The keys under a prefix that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Bytes,
}

/// A key that came from a server is not in the namespace it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds a key outside the namespace")]
pub(crate) struct Foreign;

impl Foreign {
    /// What is told of the endpoint that sent it.
    pub(crate) fn at(self, endpoint: &Arc<str>) -> Error {
        Error::protocol(endpoint.clone(), self.to_string())
    }
}

impl Namespace {
    /// The namespace under `prefix` within another; `None` is the whole keyspace.
    pub(crate) fn within(outer: Option<&Self>, prefix: &[u8]) -> Option<Self> {
        let outer = outer.map_or(&[][..], |outer| &outer.prefix);
        let prefix = Bytes::from([outer, prefix].concat());
        (!prefix.is_empty()).then_some(Self { prefix })
    }

    /// From the caller's name of a range to etcd's. One that names no key names none here either.
    pub(crate) fn range(&self, range: &KeyRange) -> KeyRange {
        let (mut key, mut end) = range.clone().into_parts();
        match self.enter_range(&mut key, &mut end) {
            Ok(()) => KeyRange::from_parts(key, end),
            Err(_) => KeyRange::none(),
        }
    }

    /// From the caller's fields `key` and `range_end` to etcd's. The range they name ends at the end of the namespace, at
    /// the latest.
    fn enter_range(&self, key: &mut Bytes, end: &mut Bytes) -> Result<()> {
        self.enter_key(key)?;
        if *end == NUL {
            // Where there is no key after the prefix, all from `key` on have it.
            *end = prefix_end(&self.prefix);
        } else if !end.is_empty() {
            *end = self.join(end);
        }
        Ok(())
    }

    /// An empty key is refused: with the prefix it would be the one key that is just outside.
    fn enter_key(&self, key: &mut Bytes) -> Result<()> {
        check_key(key)?;
        *key = self.join(key);
        Ok(())
    }

    /// The name of a lock or an election, which may be empty: etcd appends a `/` and more.
    fn enter_name(&self, name: &mut Bytes) {
        *name = self.join(name);
    }

    /// From etcd's name of a key to the caller's.
    pub(crate) fn leave_key(&self, key: &mut Bytes) -> Result<(), Foreign> {
        if key.len() == self.prefix.len() {
            return Err(Foreign);
        }
        self.leave_name(key)
    }

    fn leave_name(&self, name: &mut Bytes) -> Result<(), Foreign> {
        if !name.starts_with(&self.prefix) {
            return Err(Foreign);
        }
        name.advance(self.prefix.len());
        Ok(())
    }

    fn join(&self, rest: &[u8]) -> Bytes {
        [&self.prefix[..], rest].concat().into()
    }

    fn refuse(&self, path: &str, why: &str) -> Error {
        Error::invalid_request(format!("{path} in the namespace {self:?}: {why}"))
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.prefix.escape_ascii())
    }
}

#[cfg(test)]
mod tests;
