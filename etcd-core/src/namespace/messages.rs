//! The keys in each message: of requests on their way to a server, of replies on their way back.

use etcd_proto::etcdserverpb::request_op::Request;
use etcd_proto::etcdserverpb::response_op::Response;
use etcd_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest,
    TxnResponse,
};
use etcd_proto::mvccpb::{Event, KeyValue};
use etcd_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use etcd_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use super::{Foreign, Namespace};
use crate::error::Result;

/// A request whose keys are the caller's, and after this the server's.
pub(crate) trait Enter: 'static {
    fn enter(&mut self, namespace: &Namespace) -> Result<()>;
}

/// A reply, or a part of one, whose keys are the server's, and after this the caller's. After an error it is of no use.
pub(crate) trait Leave: 'static {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign>;
}

macro_rules! enter_range {
    ($($message:ty)*) => {
        $(impl Enter for $message {
            fn enter(&mut self, namespace: &Namespace) -> Result<()> {
                namespace.enter_range(&mut self.key, &mut self.range_end)
            }
        })*
    };
}

macro_rules! enter_key {
    ($($message:ty)*) => {
        $(impl Enter for $message {
            fn enter(&mut self, namespace: &Namespace) -> Result<()> {
                namespace.enter_key(&mut self.key)
            }
        })*
    };
}

macro_rules! enter_name {
    ($($message:ty)*) => {
        $(impl Enter for $message {
            fn enter(&mut self, namespace: &Namespace) -> Result<()> {
                namespace.enter_name(&mut self.name);
                Ok(())
            }
        })*
    };
}

/// Those that pass on what was got from a campaign.
macro_rules! enter_leader {
    ($($message:ty)*) => {
        $(impl Enter for $message {
            fn enter(&mut self, namespace: &Namespace) -> Result<()> {
                self.leader.iter_mut().try_for_each(|leader| {
                    namespace.enter_name(&mut leader.name);
                    namespace.enter_key(&mut leader.key)
                })
            }
        })*
    };
}

enter_range! { RangeRequest DeleteRangeRequest etcd_proto::etcdserverpb::Compare }
enter_key! { PutRequest UnlockRequest }
enter_name! { LockRequest CampaignRequest LeaderRequest }
enter_leader! { ProclaimRequest ResignRequest }

impl Enter for TxnRequest {
    fn enter(&mut self, namespace: &Namespace) -> Result<()> {
        for compare in &mut self.compare {
            compare.enter(namespace)?;
        }
        for op in self.success.iter_mut().chain(&mut self.failure) {
            match &mut op.request {
                Some(Request::RequestRange(range)) => range.enter(namespace)?,
                Some(Request::RequestPut(put)) => put.enter(namespace)?,
                Some(Request::RequestDeleteRange(delete)) => delete.enter(namespace)?,
                Some(Request::RequestTxn(txn)) => txn.enter(namespace)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// It names a lease; only the reply has keys.
impl Enter for LeaseTimeToLiveRequest {
    fn enter(&mut self, _: &Namespace) -> Result<()> {
        Ok(())
    }
}

impl<T: Leave> Leave for Option<T> {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        self.iter_mut().try_for_each(|part| part.leave(namespace))
    }
}

impl<T: Leave> Leave for Vec<T> {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        self.iter_mut().try_for_each(|part| part.leave(namespace))
    }
}

/// Messages whose keys are in these fields.
macro_rules! leave {
    ($($message:ident: $($field:ident)*;)*) => {
        $(impl Leave for $message {
            fn leave(&mut self, _namespace: &Namespace) -> Result<(), Foreign> {
                $(self.$field.leave(_namespace)?;)*
                Ok(())
            }
        })*
    };
}

leave! {
    RangeResponse: kvs;
    RangeStreamResponse: range_response;
    PutResponse: prev_kv;
    DeleteRangeResponse: prev_kvs;
    TxnResponse: responses;
    Event: kv prev_kv;
    LeaderResponse: kv;
    CampaignResponse: leader;
    ProclaimResponse: ;
    ResignResponse: ;
    UnlockResponse: ;
}

impl Leave for KeyValue {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        namespace.leave_key(&mut self.key)
    }
}

impl Leave for LockResponse {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        namespace.leave_key(&mut self.key)
    }
}

impl Leave for LeaderKey {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        namespace.leave_name(&mut self.name)?;
        namespace.leave_key(&mut self.key)
    }
}

impl Leave for etcd_proto::etcdserverpb::ResponseOp {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        match &mut self.response {
            Some(Response::ResponseRange(range)) => range.leave(namespace),
            Some(Response::ResponsePut(put)) => put.leave(namespace),
            Some(Response::ResponseDeleteRange(delete)) => delete.leave(namespace),
            Some(Response::ResponseTxn(txn)) => txn.leave(namespace),
            None => Ok(()),
        }
    }
}

/// A lease can have keys in many namespaces.
impl Leave for LeaseTimeToLiveResponse {
    fn leave(&mut self, namespace: &Namespace) -> Result<(), Foreign> {
        self.keys.retain_mut(|key| namespace.leave_key(key).is_ok());
        Ok(())
    }
}
