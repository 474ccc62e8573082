//! How a request behaves, which decides its time limit, whether it may be sent again, and who can answer it.

use std::any::Any;

use etcd_proto::etcdserverpb::alarm_request::AlarmAction;
use etcd_proto::etcdserverpb::downgrade_request::DowngradeAction;
use etcd_proto::etcdserverpb::request_op::Request as Op;
use etcd_proto::etcdserverpb::{
    AlarmRequest, AuthStatusRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthenticateRequest, CompactionRequest, DowngradeRequest, MemberListRequest, RangeRequest,
    RequestOp, StatusRequest, TxnRequest,
};
use etcd_proto::rpc::{Class, Unary};

use crate::call::Needs;
use crate::pool::Version;

/// How this request behaves, which may be better than the most that its RPC may do.
pub(crate) fn class(wire: &dyn Any, of_rpc: Class) -> Class {
    if let Some(range) = wire.downcast_ref::<RangeRequest>() {
        class_of_range(range)
    } else if let Some(txn) = wire.downcast_ref::<TxnRequest>() {
        class_of_txn(txn)
    } else if wire
        .downcast_ref::<CompactionRequest>()
        .is_some_and(|compact| compact.physical)
    {
        Class::Long
    } else if only_asks(wire) {
        Class::PointRead
    } else {
        of_rpc
    }
}

/// The one action of a writing RPC that changes nothing.
fn only_asks(wire: &dyn Any) -> bool {
    let alarm = wire.downcast_ref::<AlarmRequest>();
    let downgrade = wire.downcast_ref::<DowngradeRequest>();
    alarm.is_some_and(|alarm| alarm.action() == AlarmAction::Get)
        || downgrade.is_some_and(|downgrade| downgrade.action() == DowngradeAction::Validate)
}

/// A read that any member, also a learner, may answer from what it has.
pub(crate) fn serializable(wire: &dyn Any) -> bool {
    let range = wire.downcast_ref::<RangeRequest>();
    range.is_some_and(|range| range.serializable) || wire.is::<StatusRequest>()
}

/// May it be answered by a member that is behind? Beside serializable reads, transactions of nothing else.
pub(crate) fn may_be_stale(wire: &dyn Any) -> bool {
    let stale = |op: &RequestOp| match &op.request {
        Some(Op::RequestRange(range)) => range.serializable,
        _ => false,
    };
    let txn = wire.downcast_ref::<TxnRequest>();
    wire.downcast_ref::<RangeRequest>()
        .is_some_and(|range| range.serializable)
        || txn.is_some_and(|txn| txn.success.iter().chain(&txn.failure).all(stale))
}

/// An RPC that etcd answers to those who show no token: to say who they are, and (since 3.7) to learn whether they must.
pub(crate) fn anonymous(path: &str) -> bool {
    [AuthenticateRequest::PATH, AuthStatusRequest::PATH].contains(&path)
}

/// What is in the request that not every release since 3.4 knows. RPCs are not meant: a server answers that it has none of a name.
pub(crate) fn needs(wire: &dyn Any) -> Option<Needs> {
    let members = wire.downcast_ref::<MemberListRequest>();
    let user = wire.downcast_ref::<AuthUserAddRequest>();
    let password = wire.downcast_ref::<AuthUserChangePasswordRequest>();
    let downgrade = wire.downcast_ref::<DowngradeRequest>();
    let hashed = user.is_some_and(|request| !request.hashed_password.is_empty())
        || password.is_some_and(|request| !request.hashed_password.is_empty());
    let (what, since) = if members.is_some_and(|request| request.linearizable) {
        ("linearizable", Version::new(3, 5, 0))
    } else if hashed {
        // The user would have the empty password.
        ("hashedPassword", Version::new(3, 5, 0))
    } else if downgrade.is_some_and(|request| request.action() == DowngradeAction::Enable) {
        // 3.5 begins what it can neither complete nor cancel, and answers that it took too long.
        ("ENABLE", Version::new(3, 6, 0))
    } else {
        return None;
    };
    Some(Needs { what, since })
}

/// A transaction that only reads is a read, and as light as the heaviest of its parts.
fn class_of_txn(txn: &TxnRequest) -> Class {
    let ranged = txn
        .compare
        .iter()
        .any(|compare| !compare.range_end.is_empty());
    let mut class = if ranged {
        Class::Range
    } else {
        Class::PointRead
    };
    for op in txn.success.iter().chain(&txn.failure) {
        let of_op = match &op.request {
            Some(Op::RequestRange(range)) => class_of_range(range),
            Some(Op::RequestTxn(txn)) => class_of_txn(txn),
            Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) | None => return Class::Write,
        };
        match of_op {
            Class::PointRead => {}
            Class::Range => class = Class::Range,
            Class::Write | Class::Long | Class::Blocking => return Class::Write,
        }
    }
    class
}

