//! How a request behaves, which decides its time limit, whether it may be sent again, and who can answer it.

use std::any::Any;

use etcd_proto::etcdserverpb::alarm_request::AlarmAction;
use etcd_proto::etcdserverpb::downgrade_request::DowngradeAction;
use etcd_proto::etcdserverpb::request_op::Request as Op;
use etcd_proto::etcdserverpb::{
    AlarmRequest, AuthStatusRequest, AuthenticateRequest, CompactionRequest, DowngradeRequest,
    RangeRequest, StatusRequest, TxnRequest,
};
use etcd_proto::rpc::{Class, Unary};

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

/// An RPC that etcd answers to those who show no token: to say who they are, and (since 3.7) to learn whether they must.
pub(crate) fn anonymous(path: &str) -> bool {
    [AuthenticateRequest::PATH, AuthStatusRequest::PATH].contains(&path)
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
    use etcd_proto::etcdserverpb::MemberListRequest;
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
