//! `cargo xtask etcd`: a real etcd cluster of a chosen version in the foreground. The program is `tests/src/bin/cluster.rs`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::ci::cargo;
use crate::codegen::root;

/// The versions that the suites are run on, ascending.
pub(crate) const VERSIONS: [&str; 4] = ["3.4.45", "3.5.34", "3.6.15", BUILT_IN];
/// The version that `etcd-tests` depends on. One graph of packages can hold only one.
pub(crate) const BUILT_IN: &str = "3.7.2";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many members
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    members: String,
    /// Which etcd: 3.4.45, 3.5.34, 3.6.15, 3.7.2, or any other release that the crate etcd-bin-vendored has
    #[arg(long, default_value = BUILT_IN)]
    version: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = match args.version.as_str() {
        BUILT_IN => None,
        version => Some(fetch(version)?),
    };
    program("cluster", ["--members", &args.members], binary.as_deref())
}

/// Becomes a program of `etcd-tests`, so that signals reach it directly. Returns only if it cannot be started.
pub(crate) fn program<'a>(
    name: &str,
    options: impl IntoIterator<Item = &'a str>,
    etcd: Option<&Path>,
) -> Result<()> {
    let mut command = Command::new(cargo());
    command
        .args(["run", "--package", "etcd-tests", "--bin", name, "--"])
        .args(options);
    if let Some(path) = etcd {
        command.env("ETCD_BIN", path);
    }
    Err(command.exec()).context("cannot start cargo")
}

/// The path of another version's etcd, downloaded by cargo: a package outside the workspace depends on that version and
/// prints where it is.
pub(crate) fn fetch(version: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.chars().all(plain) {
        bail!("a version is a release such as 3.6.15, not {version:?}");
    }
    let package = dir(version)?;
    write(&package, "Cargo.toml", &manifest(version))?;
    write(&package, "src/main.rs", PRINT_PATH)?;
    let output = Command::new(cargo())
        .args(["run", "--quiet", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.join("target"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo could not get etcd {version}: no such release in the crate etcd-bin-vendored, or no network"
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

fn manifest(version: &str) -> String {
    format!(
        r#"[package]
name = "etcd-path"
version = "0.0.0"
edition = "2024"

[dependencies]
etcd-bin-vendored = "={version}"

[workspace]
"#
    )
}

const PRINT_PATH: &str = r#"fn main() -> Result<(), String> {
    let path = etcd_bin_vendored::etcd_bin_path().map_err(|error| error.to_string())?;
    println!("{}", path.display());
    Ok(())
}
"#;

/// Writes a file unless it is there as it should be, so that cargo has nothing to do the next time.
fn write(package: &Path, name: &str, text: &str) -> Result<()> {
    let path = package.join(name);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Where the files about a version are.
pub(crate) fn dir(version: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("etcd").join(version))
}

/// Where cargo puts what it builds.
fn target_dir() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(root()?.join("target")),
    }
}
