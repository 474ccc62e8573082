//! The committed schema is etcd's: compared, both ways, with the table of etcd 3.7's API in `tests/data/`.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use etcd_proto::etcdserverpb::{PutRequest, RangeRequest};
use etcd_proto::rpc::{Class, STREAMING, Streaming, UNARY, Unary};
use prost::Message;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};

const TABLE: &str = include_str!("../data/etcd-v3.7-api.tsv");

/// What our schema has beyond the table: names, with everything below them.
const EXTRAS: &[&str] = &["etcdserverpb.ResponseHeader.leader_id", "grpc.health.v1"];

/// What is said about each full name.
type Facts = BTreeMap<String, String>;

#[test]
fn the_table_is_the_whole_api_of_etcd_3_7() -> Result<()> {
    let table = table()?;
    let count = |kind: &str| table.values().filter(|fact| fact.starts_with(kind)).count();
    assert_eq!(count("message"), 117);
    assert_eq!(count("field "), 261);
    assert_eq!(count("enum"), 10);
    assert_eq!(count("value "), 33);
    assert_eq!(count("rpc "), 49);
    Ok(())
}

#[test]
fn the_schema_has_everything_in_the_table_and_nothing_but_the_listed_extras() -> Result<()> {
    let (table, schema) = (table()?, schema()?);
    let names: BTreeSet<&String> = table.keys().chain(schema.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        match (table.get(name), schema.get(name)) {
            (Some(theirs), Some(ours)) if theirs == ours => {}
            (None, Some(_)) if EXTRAS.iter().any(|extra| is_below(extra, name)) => {}
            (theirs, ours) => {
                differences.push(format!("{name}: table {theirs:?}, schema {ours:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[test]
fn every_listed_extra_is_in_the_schema() -> Result<()> {
    let schema = schema()?;
    for extra in EXTRAS {
        let found = schema.keys().any(|name| is_below(extra, name));
        assert!(found, "{extra}");
    }
    let leader = &schema["etcdserverpb.ResponseHeader.leader_id"];
    assert_eq!(leader, "field 5 uint64 singular");
    Ok(())
}

#[test]
fn every_unary_rpc_of_the_schema_has_its_row_and_no_other_has() -> Result<()> {
    let rows = UNARY.iter().map(|row| {
        let name = row.path.trim_start_matches('/').replace('/', ".");
        assert_eq!(name, format!("{}.{}", row.service, row.method));
        (name, format!("rpc {} -> {}", row.request, row.reply))
    });
    let rpcs = schema()?.into_iter();
    let unary = rpcs.filter(|(_, fact)| fact.starts_with("rpc ") && !fact.contains("stream "));
    assert_eq!(rows.collect::<Facts>(), unary.collect::<Facts>());
    Ok(())
}

#[test]
fn every_streaming_rpc_of_the_schema_has_its_row_and_no_other_has() -> Result<()> {
    let side = |streaming, name: &str| format!("{}{name}", if streaming { "stream " } else { "" });
    let fact = |row: &Streaming| {
        let request = side(row.client_streaming, row.request);
        let reply = side(row.server_streaming, row.reply);
        format!("rpc {request} -> {reply}")
    };
    let rows = STREAMING.iter().map(|row| {
        let name = row.path.trim_start_matches('/').replace('/', ".");
        assert_eq!(name, format!("{}.{}", row.service, row.method));
        (name, fact(row))
    });
    let rpcs = schema()?.into_iter();
    let streaming = rpcs.filter(|(_, fact)| fact.starts_with("rpc ") && fact.contains("stream "));
    assert_eq!(rows.collect::<Facts>(), streaming.collect::<Facts>());
    Ok(())
}

#[test]
fn a_request_names_the_same_rpc_and_class_as_its_row() {
    fn row<R: Unary>() -> (&'static str, Class) {
        let row = UNARY.iter().find(|row| row.path == R::PATH).unwrap();
        (row.request, row.class)
    }
    assert_eq!(
        row::<RangeRequest>(),
        ("etcdserverpb.RangeRequest", RangeRequest::CLASS)
    );
    assert_eq!(
        row::<PutRequest>(),
        ("etcdserverpb.PutRequest", Class::Write)
    );
}

fn is_below(extra: &str, name: &str) -> bool {
    let rest = name.strip_prefix(extra);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The table's rows: kind, parent, name, number, type, label, client streaming, server streaming, and since when.
fn table() -> Result<Facts> {
    let mut facts = Facts::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let (name, fact) = row(line).with_context(|| line.to_string())?;
        ensure!(facts.insert(name, fact).is_none(), "twice: {line}");
    }
    Ok(facts)
}

fn row(line: &str) -> Result<(String, String)> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [
        kind,
        parent,
        name,
        number,
        of,
        label,
        from_client,
        from_server,
        ..,
    ] = columns[..]
    else {
        bail!("too few columns");
    };
    let stream = |flag| if flag == "1" { "stream " } else { "" };
    let fact = match kind {
        "message" | "enum" => kind.to_string(),
        "message-field" => format!("field {number} {of} {label}"),
        "enum-value" => format!("value {number}"),
        "rpc" => {
            let (request, reply) = of.split_once(" -> ").context("no arrow")?;
            let (client, server) = (stream(from_client), stream(from_server));
            format!("rpc {client}{request} -> {server}{reply}")
        }
        _ => bail!("unknown kind"),
    };
    Ok((format!("{parent}.{name}"), fact))
}

/// The same facts from the committed descriptor set.
fn schema() -> Result<Facts> {
    let set = FileDescriptorSet::decode(etcd_proto::FILE_DESCRIPTOR_SET)?;
    let mut facts = Facts::new();
    for file in &set.file {
        let package = file.package();
        assert_eq!(file.syntax(), "proto3", "{}", file.name());
        file.message_type
            .iter()
            .for_each(|m| message(package, m, &mut facts));
        file.enum_type
            .iter()
            .for_each(|e| enumeration(package, e, &mut facts));
        for service in &file.service {
            for method in &service.method {
                let name = format!("{package}.{}.{}", service.name(), method.name());
                facts.insert(name, rpc(method));
            }
        }
    }
    Ok(facts)
}

fn message(scope: &str, message: &DescriptorProto, facts: &mut Facts) {
    let name = format!("{scope}.{}", message.name());
    assert!(message.nested_type.is_empty(), "{name}");
    for field in &message.field {
        facts.insert(
            format!("{name}.{}", field.name()),
            self::field(message, field),
        );
    }
    message
        .enum_type
        .iter()
        .for_each(|e| enumeration(&name, e, facts));
    facts.insert(name, "message".into());
}

fn field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    assert!(!field.proto3_optional(), "{}", field.name());
    let of = match field.type_name() {
        "" => field
            .r#type()
            .as_str_name()
            .to_lowercase()
            .replace("type_", ""),
        name => name.trim_start_matches('.').into(),
    };
    let label = match field.oneof_index {
        Some(index) => format!("oneof:{}", message.oneof_decl[index as usize].name()),
        None if field.label() == Label::Repeated => "repeated".into(),
        None => "singular".into(),
    };
    format!("field {} {of} {label}", field.number())
}

fn enumeration(scope: &str, enumeration: &EnumDescriptorProto, facts: &mut Facts) {
    let name = format!("{scope}.{}", enumeration.name());
    for value in &enumeration.value {
        facts.insert(
            format!("{name}.{}", value.name()),
            format!("value {}", value.number()),
        );
    }
    facts.insert(name, "enum".into());
}

fn rpc(method: &MethodDescriptorProto) -> String {
    let side = |streaming, name: &str| {
        format!(
            "{}{}",
            if streaming { "stream " } else { "" },
            name.trim_start_matches('.')
        )
    };
    let request = side(method.client_streaming(), method.input_type());
    let reply = side(method.server_streaming(), method.output_type());
    format!("rpc {request} -> {reply}")
}
