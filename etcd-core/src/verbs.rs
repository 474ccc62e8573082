//! The plain verbs on keys.

use std::future::Future;

use etcd_proto::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse,
};

use crate::client::Client;
use crate::error::Result;
use crate::kv::{Compact, Delete, Get, Put};
use crate::range::IntoBytes;
use crate::txn::Txn;

/// Their futures borrow nothing of the client, so that they can be spawned, and returned from a function:
///
/// ```
/// fn greeting(client: etcd_core::Client) -> impl Future<Output = etcd_core::Result<i64>> + Send + 'static {
///     let get = client.timeout(std::time::Duration::from_secs(1)).get("greeting");
///     async { Ok(get.await?.count) }
/// }
/// ```
///
/// All of them are [`send`](Client::send) with a value; its errors are theirs. Dropping a future withdraws the call; the
/// outcome of a write is then unknown.
impl Client {
    /// Puts one key. With options: `client.send(Put::new(k, v).lease(id).prev_kv())`.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let revision = client.put("greeting", "hello").await?.revision();
    /// # Ok(()) }
    /// ```
    pub fn put<K: IntoBytes, V: IntoBytes>(
        &self,
        key: K,
        value: V,
    ) -> impl Future<Output = Result<PutResponse>> + Send + 'static + use<K, V> {
        self.send(Put::new(key, value))
    }

    /// Reads a key or a range; linearizable unless the value says [`serializable`](Get::serializable).
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::Get;
    /// if let Some(kv) = client.get("greeting").await?.into_first() {
    ///     println!("{:?} since revision {}", kv.value, kv.mod_revision);
    /// }
    /// let keys = client.get(Get::prefix("svc/").limit(100).keys_only()).await?.kvs;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "range")]
    pub fn get<G: Into<Get>>(
        &self,
        get: G,
    ) -> impl Future<Output = Result<RangeResponse>> + Send + 'static + use<G> {
        self.send(get.into())
    }

    /// Deletes a key or a range.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::Delete;
    /// let deleted = client.delete(Delete::prefix("tmp/")).await?.deleted;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "delete_range")]
    pub fn delete<D: Into<Delete>>(
        &self,
        delete: D,
    ) -> impl Future<Output = Result<DeleteRangeResponse>> + Send + 'static + use<D> {
        self.send(delete.into())
    }

    /// Runs a transaction: all of it at one revision, or nothing.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Compare, Get, Put, Txn};
    /// let create = Txn::new()
    ///     .when(Compare::create_revision("k").equals(0))
    ///     .then(Put::new("k", "mine"))
    ///     .or_else(Get::key("k"));
    /// let created = client.txn(create).await?.succeeded;
    /// # Ok(()) }
    /// ```
    pub fn txn(
        &self,
        txn: Txn,
    ) -> impl Future<Output = Result<TxnResponse>> + Send + 'static + use<> {
        self.send(txn)
    }

    /// Forgets the history before a revision. With options: `client.compact(Compact::new(revision).physical())`.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// client.compact(1234).await?;
    /// client.compact(etcd_core::Compact::new(1234).physical()).await?;
    /// # Ok(()) }
    /// ```
    pub fn compact<C: Into<Compact>>(
        &self,
        compact: C,
    ) -> impl Future<Output = Result<CompactionResponse>> + Send + 'static + use<C> {
        self.send(compact.into())
    }
}
