//! What can be sent.

use etcd_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};
use etcd_proto::rpc::Unary;

use crate::error::Result;
use crate::kv::{Compact, Delete, Get, Put};
use crate::txn::Txn;

/// Anything that `Client::send` takes: the values of this crate, and every generated request of a unary RPC.
pub trait Request: Send + 'static {
    /// The message that is sent; it names the RPC and the reply.
    type Wire: Unary;

    /// The message.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`](crate::Error::InvalidRequest) if the value cannot be written as that message.
    fn into_wire(self) -> Result<Self::Wire>;
}

impl<M: Unary> Request for M {
    type Wire = M;

    fn into_wire(self) -> Result<M> {
        Ok(self)
    }
}

macro_rules! requests {
    ($($value:ident => $wire:ident;)*) => {
        $(impl Request for $value {
            type Wire = $wire;

            fn into_wire(self) -> Result<$wire> {
                Ok(self.into())
            }
        })*
    };
}

requests! {
    Get => RangeRequest;
    Put => PutRequest;
    Delete => DeleteRangeRequest;
    Compact => CompactionRequest;
    Txn => TxnRequest;
}
