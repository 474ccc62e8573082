//! `--against`: how our schema differs from upstream's own .proto files.
//!
//! Upstream's files are only parsed, and their imports and options left alone. So the directory can be a whole checkout
//! or a handful of files, and what they import for annotations need not be there.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use protox::file::File;

use super::facts::{Facts, facts, join, resolve, types};

/// What we have on purpose and a given upstream may lack: names, with everything below them.
const EXTRAS: &[&str] = &["etcdserverpb.ResponseHeader.leader_id", "grpc.health.v1"];

/// Prints every difference.
///
/// # Errors
///
/// If there is one.
pub(super) fn run(ours: &FileDescriptorSet, dir: &Path) -> Result<()> {
    let differences = differences(ours, dir)?;
    for difference in &differences {
        println!("{difference}");
    }
    match differences.len() {
        0 => Ok(()),
        count => bail!("{count} differences between ours and {}", dir.display()),
    }
}

fn differences(ours: &FileDescriptorSet, dir: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    parse(dir, &mut files)?;
    let theirs = api(&files)?;
    if theirs.is_empty() {
        bail!("no .proto file with a service below {}", dir.display());
    }
    Ok(compare(&facts(&ours.file)?, &facts(&theirs)?))
}

/// One line for each name that differs: `-` theirs, `+` ours.
fn compare(ours: &Facts, theirs: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let lines = names
        .into_iter()
        .filter_map(|name| match (ours.get(name), theirs.get(name)) {
            (Some(our), Some(their)) if our == their => None,
            (Some(our), Some(their)) => Some(format!("! {name}: ours is {our}, theirs {their}")),
            (Some(_), None) if is_extra(name) => None,
            (Some(our), None) => Some(format!("+ {name}: only ours, {our}")),
            (None, their) => Some(format!(
                "- {name}: only theirs, {}",
                their.map_or("", |t| t)
            )),
        });
    lines.collect()
}

