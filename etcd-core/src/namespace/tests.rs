mod confined;
mod rpcs;
mod store;

use etcd_proto::etcdserverpb::response_op::Response;
use etcd_proto::etcdserverpb::{
    Compare, DeleteRangeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseOp, TxnRequest,
    TxnResponse,
};
use etcd_proto::mvccpb::{Event, KeyValue};
use etcd_proto::rpc::Unary;
use etcd_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderResponse, ProclaimRequest, ResignRequest,
};
use etcd_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};

use super::*;

fn namespace(prefix: impl AsRef<[u8]>) -> Namespace {
    Namespace::within(None, prefix.as_ref()).unwrap()
}

fn pair(key: &[u8]) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key),
        ..Default::default()
    }
}

#[test]
fn prefixes_follow_each_other_and_an_empty_one_changes_nothing() {
    assert_eq!(Namespace::within(None, b""), None);
    let outer = namespace("a/");
    assert_eq!(Namespace::within(Some(&outer), b""), Some(namespace("a/")));
    let inner = Namespace::within(Some(&outer), b"\xff\0").unwrap();
    assert_eq!(inner, namespace(b"a/\xff\0"));
    assert_eq!(format!("{inner:?}"), r#""a/\xff\x00""#);
}

#[test]
fn ranges_end_where_the_namespace_ends() {
    type Row<'a> = (&'a [u8], KeyRange, &'a [u8], &'a [u8]);
    let rows: &[Row<'_>] = &[
        (b"p/", KeyRange::key("k"), b"p/k", b""),
        (b"p/", KeyRange::prefix("k"), b"p/k", b"p/l"),
        (b"p/", KeyRange::prefix([0xff]), b"p/\xff", b"p0"),
        (b"p/", KeyRange::range("a", "c"), b"p/a", b"p/c"),
        (b"p/", KeyRange::range("a", "\0\0"), b"p/a", b"p/\0\0"),
        (b"p/", KeyRange::from_key("k"), b"p/k", b"p0"),
        (b"p/", KeyRange::all(), b"p/\0", b"p0"),
        (b"p\xff", KeyRange::all(), b"p\xff\0", b"q"),
        (b"\xff\xff", KeyRange::all(), b"\xff\xff\0", b"\0"),
        (b"\xff", KeyRange::range("a", "b"), b"\xffa", b"\xffb"),
        (b"\0", KeyRange::all(), b"\0\0", b"\x01"),
        (b"\0", KeyRange::key("\0"), b"\0\0", b""),
        (b"p/", KeyRange::key(""), b"", b""),
        (b"p/", KeyRange::range("a", ""), b"", b""),
    ];
    for (prefix, range, key, end) in rows {
        let inside = namespace(prefix).range(range);
        assert_eq!(
            (&inside.start()[..], &inside.end()[..]),
            (*key, *end),
            "{range:?} in {prefix:?}"
        );
    }
}

#[test]
fn an_empty_key_is_not_the_key_that_equals_the_prefix() {
    let p = namespace("p");
    let refused = |path: &str, request: &mut dyn std::any::Any| {
        let error = p.enter(path, request).unwrap_err();
        assert!(error.to_string().contains("empty"), "{path}: {error}");
    };
    refused(RangeRequest::PATH, &mut RangeRequest::default());
    refused(PutRequest::PATH, &mut PutRequest::default());
    refused(UnlockRequest::PATH, &mut UnlockRequest::default());
    let leader = Some(LeaderKey {
        name: "n".into(),
        ..Default::default()
    });
    let mut resign = ResignRequest {
        leader: leader.clone(),
    };
    refused(ResignRequest::PATH, &mut resign);
    let mut proclaim = ProclaimRequest {
        leader,
        ..Default::default()
    };
    refused(ProclaimRequest::PATH, &mut proclaim);
    let compare = vec![Compare::default()];
    let mut txn = TxnRequest {
        compare,
        ..Default::default()
    };
    refused(TxnRequest::PATH, &mut txn);
}

