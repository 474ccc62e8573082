//! A schema as a flat list of facts, so that two can be compared name by name.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto,
};

/// What is said about each full name: `("etcdserverpb.PutRequest.lease", "field 3 int64 singular")`.
pub(super) type Facts = BTreeMap<String, String>;

/// All facts about some files, which may be compiled or merely parsed: names of types are resolved here.
pub(super) fn facts(files: &[FileDescriptorProto]) -> Result<Facts> {
    let mut collector = Collector {
        types: files.iter().flat_map(types).collect(),
        facts: Facts::new(),
    };
    files.iter().try_for_each(|file| collector.file(file))?;
    Ok(collector.facts)
}

/// The full names of the messages and enums in a file.
pub(super) fn types(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let scope = file.package();
    names.extend(file.enum_type.iter().map(|e| join(scope, e.name())));
    for message in &file.message_type {
        nested_types(scope, message, &mut names);
    }
    names
}

fn nested_types(scope: &str, message: &DescriptorProto, names: &mut BTreeSet<String>) {
    let name = join(scope, message.name());
    names.extend(message.enum_type.iter().map(|e| join(&name, e.name())));
    for nested in &message.nested_type {
        nested_types(&name, nested, names);
    }
    names.insert(name);
}

/// The full name of the type that `name` means inside `scope`: the innermost that exists, as protobuf looks it up.
pub(super) fn resolve(types: &BTreeSet<String>, scope: &str, name: &str) -> Result<String> {
    if let Some(full) = name.strip_prefix('.') {
        return Ok(full.into());
    }
    let mut scope = Some(scope);
    while let Some(inner) = scope {
        let candidate = join(inner, name);
        if types.contains(&candidate) {
            return Ok(candidate);
        }
        scope = match inner.rsplit_once('.') {
            Some((outer, _)) => Some(outer),
            None if inner.is_empty() => None,
            None => Some(""),
        };
    }
    bail!("no type {name} found")
}

struct Collector {
    types: BTreeSet<String>,
    facts: Facts,
}

impl Collector {
    fn file(&mut self, file: &FileDescriptorProto) -> Result<()> {
        let scope = file.package();
        for message in &file.message_type {
            self.message(scope, message)?;
        }
        for enumeration in &file.enum_type {
            self.enumeration(scope, enumeration)?;
        }
        for service in &file.service {
            let name = join(scope, service.name());
            for method in &service.method {
                self.method(&name, method)?;
            }
            self.add(name, "service".into())?;
        }
        Ok(())
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) -> Result<()> {
        let name = join(scope, message.name());
        for field in &message.field {
            self.field(&name, message, field)?;
        }
        for enumeration in &message.enum_type {
            self.enumeration(&name, enumeration)?;
        }
        for nested in &message.nested_type {
            self.message(&name, nested)?;
        }
        self.add(name, "message".into())
    }

    fn field(
        &mut self,
        message: &str,
        parent: &DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> Result<()> {
        let kind = match field.type_name() {
            "" => (field.r#type().as_str_name().to_lowercase()).replace("type_", ""),
            name => resolve(&self.types, message, name)?,
        };
        let oneof = usize::try_from(field.oneof_index.unwrap_or(-1)).ok();
        let label = match oneof.and_then(|index| parent.oneof_decl.get(index)) {
            _ if field.proto3_optional() => "optional".into(),
            Some(oneof) => format!("oneof {}", oneof.name()),
            None if field.label() == Label::Repeated => "repeated".into(),
            None => "singular".into(),
        };
        let fact = format!("field {} {kind} {label}", field.number());
        self.add(join(message, field.name()), fact)
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptorProto) -> Result<()> {
        let name = join(scope, enumeration.name());
        for value in &enumeration.value {
            self.add(
                join(&name, value.name()),
                format!("value {}", value.number()),
            )?;
        }
        self.add(name, "enum".into())
    }

    fn method(&mut self, service: &str, method: &MethodDescriptorProto) -> Result<()> {
        let side = |streaming, name| -> Result<String> {
            let name = resolve(&self.types, service, name)?;
            Ok(if streaming {
                format!("stream {name}")
            } else {
                name
            })
        };
        let request = side(method.client_streaming(), method.input_type())?;
        let reply = side(method.server_streaming(), method.output_type())?;
        self.add(
            join(service, method.name()),
            format!("rpc {request} -> {reply}"),
        )
    }

    fn add(&mut self, name: String, fact: String) -> Result<()> {
        match self.facts.get(&name) {
            Some(other) if *other != fact => {
                bail!("{name} is defined twice: as {other} and as {fact}")
            }
            _ => self.facts.insert(name, fact),
        };
        Ok(())
    }
}

pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.into()
    } else {
        format!("{scope}.{name}")
    }
}