fn class_of_range(range: &RangeRequest) -> Class {
    if range.range_end.is_empty() {
        Class::PointRead
    } else {
        Class::Range
    }
}

#[cfg(test)]
mod tests {
    use etcd_proto::rpc::Unary;

    use super::*;
    use crate::compare::Compare;
    use crate::kv::{Compact, Delete, Get, Put};
    use crate::range::KeyRange;
    use crate::request::Request;
    use crate::txn::Txn;

    fn class_of<R: Request>(request: R) -> Class {
        class(&request.into_wire().unwrap(), R::Wire::CLASS)
    }

    #[test]
    fn a_request_needs_the_version_that_knows_what_it_asks_for() {
        let of = |wire: &dyn Any| needs(wire).map(|needs| (needs.what, needs.since.to_string()));
        let since = |what, version: &str| Some((what, version.to_owned()));
        assert_eq!(of(&MemberListRequest::default()), None);
        let linearizable = MemberListRequest { linearizable: true };
        assert_eq!(of(&linearizable), since("linearizable", "3.5.0"));
        let user = |hashed: &str| AuthUserAddRequest {
            password: "p".to_owned(),
            hashed_password: hashed.to_owned(),
            ..Default::default()
        };
        assert_eq!(of(&user("")), None);
        assert_eq!(of(&user("$2a$")), since("hashedPassword", "3.5.0"));
        let password = |hashed: &str| AuthUserChangePasswordRequest {
            hashed_password: hashed.to_owned(),
            ..Default::default()
        };
        assert_eq!(of(&password("")), None);
        assert_eq!(of(&password("$2a$")), since("hashedPassword", "3.5.0"));
        let downgrade = |action: DowngradeAction| DowngradeRequest {
            action: action.into(),
            ..Default::default()
        };
        assert_eq!(of(&downgrade(DowngradeAction::Validate)), None);
        assert_eq!(of(&downgrade(DowngradeAction::Cancel)), None);
        let enable = downgrade(DowngradeAction::Enable);
        assert_eq!(of(&enable), since("ENABLE", "3.6.0"));
    }

    #[test]
    fn the_class_of_a_request_is_what_it_does() {
        assert_eq!(class_of(Get::key("k")), Class::PointRead);
        assert_eq!(class_of(Get::prefix("k").limit(1)), Class::Range);
        assert_eq!(class_of(Put::new("k", "v")), Class::Write);
        assert_eq!(class_of(Delete::key("k")), Class::Write);
        assert_eq!(class_of(Compact::new(1)), Class::Write);
        assert_eq!(class_of(Compact::new(1).physical()), Class::Long);
        assert_eq!(class_of(MemberListRequest::default()), Class::PointRead);
        let alarm = |action: AlarmAction| AlarmRequest {
            action: action.into(),
            ..Default::default()
        };
        assert_eq!(class_of(alarm(AlarmAction::Get)), Class::PointRead);
        assert_eq!(class_of(alarm(AlarmAction::Deactivate)), Class::Write);
        let downgrade = |action: DowngradeAction| DowngradeRequest {
            action: action.into(),
            ..Default::default()
        };
        let validate = downgrade(DowngradeAction::Validate);
        assert_eq!(class_of(validate), Class::PointRead);
        assert_eq!(class_of(downgrade(DowngradeAction::Enable)), Class::Write);

        let points = Txn::new()
            .when(Compare::version("k").equals(0))
            .then([Get::key("k"), Get::key("l")])
            .or_else(Txn::new().then(Get::key("k")));
        assert_eq!(class_of(points.clone()), Class::PointRead);
        assert_eq!(class_of(points.clone().or_else(Get::all())), Class::Range);
        assert_eq!(
            class_of(
                points
                    .clone()
                    .when(Compare::version(KeyRange::prefix("k")).equals(0))
            ),
            Class::Range
        );
        assert_eq!(
            class_of(points.clone().then(Txn::new().then(Get::all()))),
            Class::Range
        );
        assert_eq!(
            class_of(points.clone().then(Get::all()).then(Put::new("k", "v"))),
            Class::Write
        );
        assert_eq!(
            class_of(points.then(Txn::new().or_else(Delete::key("k")))),
            Class::Write
        );
    }

    #[test]
    fn only_status_and_a_serializable_range_can_be_answered_by_any_member() {
        let of = |get: Get| serializable(&get.into_wire().unwrap());
        assert!(of(Get::all().serializable()) && !of(Get::all()));
        assert!(!serializable(
            &Txn::new()
                .then(Get::all().serializable())
                .into_wire()
                .unwrap()
        ));
        assert!(serializable(&StatusRequest {}));
        assert!(!serializable(&MemberListRequest::default()));
    }
}
