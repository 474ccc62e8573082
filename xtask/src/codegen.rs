//! `cargo xtask codegen`: the schema in `proto/` becomes `etcd-proto/src/generated/`, which is committed and never edited.
//!
//! When a new etcd appears:
//!
//! 1. `cargo xtask codegen --against <upstream's checkout>` prints what it has and we lack, and the other way round.
//! 2. Add it to `proto/`, with a comment of our own that says what it does and since which etcd.
//! 3. Add the same rows to `tests/data/` (the table that `tests/tests/schema.rs` compares with).
//! 4. `cargo xtask codegen`. It stops at a unary RPC that has no class yet: give it one in `codegen/classes.rs`.
mod against;
mod classes;
mod code;
mod facts;
mod schema;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost_types::FileDescriptorSet;

/// File names in the generated directory, with what they hold.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the committed output differs from what would be generated
    #[arg(long, conflicts_with = "against")]
    check: bool,
    /// Write nothing; print how the .proto files below this directory differ from ours, and fail if they do
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = root()?;
    let schema = schema::compile(&root.join("proto"))?;
    if let Some(theirs) = &args.against {
        return against::run(&schema, theirs);
    }
    let files = generate(&schema)?;
    let target = root.join("etcd-proto/src/generated");
    if args.check {
        return check(&target, &files);
    }
    write(&target, &files)
}

/// The workspace's directory.
pub(crate) fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(package
        .parent()
        .context("xtask has no parent directory")?
        .to_path_buf())
}

/// Everything that belongs into the generated directory.
fn generate(schema: &FileDescriptorSet) -> Result<Files> {
    let mut files = code::messages_and_stubs(schema)?;
    files.extend(tables::generate(schema)?);
    files.insert("descriptor.bin".into(), schema::descriptor(schema));
    Ok(files)
}

fn check(target: &Path, files: &Files) -> Result<()> {
    let stale = stale(target, files)?;
    if !stale.is_empty() {
        bail!(
            "stale, run `cargo xtask codegen`:\n  {}",
            stale.join("\n  ")
        );
    }
    Ok(())
}

/// The names of files that differ, are missing, or should not be there.
fn stale(target: &Path, files: &Files) -> Result<Vec<String>> {
    let mut stale: Vec<String> = leftovers(target, files)?;
    for (name, content) in files {
        if fs::read(target.join(name)).ok().as_ref() != Some(content) {
            stale.push(name.clone());
        }
    }
    stale.sort();
    Ok(stale)
}

fn write(target: &Path, files: &Files) -> Result<()> {
    fs::create_dir_all(target)?;
    for name in leftovers(target, files)? {
        fs::remove_file(target.join(name))?;
    }
    for (name, content) in files {
        fs::write(target.join(name), content).with_context(|| format!("writing {name}"))?;
    }
    println!("{} files in {}", files.len(), target.display());
    Ok(())
}

/// Files in the generated directory that nothing generates any more.
fn leftovers(target: &Path, files: &Files) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(target).with_context(|| format!("reading {}", target.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !files.contains_key(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_output_is_what_the_schema_generates() -> Result<()> {
        let root = root()?;
        let files = generate(&schema::compile(&root.join("proto"))?)?;
        check(&root.join("etcd-proto/src/generated"), &files)
    }

    #[test]
    fn a_changed_a_missing_and_a_left_over_file_are_stale() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = |name: &str| (name.to_string(), b"new".to_vec());
        let files = Files::from([file("changed.rs"), file("missing.rs"), file("same.rs")]);
        fs::write(dir.path().join("same.rs"), "new")?;
        fs::write(dir.path().join("changed.rs"), "old")?;
        fs::write(dir.path().join("left.rs"), "old")?;
        let names = stale(dir.path(), &files)?;
        assert_eq!(names, ["changed.rs", "left.rs", "missing.rs"]);
        assert!(check(dir.path(), &files).is_err());

        write(dir.path(), &files)?;
        assert_eq!(stale(dir.path(), &files)?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn generating_twice_gives_the_same_bytes() -> Result<()> {
        let schema = schema::compile(&root()?.join("proto"))?;
        assert!(generate(&schema)? == generate(&schema)?);
        Ok(())
    }

    #[test]
    fn no_field_of_bytes_is_copied_into_a_vec() -> Result<()> {
        let files = generate(&schema::compile(&root()?.join("proto"))?)?;
        for (name, code) in files {
            let code = String::from_utf8_lossy(&code);
            assert!(!code.contains("Vec<u8>"), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_unary_rpc_without_a_class_stops_the_generator_and_is_named() -> Result<()> {
        let mut schema = schema::compile(&root()?.join("proto"))?;
        let methods = schema
            .file
            .iter_mut()
            .flat_map(|f| &mut f.service)
            .flat_map(|s| &mut s.method);
        for method in methods.filter(|method| method.name() == "MoveLeader") {
            method.name = Some("MoveAway".into());
        }
        let error = generate(&schema).err().context("generated")?.to_string();
        assert!(
            error.contains("/etcdserverpb.Maintenance/MoveAway has no class"),
            "{error}"
        );
        Ok(())
    }

    #[test]
    fn a_new_field_with_a_password_is_left_out_of_debug() -> Result<()> {
        let mut schema = schema::compile(&root()?.join("proto"))?;
        let messages = schema
            .file
            .iter_mut()
            .flat_map(|file| &mut file.message_type);
        for message in messages.filter(|message| message.name() == "AuthUserDeleteRequest") {
            for field in &mut message.field {
                field.name = Some("oldPassword".into());
            }
        }
        let files = generate(&schema)?;
        let text = |name: &str| String::from_utf8_lossy(&files[name]).into_owned();
        assert!(text("secrets.rs").contains("field(\"old_password\", &Redacted)"));
        let code = text("etcdserverpb.rs");
        let (before, _) = code
            .split_once("pub struct AuthUserDeleteRequest ")
            .context("no struct")?;
        let attributes = before.rsplit("///").next().context("no comment")?;
        assert!(attributes.contains("skip_debug"), "{attributes}");
        Ok(())
    }
}
