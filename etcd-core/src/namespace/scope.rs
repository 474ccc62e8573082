//! What a namespace does with each RPC. Watches are not here: [`Watch`](crate::Watch) writes the keys of its request, and its
//! cursor reads the events, one by one as they arrive.

use std::any::Any;

use etcd_proto::etcdserverpb::*;
use etcd_proto::health::HealthCheckRequest;
use etcd_proto::rpc::{
    HEALTH_WATCH_PATH, LEASE_KEEP_ALIVE_PATH, OBSERVE_PATH, RANGE_STREAM_PATH, SNAPSHOT_PATH, Unary,
};
use etcd_proto::v3electionpb::{
    CampaignRequest, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use etcd_proto::v3lockpb::{LockRequest, UnlockRequest};

use super::{Enter, Foreign, Leave, Namespace};
use crate::error::Result;

/// What a namespace does with an RPC.
#[derive(Clone, Copy)]
enum Scoped {
    /// Keys are rewritten on the way there and back.
    Mapped(Mapped),
    /// It names no key, and answers with none.
    KeyFree,
    /// It is about the whole keyspace; why.
    Refused(&'static str),
}

#[derive(Clone, Copy)]
pub(super) struct Mapped {
    pub(super) path: &'static str,
    enter: fn(&mut dyn Any, &Namespace) -> Option<Result<()>>,
    leave: fn(&mut dyn Any, &Namespace) -> Option<Result<(), Foreign>>,
}

pub(super) const MAPPED: &[Mapped] = &[
    unary::<RangeRequest>(),
    unary::<PutRequest>(),
    unary::<DeleteRangeRequest>(),
    unary::<TxnRequest>(),
    unary::<LeaseTimeToLiveRequest>(),
    unary::<LockRequest>(),
    unary::<UnlockRequest>(),
    unary::<CampaignRequest>(),
    unary::<ProclaimRequest>(),
    unary::<LeaderRequest>(),
    unary::<ResignRequest>(),
    mapped::<RangeRequest, RangeStreamResponse>(RANGE_STREAM_PATH),
    mapped::<LeaderRequest, LeaderResponse>(OBSERVE_PATH),
];

/// Some concern all keys, but none by its name.
pub(super) const KEY_FREE: &[&str] = &[
    CompactionRequest::PATH,
    LeaseGrantRequest::PATH,
    LeaseRevokeRequest::PATH,
    LeaseLeasesRequest::PATH,
    LEASE_KEEP_ALIVE_PATH,
    MemberAddRequest::PATH,
    MemberRemoveRequest::PATH,
    MemberUpdateRequest::PATH,
    MemberListRequest::PATH,
    MemberPromoteRequest::PATH,
    AlarmRequest::PATH,
    StatusRequest::PATH,
    DefragmentRequest::PATH,
    HashRequest::PATH,
    HashKvRequest::PATH,
    MoveLeaderRequest::PATH,
    DowngradeRequest::PATH,
    AuthEnableRequest::PATH,
    AuthDisableRequest::PATH,
    AuthStatusRequest::PATH,
    AuthenticateRequest::PATH,
    AuthUserAddRequest::PATH,
    AuthUserGetRequest::PATH,
    AuthUserListRequest::PATH,
    AuthUserDeleteRequest::PATH,
    AuthUserChangePasswordRequest::PATH,
    AuthUserGrantRoleRequest::PATH,
    AuthUserRevokeRoleRequest::PATH,
    AuthRoleAddRequest::PATH,
    AuthRoleListRequest::PATH,
    AuthRoleDeleteRequest::PATH,
    HealthCheckRequest::PATH,
    HEALTH_WATCH_PATH,
];

/// A role is the cluster's: with its permissions mapped, one namespace would show, and take away, what another granted.
const PERMISSIONS: &str =
    "permissions are about the whole keyspace; use the client without a namespace";

pub(super) const REFUSED: &[(&str, &str)] = &[
    (AuthRoleGetRequest::PATH, PERMISSIONS),
    (AuthRoleGrantPermissionRequest::PATH, PERMISSIONS),
    (AuthRoleRevokePermissionRequest::PATH, PERMISSIONS),
    (
        SNAPSHOT_PATH,
        "a snapshot has every key; use the client without a namespace",
    ),
];

/// For an RPC that this crate has not heard of.
const UNKNOWN: &str = "it is not known which keys this RPC touches";

impl Namespace {
    /// From the caller's keys in a request to etcd's.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for an RPC that is refused, or when a key is empty.
    pub(crate) fn enter(&self, path: &str, request: &mut dyn Any) -> Result<()> {
        match scoped(path) {
            Scoped::KeyFree => Ok(()),
            Scoped::Refused(why) => Err(self.refuse(path, why)),
            Scoped::Mapped(mapped) => {
                (mapped.enter)(request, self).unwrap_or_else(|| Err(self.refuse(path, UNKNOWN)))
            }
        }
    }

    /// From etcd's keys in a reply to the caller's. The reply to a request that was not refused.
    pub(crate) fn leave(&self, path: &str, reply: &mut dyn Any) -> Result<(), Foreign> {
        match scoped(path) {
            Scoped::KeyFree => Ok(()),
            Scoped::Refused(_) => Err(Foreign),
            Scoped::Mapped(mapped) => (mapped.leave)(reply, self).unwrap_or(Err(Foreign)),
        }
    }
}

fn scoped(path: &str) -> Scoped {
    if let Some(mapped) = MAPPED.iter().find(|row| row.path == path) {
        return Scoped::Mapped(*mapped);
    }
    if KEY_FREE.contains(&path) {
        return Scoped::KeyFree;
    }
    let refused = REFUSED.iter().find(|row| row.0 == path);
    Scoped::Refused(refused.map_or(UNKNOWN, |(_, why)| why))
}

const fn unary<R: Unary + Enter>() -> Mapped
where
    R::Reply: Leave,
{
    mapped::<R, R::Reply>(R::PATH)
}

/// The functions give `None` for a message of another type.
const fn mapped<Request: Enter, Reply: Leave>(path: &'static str) -> Mapped {
    Mapped {
        path,
        enter: |request, namespace| {
            let request = request.downcast_mut::<Request>()?;
            Some(request.enter(namespace))
        },
        leave: |reply, namespace| {
            let reply = reply.downcast_mut::<Reply>()?;
            Some(reply.leave(namespace))
        },
    }
}
