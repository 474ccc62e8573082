//! `cargo xtask examples`: builds the programs in `tests/examples` and runs each, with an etcd of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::ci::cargo;

pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("tests/examples"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|name| name.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    ensure!(!names.is_empty(), "there are no examples");
    // All at once; then each `cargo run` only runs.
    cargo_in(&root, &["build", "-p", "etcd-tests", "--examples"])?;
    for name in &names {
        let start = Instant::now();
        cargo_in(&root, &["run", "-q", "-p", "etcd-tests", "--example", name])?;
        println!("examples: {name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn cargo_in(root: &Path, args: &[&str]) -> Result<()> {
    let status = Command::new(cargo())
        .current_dir(root)
        .args(args)
        .stdin(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {}: {status}", args.join(" "));
    }
    Ok(())
}
