//! `cargo xtask ci`: everything that must hold before a change is merged, in one command, here and on a build machine.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A cargo command that must succeed, and what it stands for.
struct Step {
    name: &'static str,
    args: &'static str,
    /// Set for this step only.
    env: &'static [(&'static str, &'static str)],
}

/// In the order in which they are run: what fails fast and is quick to mend comes first.
const STEPS: &[Step] = &[
    step("format", "fmt --all --check"),
    step("generated code is current", "xtask codegen --check"),
    // Alone, a crate has only the features that it asks for itself; in the workspace it also has those that others ask for.
    step("etcd-proto alone", "clippy -p etcd-proto -- -D warnings"),
    step(
        "etcd-proto, client stubs",
        "clippy -p etcd-proto --features client -- -D warnings",
    ),
    step(
        "etcd-proto, server stubs",
        "clippy -p etcd-proto --features server -- -D warnings",
    ),
    step("etcd-core alone", "clippy -p etcd-core -- -D warnings"),
    step(
        "etcd-core without cryptography",
        "clippy -p etcd-core --no-default-features -- -D warnings",
    ),
    step(
        "etcd-core, serde",
        "clippy -p etcd-core --features serde -- -D warnings",
    ),
    step(
        "etcd-core, metrics",
        "clippy -p etcd-core --features metrics -- -D warnings",
    ),
    step(
        "etcd-recipes alone",
        "clippy -p etcd-recipes -- -D warnings",
    ),
    step(
        "clippy",
        "clippy --workspace --all-targets --all-features -- -D warnings",
    ),
    step("tests", "test --workspace"),
    step("examples", "xtask examples"),
    // etcd serves HTTP/2 with another implementation where it does so over TLS.
    Step {
        env: &[("ETCD_TESTS_TLS", "1")],
        ..step(
            "connections, pool and failover over TLS",
            "test -p etcd-tests --test calls --test outcome --test reads --test channel --test failover --test reconnect --test liveness --test kv --test txn",
        )
    },
    step(
        "TLS by aws-lc-rs",
        "test -p etcd-tests --features aws-lc-rs --test tls",
    ),
    step(
        "older releases of etcd",
        "xtask test --etcd 3.4.45 --etcd 3.5.34 --etcd 3.6.15 --suite every_rpc --suite versions",
    ),
    Step {
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        ..step("documentation", "doc --workspace --no-deps")
    },
];

const fn step(name: &'static str, args: &'static str) -> Step {
    Step {
        name,
        args,
        env: &[],
    }
}

pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    println!("ci: {}, the workspace asks for {}", rustc()?, needed());
    let mut times = Vec::new();
    for (i, step) in STEPS.iter().enumerate() {
        println!(
            "\nci: {}/{} {}: {}",
            i + 1,
            STEPS.len(),
            step.name,
            step.line()
        );
        times.push((step.name, step.run()?));
    }
    println!("\nci: all steps passed");
    for (name, time) in times {
        println!("ci: {:>7.1} s  {name}", time.as_secs_f64());
    }
    println!("ci: {:>7.1} s  in all", start.elapsed().as_secs_f64());
    Ok(())
}

impl Step {
    fn run(&self) -> Result<Duration> {
        let start = Instant::now();
        let status = Command::new(cargo())
            .args(self.args.split(' '))
            .envs(self.env.iter().copied())
            .stdin(Stdio::null())
            .status()
            .context("cannot start cargo")?;
        let time = start.elapsed();
        if !status.success() {
            bail!(
                "step \"{}\" failed after {:.1} s ({status}). To run it alone:\n\n    {}\n",
                self.name,
                time.as_secs_f64(),
                self.line()
            );
        }
        Ok(time)
    }

    /// The step as one would type it.
    fn line(&self) -> String {
        let env: String = self
            .env
            .iter()
            .map(|(key, value)| format!("{key}='{value}' "))
            .collect();
        format!("{env}cargo {}", self.args)
    }
}

/// The cargo that runs this command.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The oldest Rust that the workspace says it builds with. Cargo refuses an older one, so that this program runs says that
/// the one in use is new enough; that it is exactly this one shows that the statement holds.
fn needed() -> String {
    let needed = env!("CARGO_PKG_RUST_VERSION");
    format!("rustc {needed} or newer")
}

fn rustc() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .context("cannot start rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
