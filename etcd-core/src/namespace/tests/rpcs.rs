//! Every RPC of the schema is mapped, key-free or refused.

use std::collections::{BTreeMap, BTreeSet};

use etcd_proto::etcdserverpb::{AuthRoleGetRequest, CompactionRequest, CompactionResponse};
use etcd_proto::rpc::{Class, STREAMING, UNARY, WATCH_PATH};
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::super::scope::{KEY_FREE, MAPPED, REFUSED};
use super::*;

#[test]
fn every_rpc_has_exactly_one_scope() {
    let mapped = MAPPED.iter().map(|row| row.path);
    let refused = REFUSED.iter().map(|(path, _)| *path);
    let scoped: Vec<&str> = mapped
        .chain(KEY_FREE.iter().copied())
        .chain(refused)
        // Mapped by the watch itself.
        .chain([WATCH_PATH])
        .collect();
    let rpcs = UNARY.iter().map(|rpc| rpc.path);
    let rpcs: BTreeSet<&str> = rpcs.chain(STREAMING.iter().map(|rpc| rpc.path)).collect();
    let known: BTreeSet<&str> = scoped.iter().copied().collect();
    assert_eq!(
        known, rpcs,
        "an RPC without a scope, or a scope without its RPC"
    );
    assert_eq!(scoped.len(), rpcs.len(), "an RPC with two scopes");
}

/// Keys are bytes, and so is all else that may hold a key: a name that becomes one, a value, a snapshot.
#[test]
fn no_message_of_a_key_free_rpc_has_bytes_in_it() {
    let set = FileDescriptorSet::decode(etcd_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = BTreeMap::new();
    for file in set.file {
        for message in file.message_type {
            collect(
                &format!(".{}", file.package.as_deref().unwrap_or("")),
                message,
                &mut messages,
            );
        }
    }
    let unary = UNARY.iter().map(|rpc| (rpc.path, rpc.request, rpc.reply));
    let streaming = STREAMING
        .iter()
        .map(|rpc| (rpc.path, rpc.request, rpc.reply));
    let mut with_bytes = Vec::new();
    for (path, request, reply) in unary.chain(streaming) {
        let holds =
            |message: &str| has_bytes(&messages, &format!(".{message}"), &mut BTreeSet::new());
        if holds(request) || holds(reply) {
            with_bytes.push(path);
        }
    }
    assert!(
        with_bytes.contains(&RangeRequest::PATH) && with_bytes.contains(&AuthRoleGetRequest::PATH)
    );
    with_bytes.retain(|path| KEY_FREE.contains(path));
    assert!(with_bytes.is_empty(), "key-free? {with_bytes:?}");
}

fn collect(scope: &str, message: DescriptorProto, into: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    for nested in message.nested_type.clone() {
        collect(&name, nested, into);
    }
    into.insert(name, message);
}

fn has_bytes(
    messages: &BTreeMap<String, DescriptorProto>,
    name: &str,
    seen: &mut BTreeSet<String>,
) -> bool {
    seen.insert(name.to_owned())
        && messages[name]
            .field
            .iter()
            .any(|field| match field.r#type() {
                Type::Bytes => true,
                Type::Message => has_bytes(messages, field.type_name(), seen),
                _ => false,
            })
}

#[test]
fn a_refusal_names_the_rpc_the_namespace_and_the_way_out() {
    let error =
        namespace("a\"b/").enter(AuthRoleGetRequest::PATH, &mut AuthRoleGetRequest::default());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)));
    let text = error.to_string();
    for part in [
        "/etcdserverpb.Auth/RoleGet",
        r#""a\"b/""#,
        "without a namespace",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_names_no_key_goes_as_it_is() {
    let p = namespace("p/");
    let mut compact = CompactionRequest {
        revision: 7,
        physical: true,
    };
    p.enter(CompactionRequest::PATH, &mut compact).unwrap();
    assert_eq!((compact.revision, compact.physical), (7, true));
    let mut reply = CompactionResponse::default();
    p.leave(CompactionRequest::PATH, &mut reply).unwrap();
}

/// A message of somebody's own, for an RPC of somebody's own or for one of etcd's.
#[test]
fn an_rpc_or_a_message_that_is_not_known_is_refused() {
    #[derive(Clone, PartialEq, Message)]
    struct Own {
        #[prost(bytes = "bytes", tag = "1")]
        key: Bytes,
    }
    impl Unary for Own {
        type Reply = RangeResponse;
        const PATH: &'static str = "/own.KV/Range";
        const CLASS: Class = Class::Range;
    }
    let p = namespace("p/");
    let mut own = Own { key: "k".into() };
    for path in [Own::PATH, RangeRequest::PATH] {
        let error = p.enter(path, &mut own).unwrap_err();
        assert!(error.to_string().contains("not known"), "{error}");
        assert_eq!(p.leave(path, &mut own), Err(Foreign));
    }
}