fn is_extra(name: &str) -> bool {
    EXTRAS.iter().any(|extra| {
        let rest = name.strip_prefix(extra);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Every .proto file below a directory.
fn parse(dir: &Path, files: &mut Vec<FileDescriptorProto>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            parse(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            let name = path.to_string_lossy();
            let source = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
            let file =
                File::from_source(&name, &source).with_context(|| format!("parsing {name}"))?;
            files.push(file.file_descriptor_proto().clone());
        }
    }
    Ok(())
}

/// The files that make up the API: those with services, and those that define the types they use. What members keep on
/// disk and tell each other is defined beside it and is not part of it.
fn api(files: &[FileDescriptorProto]) -> Result<Vec<FileDescriptorProto>> {
    let all: BTreeSet<String> = files.iter().flat_map(types).collect();
    let mut chosen = vec![false; files.len()];
    let mut found: Vec<usize> = (0..files.len())
        .filter(|&i| !files[i].service.is_empty())
        .collect();
    while let Some(index) = found.pop() {
        if std::mem::replace(&mut chosen[index], true) {
            continue;
        }
        let file = &files[index];
        let used = uses(file, &all).with_context(|| format!("in {}", file.name()))?;
        found.extend((0..files.len()).filter(|&i| !types(&files[i]).is_disjoint(&used)));
    }
    Ok(files
        .iter()
        .zip(chosen)
        .filter(|(_, chosen)| *chosen)
        .map(|(file, _)| file.clone())
        .collect())
}

/// The types that a file's fields and RPCs name.
fn uses(file: &FileDescriptorProto, all: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    for message in &file.message_type {
        uses_of_fields(file.package(), message, all, &mut used)?;
    }
    for method in file.service.iter().flat_map(|service| &service.method) {
        used.insert(resolve(all, file.package(), method.input_type())?);
        used.insert(resolve(all, file.package(), method.output_type())?);
    }
    Ok(used)
}

fn uses_of_fields(
    scope: &str,
    message: &DescriptorProto,
    all: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> Result<()> {
    let name = join(scope, message.name());
    let typed = message
        .field
        .iter()
        .filter(|field| !field.type_name().is_empty());
    for field in typed {
        used.insert(resolve(all, &name, field.type_name())?);
    }
    let mut nested = message.nested_type.iter();
    nested.try_for_each(|nested| uses_of_fields(&name, nested, all, used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::{root, schema};

    const ANNOTATIONS: &str = r#"
import "gogoproto/gogo.proto";
import "etcd/api/mvccpb/kv.proto";
import "etcd/api/versionpb/version.proto";
import "google/api/annotations.proto";
import "protoc-gen-openapiv2/options/annotations.proto";
option go_package = "example/etcdserverpb";
option (gogoproto.marshaler_all) = true;
option (grpc.gateway.protoc_gen_openapiv2.options.openapiv2_swagger) = {
  security_definitions: {
    security: { key: "Key"; value: { type: TYPE_API_KEY; in: IN_HEADER; }; }
  }
  security: { security_requirement: { key: "Key"; value: {}; } }
};
"#;
    const HTTP: &str = r#" {
    option (google.api.http) = {
      post: "/v3/path"
      body: "*"
      additional_bindings { post: "/v3/other" body: "*" }
    };
  }"#;

    /// What is edited in upstream's text, and the differences that this makes.
    const EDITS: &[(&str, &str, &str)] = &[
        (
            "bool count_only",
            "int32 count_only",
            "! etcdserverpb.RangeRequest.count_only",
        ),
        (
            "repeated RequestOp failure",
            "RequestOp failure",
            "! etcdserverpb.TxnRequest.failure",
        ),
        (
            " create_request = 1;",
            " create_request = 1; } oneof next {",
            "! etcdserverpb.WatchRequest.cancel_request ! etcdserverpb.WatchRequest.progress_request",
        ),
        (
            "bytes blob",
            "bytes piece",
            "+ etcdserverpb.SnapshotResponse.blob - etcdserverpb.SnapshotResponse.piece",
        ),
        (
            "NOSPACE = 1;",
            "NOSPACE = 1; LATE = 3;",
            "- etcdserverpb.AlarmType.LATE",
        ),
        (
            "NODELETE = 1;",
            "NODELETE = 7;",
            "! etcdserverpb.WatchCreateRequest.FilterType.NODELETE",
        ),
        (
            "message HashRequest {}",
            "message HashRequest {} message New { Member a = 1; }",
            "- etcdserverpb.New - etcdserverpb.New.a",
        ),
        (
            "rpc Hash(HashRequest)",
            "rpc Hash(stream HashRequest)",
            "! etcdserverpb.Maintenance.Hash",
        ),
        (
            "(stream WatchResponse)",
            "(WatchResponse)",
            "! etcdserverpb.Watch.Watch",
        ),
        (
            "rpc Resign(",
            "rpc Leave(",
            "- v3electionpb.Election.Leave + v3electionpb.Election.Resign",
        ),
        (
            "enum AlarmType {",
            "enum Other { A = 0; } enum AlarmType {",
            "- etcdserverpb.Other - etcdserverpb.Other.A",
        ),
        (
            "service Lock {",
            "service Empty {} service Lock {",
            "- v3lockpb.Empty",
        ),
    ];

    /// Our own schema as upstream would write it, in the folders of a checkout, with `edits` made to it.
    fn upstream(edits: &[(&str, &str)]) -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for entry in fs::read_dir(root()?.join("proto"))? {
            let path = entry?.path();
            let package = path.file_stem().context("no name")?.to_string_lossy();
            if package == "health" {
                continue;
            }
            let mut text = String::new();
            for line in fs::read_to_string(&path)?.lines() {
                let annotated = match line {
                    _ if line.starts_with("import ") => continue,
                    _ if line.contains("leader_id") => continue,
                    _ if line.starts_with("package ") => format!("{line}{ANNOTATIONS}"),
                    _ if line.starts_with("message ") && line.ends_with('{') => {
                        format!("{line}\n  option (versionpb.etcd_version_msg) = \"3.0\";")
                    }
                    _ if line.starts_with("  rpc ") => line.replace(';', HTTP),
                    _ if line.ends_with("= 2;") => {
                        line.replace(';', " [(versionpb.etcd_version_field) = \"3.1\"];")
                    }
                    _ => line.into(),
                };
                text += &format!("{annotated}\n");
            }
            for (from, to) in edits {
                text = text.replace(from, to);
            }
            let folder = dir.path().join("api").join(&*package);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("rpc.proto"), text)?;
        }
        let internal =
            "syntax = \"proto3\"; package etcdserverpb; message Internal { PutRequest put = 1; }";
        fs::write(dir.path().join("api/raft_internal.proto"), internal)?;
        Ok(dir)
    }

    fn differences_after(edits: &[(&str, &str)]) -> Result<Vec<String>> {
        let ours = schema::compile(&root()?.join("proto"))?;
        differences(&ours, upstream(edits)?.path())
    }

    #[test]
    fn upstream_with_its_annotations_and_internals_does_not_differ() -> Result<()> {
        assert_eq!(differences_after(&[])?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn a_difference_says_what_both_sides_have() -> Result<()> {
        let expected = "! etcdserverpb.RangeRequest.limit: \
            ours is field 3 int64 singular, theirs field 33 int64 singular";
        let lines = differences_after(&[("int64 limit = 3", "int64 limit = 33")])?;
        assert_eq!(lines, [expected]);
        Ok(())
    }

    #[test]
    fn every_kind_of_difference_is_found_and_nothing_else() -> Result<()> {
        for (from, to, expected) in EDITS {
            let lines = differences_after(&[(*from, *to)])?;
            let names = lines.iter().filter_map(|line| line.split_once(':'));
            let names: Vec<&str> = names.map(|(name, _)| name).collect();
            assert_eq!(&names.join(" "), expected, "{from} -> {to}");
        }
        Ok(())
    }

    #[test]
    fn a_directory_without_services_is_an_error_and_not_a_match() -> Result<()> {
        let ours = schema::compile(&root()?.join("proto"))?;
        assert!(differences(&ours, tempfile::tempdir()?.path()).is_err());
        Ok(())
    }
}
