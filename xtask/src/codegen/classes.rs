//! The class of each unary RPC: what `etcd_proto::rpc::Class` says about it.
use anyhow::{Context, Result};

/// Variant of `Class` and the RPCs in it.
const CLASSES: &[(&str, &[&str])] = &[
    (
        "PointRead",
        &[
            "/etcdserverpb.Lease/LeaseTimeToLive",
            "/etcdserverpb.Lease/LeaseLeases",
            "/etcdserverpb.Cluster/MemberList",
            "/etcdserverpb.Maintenance/Status",
            "/etcdserverpb.Auth/AuthStatus",
            "/etcdserverpb.Auth/UserGet",
            "/etcdserverpb.Auth/UserList",
            "/etcdserverpb.Auth/RoleGet",
            "/etcdserverpb.Auth/RoleList",
            "/v3electionpb.Election/Leader",
            "/grpc.health.v1.Health/Check",
        ],
    ),
    ("Range", &["/etcdserverpb.KV/Range"]),
    (
        "Write",
        &[
            "/etcdserverpb.KV/Put",
            "/etcdserverpb.KV/DeleteRange",
            "/etcdserverpb.KV/Txn",
            "/etcdserverpb.KV/Compact",
            "/etcdserverpb.Lease/LeaseGrant",
            "/etcdserverpb.Lease/LeaseRevoke",
            "/etcdserverpb.Cluster/MemberAdd",
            "/etcdserverpb.Cluster/MemberRemove",
            "/etcdserverpb.Cluster/MemberUpdate",
            "/etcdserverpb.Cluster/MemberPromote",
            "/etcdserverpb.Maintenance/Alarm",
            "/etcdserverpb.Maintenance/MoveLeader",
            "/etcdserverpb.Maintenance/Downgrade",
            "/etcdserverpb.Auth/AuthEnable",
            "/etcdserverpb.Auth/AuthDisable",
            "/etcdserverpb.Auth/Authenticate",
            "/etcdserverpb.Auth/UserAdd",
            "/etcdserverpb.Auth/UserDelete",
            "/etcdserverpb.Auth/UserChangePassword",
            "/etcdserverpb.Auth/UserGrantRole",
            "/etcdserverpb.Auth/UserRevokeRole",
            "/etcdserverpb.Auth/RoleAdd",
            "/etcdserverpb.Auth/RoleDelete",
            "/etcdserverpb.Auth/RoleGrantPermission",
            "/etcdserverpb.Auth/RoleRevokePermission",
            "/v3lockpb.Lock/Unlock",
            "/v3electionpb.Election/Proclaim",
            "/v3electionpb.Election/Resign",
        ],
    ),
    (
        "Long",
        &[
            "/etcdserverpb.Maintenance/Defragment",
            "/etcdserverpb.Maintenance/Hash",
            "/etcdserverpb.Maintenance/HashKV",
        ],
    ),
    (
        "Blocking",
        &["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"],
    ),
];

/// The class of the RPC with this path.
pub(super) fn class_of(path: &str) -> Result<&'static str> {
    let row = CLASSES.iter().find(|(_, paths)| paths.contains(&path));
    let (class, _) = row.with_context(|| {
        format!("unary RPC {path} has no class: add it to xtask/src/codegen/classes.rs")
    })?;
    Ok(class)
}
