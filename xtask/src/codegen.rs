//! `cargo xtask codegen`: the schema in `proto/` becomes `etcd-proto/src/generated/`, which is committed and never edited.
//!
//! When a new etcd appears:
//!
//! 1. `cargo xtask codegen --against <upstream's checkout>` prints what it has and we lack, and the other way round.
//! 2. Add it to `proto/`, with a comment of our own that says what it does and since which etcd.
//! 3. Add the same rows to `tests/data/` (the table that `tests/tests/schema.rs` compares with).
//! 4. `cargo xtask codegen`. It stops at a unary RPC that has no class yet: give it one in `codegen/classes.rs`.
mod classes;
mod code;
mod schema;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// File names in the generated directory, with what they hold.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the committed output differs from what would be generated
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = root()?;
    let files = generate(&root.join("proto"))?;
    let target = root.join("etcd-proto/src/generated");
    if args.check {
        return check(&target, &files);
    }
    write(&target, &files)
}

/// The workspace's directory.
fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(package
        .parent()
        .context("xtask has no parent directory")?
        .to_path_buf())
}

/// Everything that belongs into the generated directory.
fn generate(proto: &Path) -> Result<Files> {
    let schema = schema::compile(proto)?;
    let mut files = code::messages_and_stubs(&schema)?;
    files.extend(tables::generate(&schema)?);
    files.insert("descriptor.bin".into(), schema::descriptor(&schema));
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
