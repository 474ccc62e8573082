//! Every reply, decoded from any bytes and looked at as the verbs and their callers look at it.

use std::fmt::Debug;

use etcd_proto::etcdserverpb::*;
use etcd_proto::health::{HealthCheckRequest, HealthCheckResponse};
use etcd_proto::mvccpb::{Event, KeyValue};
use etcd_proto::rpc::{
    HEALTH_WATCH_PATH, LEASE_KEEP_ALIVE_PATH, OBSERVE_PATH, RANGE_STREAM_PATH, Reply,
    SNAPSHOT_PATH, Unary, WATCH_PATH,
};
use etcd_proto::v3electionpb::{
    CampaignRequest, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use etcd_proto::v3lockpb::{LockRequest, UnlockRequest};
use prost::Message;

use super::Input;
use crate::pool::Version;

/// Every RPC, and what is done with the bytes of its reply.
pub const REPLIES: &[(&str, super::Target)] = &[
    (RangeRequest::PATH, range),
    (PutRequest::PATH, unary::<PutRequest>),
    (DeleteRangeRequest::PATH, unary::<DeleteRangeRequest>),
    (TxnRequest::PATH, txn),
    (CompactionRequest::PATH, unary::<CompactionRequest>),
    (LeaseGrantRequest::PATH, unary::<LeaseGrantRequest>),
    (LeaseRevokeRequest::PATH, unary::<LeaseRevokeRequest>),
    (
        LeaseTimeToLiveRequest::PATH,
        unary::<LeaseTimeToLiveRequest>,
    ),
    (LeaseLeasesRequest::PATH, unary::<LeaseLeasesRequest>),
    (MemberAddRequest::PATH, unary::<MemberAddRequest>),
    (MemberRemoveRequest::PATH, unary::<MemberRemoveRequest>),
    (MemberUpdateRequest::PATH, unary::<MemberUpdateRequest>),
    (MemberListRequest::PATH, unary::<MemberListRequest>),
    (MemberPromoteRequest::PATH, unary::<MemberPromoteRequest>),
    (AlarmRequest::PATH, unary::<AlarmRequest>),
    (StatusRequest::PATH, status),
    (DefragmentRequest::PATH, unary::<DefragmentRequest>),
    (HashRequest::PATH, unary::<HashRequest>),
    (HashKvRequest::PATH, unary::<HashKvRequest>),
    (MoveLeaderRequest::PATH, unary::<MoveLeaderRequest>),
    (DowngradeRequest::PATH, unary::<DowngradeRequest>),
    (AuthEnableRequest::PATH, unary::<AuthEnableRequest>),
    (AuthDisableRequest::PATH, unary::<AuthDisableRequest>),
    (AuthStatusRequest::PATH, unary::<AuthStatusRequest>),
    (AuthenticateRequest::PATH, unary::<AuthenticateRequest>),
    (AuthUserAddRequest::PATH, unary::<AuthUserAddRequest>),
    (AuthUserGetRequest::PATH, unary::<AuthUserGetRequest>),
    (AuthUserListRequest::PATH, unary::<AuthUserListRequest>),
    (AuthUserDeleteRequest::PATH, unary::<AuthUserDeleteRequest>),
    (
        AuthUserChangePasswordRequest::PATH,
        unary::<AuthUserChangePasswordRequest>,
    ),
    (
        AuthUserGrantRoleRequest::PATH,
        unary::<AuthUserGrantRoleRequest>,
    ),
    (
        AuthUserRevokeRoleRequest::PATH,
        unary::<AuthUserRevokeRoleRequest>,
    ),
    (AuthRoleAddRequest::PATH, unary::<AuthRoleAddRequest>),
    (AuthRoleGetRequest::PATH, unary::<AuthRoleGetRequest>),
    (AuthRoleListRequest::PATH, unary::<AuthRoleListRequest>),
    (AuthRoleDeleteRequest::PATH, unary::<AuthRoleDeleteRequest>),
    (
        AuthRoleGrantPermissionRequest::PATH,
        unary::<AuthRoleGrantPermissionRequest>,
    ),
    (
        AuthRoleRevokePermissionRequest::PATH,
        unary::<AuthRoleRevokePermissionRequest>,
    ),
    (LockRequest::PATH, unary::<LockRequest>),
    (UnlockRequest::PATH, unary::<UnlockRequest>),
    (CampaignRequest::PATH, unary::<CampaignRequest>),
    (ProclaimRequest::PATH, unary::<ProclaimRequest>),
    (LeaderRequest::PATH, unary::<LeaderRequest>),
    (ResignRequest::PATH, unary::<ResignRequest>),
    (HealthCheckRequest::PATH, unary::<HealthCheckRequest>),
    (WATCH_PATH, watch),
    (LEASE_KEEP_ALIVE_PATH, reply::<LeaseKeepAliveResponse>),
    (RANGE_STREAM_PATH, reply::<RangeStreamResponse>),
    (SNAPSHOT_PATH, reply::<SnapshotResponse>),
    (OBSERVE_PATH, reply::<LeaderResponse>),
    (HEALTH_WATCH_PATH, reply::<HealthCheckResponse>),
];

/// The first byte names the RPC, the rest is the reply.
pub(super) fn messages(data: &[u8]) {
    let mut input = Input::new(data);
    let (_, look_at) = REPLIES[input.below(REPLIES.len())];
    look_at(input.rest());
}

fn unary<R: Unary>(data: &[u8])
where
    R::Reply: PartialEq,
{
    reply::<R::Reply>(data);
    if let Ok(reply) = R::Reply::decode(data) {
        let _ = reply.header().map(|header| header.revision);
    }
}

/// What can be decoded can be shown, and is the same when it is encoded and decoded again.
fn reply<M: Message + Default + Debug + PartialEq>(data: &[u8]) {
    let Ok(message) = M::decode(data) else { return };
    let _ = format!("{message:?}");
    let again = M::decode(&message.encode_to_vec()[..]);
    assert_eq!(again.as_ref(), Ok(&message));
}

fn range(data: &[u8]) {
    unary::<RangeRequest>(data);
    let Ok(reply) = RangeResponse::decode(data) else {
        return;
    };
    reply.kvs.iter().for_each(look_at_pair);
    assert_eq!(reply.first().cloned(), reply.into_first());
}

fn txn(data: &[u8]) {
    unary::<TxnRequest>(data);
    if let Ok(reply) = TxnResponse::decode(data) {
        let _ = crate::guarded::answer(reply);
    }
}

fn status(data: &[u8]) {
    unary::<StatusRequest>(data);
    if let Ok(reply) = StatusResponse::decode(data) {
        let _ = Version::parse(&reply.version);
    }
}

fn watch(data: &[u8]) {
    reply::<WatchResponse>(data);
    let Ok(reply) = WatchResponse::decode(data) else {
        return;
    };
    for event in &reply.events {
        look_at_event(event);
    }
}

fn look_at_event(event: &Event) {
    assert!(!(event.is_put() && event.is_delete()));
    assert!(event.is_put() || !event.is_create());
    event.kv.iter().chain(&event.prev_kv).for_each(look_at_pair);
}

fn look_at_pair(pair: &KeyValue) {
    let text = pair.key_str();
    assert_eq!(text.is_ok(), std::str::from_utf8(&pair.key).is_ok());
    let _ = pair.value_str();
}
