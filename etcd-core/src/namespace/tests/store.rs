//! A store that understands the wire's requests as etcd does, written without this crate's ideas of ranges.

use std::collections::BTreeMap;

use bytes::Bytes;
use etcd_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use etcd_proto::etcdserverpb::request_op::Request;
use etcd_proto::etcdserverpb::response_op::Response;
use etcd_proto::etcdserverpb::{
    Compare, DeleteRangeResponse, PutResponse, RangeResponse, ResponseOp, TxnRequest, TxnResponse,
};
use etcd_proto::mvccpb::KeyValue;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Store(pub(super) BTreeMap<Bytes, Bytes>);

/// As etcd reads `key` and `range_end`.
pub(super) fn selects(key: &[u8], end: &[u8], candidate: &[u8]) -> bool {
    match end {
        [] => candidate == key,
        [0] => candidate >= key,
        _ => candidate >= key && candidate < end,
    }
}

impl Store {
    /// What is under the prefix, without it; and what is not. The key that equals the prefix is not.
    pub(super) fn split(&self, prefix: &[u8]) -> (Store, Store) {
        let (mut inside, mut outside) = (Store::default(), Store::default());
        for (key, value) in &self.0 {
            match key.strip_prefix(prefix) {
                Some(rest) if !rest.is_empty() => {
                    inside.0.insert(Bytes::copy_from_slice(rest), value.clone())
                }
                _ => outside.0.insert(key.clone(), value.clone()),
            };
        }
        (inside, outside)
    }

    pub(super) fn run(&mut self, txn: &TxnRequest) -> TxnResponse {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let mut responses = Vec::new();
        for op in ops {
            let response = op.request.as_ref().map(|request| self.op(request));
            responses.push(ResponseOp { response });
        }
        TxnResponse {
            succeeded,
            responses,
            ..Default::default()
        }
    }

    fn op(&mut self, request: &Request) -> Response {
        match request {
            Request::RequestRange(range) => {
                let kvs = self.found(&range.key, &range.range_end);
                Response::ResponseRange(RangeResponse {
                    count: kvs.len() as i64,
                    kvs,
                    ..Default::default()
                })
            }
            Request::RequestPut(put) => {
                let before = self.0.insert(put.key.clone(), put.value.clone());
                let before = before.filter(|_| put.prev_kv);
                Response::ResponsePut(PutResponse {
                    prev_kv: before.map(|value| pair(&put.key, &value)),
                    ..Default::default()
                })
            }
            Request::RequestDeleteRange(delete) => {
                let found = self.found(&delete.key, &delete.range_end);
                for kv in &found {
                    self.0.remove(&kv.key);
                }
                Response::ResponseDeleteRange(DeleteRangeResponse {
                    deleted: found.len() as i64,
                    prev_kvs: if delete.prev_kv { found } else { Vec::new() },
                    ..Default::default()
                })
            }
            Request::RequestTxn(txn) => Response::ResponseTxn(self.run(txn)),
        }
    }

    /// Of all keys of the range, or of one that is not there if it has none.
    fn holds(&self, compare: &Compare) -> bool {
        let found = self.found(&compare.key, &compare.range_end);
        let holds = |kv: Option<&KeyValue>| match &compare.target_union {
            Some(TargetUnion::Value(value)) => kv.is_some_and(|kv| match compare.result() {
                CompareResult::Equal => kv.value == *value,
                _ => kv.value != *value,
            }),
            _ => kv.is_none(),
        };
        match &found[..] {
            [] => holds(None),
            found => found.iter().all(|kv| holds(Some(kv))),
        }
    }

    fn found(&self, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
        let found = self.0.iter().filter(|(k, _)| selects(key, end, k));
        found.map(|(key, value)| pair(key, value)).collect()
    }
}

fn pair(key: &Bytes, value: &Bytes) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: value.clone(),
        ..Default::default()
    }
}