#[test]
fn locks_and_elections_have_their_names_and_keys_mapped() {
    let p = namespace("p/");
    let mut lock = LockRequest {
        name: "l".into(),
        lease: 7,
    };
    p.enter(LockRequest::PATH, &mut lock).unwrap();
    assert_eq!((&lock.name[..], lock.lease), (&b"p/l"[..], 7));
    let mut locked = LockResponse {
        key: "p/l/7".into(),
        ..Default::default()
    };
    p.leave(LockRequest::PATH, &mut locked).unwrap();
    assert_eq!(locked.key, "l/7");
    let mut unlock = UnlockRequest { key: locked.key };
    p.enter(UnlockRequest::PATH, &mut unlock).unwrap();
    assert_eq!(unlock.key, "p/l/7");

    let mut campaign = CampaignRequest {
        value: "v".into(),
        ..Default::default()
    };
    p.enter(CampaignRequest::PATH, &mut campaign).unwrap();
    assert_eq!(
        (&campaign.name[..], &campaign.value[..]),
        (&b"p/"[..], &b"v"[..])
    );
    let leader = LeaderKey {
        name: "p/".into(),
        key: "p//7".into(),
        rev: 3,
        lease: 7,
    };
    let mut elected = CampaignResponse {
        leader: Some(leader.clone()),
        ..Default::default()
    };
    p.leave(CampaignRequest::PATH, &mut elected).unwrap();
    let own = elected.leader.clone().unwrap();
    assert_eq!((&own.name[..], &own.key[..]), (&b""[..], &b"/7"[..]));
    let mut resign = ResignRequest {
        leader: elected.leader,
    };
    p.enter(ResignRequest::PATH, &mut resign).unwrap();
    assert_eq!(resign.leader, Some(leader));
}

#[test]
fn of_the_keys_of_a_lease_only_those_in_the_namespace_are_left() {
    let keys = ["p/a", "p/", "p", "q/a", "p/\0", "", "p0"];
    let mut reply = LeaseTimeToLiveResponse {
        keys: keys.map(Bytes::from).to_vec(),
        ttl: 5,
        ..Default::default()
    };
    let path = LeaseTimeToLiveRequest::PATH;
    namespace("p/").leave(path, &mut reply).unwrap();
    assert_eq!((reply.keys, reply.ttl), (vec!["a".into(), "\0".into()], 5));
}

fn txn(response: Response) -> TxnResponse {
    let op = |response| ResponseOp { response };
    TxnResponse {
        responses: vec![op(None), op(Some(response))],
        ..Default::default()
    }
}

fn elected(name: Bytes, key: Bytes) -> CampaignResponse {
    let leader = LeaderKey {
        name,
        key,
        ..Default::default()
    };
    CampaignResponse {
        leader: Some(leader),
        ..Default::default()
    }
}

/// Replies of every kind that have this key somewhere, beside keys of the namespace `p/`.
fn replies(key: &[u8]) -> Vec<Box<dyn Leave>> {
    let kv = || Some(pair(key));
    let good = || Some(pair(b"p/k"));
    let event = |kv, prev_kv| Event {
        kv,
        prev_kv,
        ..Default::default()
    };
    let range = || RangeResponse {
        kvs: vec![pair(b"p/k"), pair(key)],
        ..Default::default()
    };
    let put = || PutResponse {
        prev_kv: kv(),
        ..Default::default()
    };
    let delete = || DeleteRangeResponse {
        prev_kvs: vec![pair(key)],
        ..Default::default()
    };
    let key = Bytes::copy_from_slice(key);
    vec![
        Box::new(range()),
        Box::new(put()),
        Box::new(delete()),
        Box::new(txn(Response::ResponseRange(range()))),
        Box::new(txn(Response::ResponsePut(put()))),
        Box::new(txn(Response::ResponseDeleteRange(delete()))),
        Box::new(txn(Response::ResponseTxn(txn(
            Response::ResponsePut(put()),
        )))),
        Box::new(event(kv(), None)),
        Box::new(event(good(), kv())),
        Box::new(RangeStreamResponse {
            range_response: Some(range()),
        }),
        Box::new(LeaderResponse {
            kv: kv(),
            ..Default::default()
        }),
        Box::new(elected("p/n".into(), key.clone())),
        Box::new(elected("p".into(), "p/k".into())),
        Box::new(LockResponse {
            key,
            ..Default::default()
        }),
    ]
}

#[test]
fn a_key_outside_the_namespace_is_an_error_wherever_it_is_in_a_reply() {
    let p = namespace("p/");
    let foreign: [&[u8]; 6] = [b"", b"p", b"p/", b"p0", b"q/k", b"\xff\xff\xff"];
    for key in foreign {
        for (i, mut reply) in replies(key).into_iter().enumerate() {
            assert_eq!(reply.leave(&p), Err(Foreign), "reply {i} with {key:?}");
        }
    }
    for (i, mut reply) in replies(b"p/k").into_iter().enumerate() {
        // One has a name that is outside.
        assert_eq!(reply.leave(&p).is_ok(), i != 12, "reply {i}");
    }
}
