//! Fuzz target over the keys of requests and replies under a namespace.

use bytes::Bytes;
use etcd_proto::etcdserverpb::request_op::Request;
use etcd_proto::etcdserverpb::response_op::Response;
use etcd_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseTimeToLiveRequest, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use etcd_proto::mvccpb::{Event, KeyValue};
use etcd_proto::rpc::Unary;
use etcd_proto::v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use etcd_proto::v3lockpb::{LockRequest, UnlockRequest};
use prost::Message;

use super::{Enter, Leave, Namespace};
use crate::fuzz::Input;
use crate::limits::{self, Limits};
use crate::range::{NUL, prefix_end};

/// No request names a key outside its namespace, and no key from outside is returned.
pub(crate) fn namespace(data: &[u8]) {
    let mut input = Input::new(data);
    let (rpc, prefix) = (input.byte() % 12, input.bytes(4));
    let Some(namespace) = Namespace::within(None, prefix) else {
        return;
    };
    let (n, bytes) = (&namespace, input.rest());
    match rpc {
        0 => of::<RangeRequest>(n, bytes),
        1 => of::<PutRequest>(n, bytes),
        2 => of::<DeleteRangeRequest>(n, bytes),
        3 => of::<TxnRequest>(n, bytes),
        4 => rpc_of::<LeaseTimeToLiveRequest>(n, bytes),
        5 => rpc_of::<LockRequest>(n, bytes),
        6 => rpc_of::<UnlockRequest>(n, bytes),
        7 => rpc_of::<CampaignRequest>(n, bytes),
        8 => rpc_of::<ProclaimRequest>(n, bytes),
        9 => rpc_of::<LeaderRequest>(n, bytes),
        10 => rpc_of::<ResignRequest>(n, bytes),
        _ => event(n, bytes),
    }
}

/// Any request and any reply, by way of the table.
fn rpc_of<R: Unary>(namespace: &Namespace, bytes: &[u8]) {
    if let Ok(mut request) = R::decode(bytes) {
        let _ = limits::check(&request, &Limits::default());
        let _ = namespace.enter(R::PATH, &mut request);
    }
    if let Ok(mut reply) = R::Reply::decode(bytes) {
        let _ = namespace.leave(R::PATH, &mut reply);
    }
}

/// The same, and the keys are looked at.
fn of<R: Unary + Enter + Keys>(namespace: &Namespace, bytes: &[u8])
where
    R::Reply: Leave + Keys + Clone,
{
    rpc_of::<R>(namespace, bytes);
    if let Ok(mut request) = R::decode(bytes)
        && request.enter(namespace).is_ok()
    {
        request.keys(&mut |key, end| assert_inside(&namespace.prefix, key, end));
    }
    if let Ok(reply) = R::Reply::decode(bytes) {
        came_back(namespace, &reply);
    }
}

fn event(namespace: &Namespace, bytes: &[u8]) {
    if let Ok(event) = Event::decode(bytes) {
        came_back(namespace, &event);
    }
}

/// What is returned are the keys that came, each without the prefix, which all had.
fn came_back<M: Leave + Keys + Clone>(namespace: &Namespace, reply: &M) {
    let mut left = reply.clone();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    reply.keys(&mut |key, _| before.push(key.clone()));
    let inside = |key: &Bytes| key.starts_with(&namespace.prefix) && *key != namespace.prefix;
    if left.leave(namespace).is_err() {
        return assert!(!before.iter().all(inside), "{before:?}");
    }
    left.keys(&mut |key, _| after.push(namespace.join(key)));
    assert_eq!(before, after);
    assert!(before.iter().all(inside), "{before:?}");
}

/// Is every key that `key` and `range_end` name one that begins with the prefix and goes on?
fn assert_inside(prefix: &Bytes, key: &Bytes, end: &Bytes) {
    assert!(key.starts_with(prefix) && key != prefix, "{key:?}");
    let border = prefix_end(prefix);
    if end.is_empty() || border == NUL {
        return;
    }
    assert!(*end != NUL && *end <= border, "{end:?}");
}

/// The keys in a message, each with its `range_end`, if it has one.
trait Keys {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes));
}

impl Keys for RangeRequest {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        see(&self.key, &self.range_end);
    }
}

impl Keys for DeleteRangeRequest {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        see(&self.key, &self.range_end);
    }
}

impl Keys for PutRequest {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        see(&self.key, &Bytes::new());
    }
}

impl Keys for TxnRequest {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        for compare in &self.compare {
            see(&compare.key, &compare.range_end);
        }
        for op in self.success.iter().chain(&self.failure) {
            match &op.request {
                Some(Request::RequestRange(range)) => range.keys(see),
                Some(Request::RequestPut(put)) => put.keys(see),
                Some(Request::RequestDeleteRange(delete)) => delete.keys(see),
                Some(Request::RequestTxn(txn)) => txn.keys(see),
                None => {}
            }
        }
    }
}

fn pairs<'a>(pairs: impl IntoIterator<Item = &'a KeyValue>, see: &mut dyn FnMut(&Bytes, &Bytes)) {
    for pair in pairs {
        see(&pair.key, &Bytes::new());
    }
}

impl Keys for RangeResponse {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        pairs(&self.kvs, see);
    }
}

impl Keys for PutResponse {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        pairs(&self.prev_kv, see);
    }
}

impl Keys for DeleteRangeResponse {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        pairs(&self.prev_kvs, see);
    }
}

impl Keys for Event {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        pairs(self.kv.iter().chain(&self.prev_kv), see);
    }
}

impl Keys for TxnResponse {
    fn keys(&self, see: &mut dyn FnMut(&Bytes, &Bytes)) {
        for op in &self.responses {
            match &op.response {
                Some(Response::ResponseRange(range)) => range.keys(see),
                Some(Response::ResponsePut(put)) => put.keys(see),
                Some(Response::ResponseDeleteRange(delete)) => delete.keys(see),
                Some(Response::ResponseTxn(txn)) => txn.keys(see),
                None => {}
            }
        }
    }
}
