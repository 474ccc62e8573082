//! `cargo xtask fuzz`: looks for inputs that break what reads the wire, with libFuzzer. The targets are in etcd-core
//! (`fuzz.rs`), the program and what was found are in `tests/fuzz`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

use anyhow::{Context, Result, bail};

use crate::ci::cargo;

/// Counts how often each edge of the control flow is taken, and shows the fuzzer what is compared with what.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// The longest input, in bytes.
const MAX_LEN: &str = "-max_len=4096";
/// When the tool that is needed is not there.
const MISSING: i32 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target; without it all of them, one after the other
    target: Option<String>,
    /// For how long to look for new inputs, each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Afterwards add to tests/fuzz/corpus the inputs that reach what none there reaches, and throw out those that add nothing
    #[arg(long)]
    merge: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let known = output(Command::new(cargo()).args(["run", "-q", "-p", "etcd-fuzz"]))?;
    let targets: Vec<&str> = match &args.target {
        Some(target) if known.lines().any(|name| name == target) => vec![target],
        Some(target) => bail!("there is no target {target}; there are\n{known}"),
        None => known.lines().collect(),
    };
    let (fuzzer, mut failed) = (build()?, Vec::new());
    for target in targets {
        println!("\nfuzz: {target}, {} s", args.seconds);
        let places = Places::of(target)?;
        if !places.search(&fuzzer, args.seconds)? {
            failed.push(target);
        } else if args.merge {
            places.merge(&fuzzer)?;
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The program with the engine in it.
fn build() -> Result<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if Command::new(&compiler).arg("--version").output().is_err() {
        eprintln!("fuzz: libFuzzer is built with a C++ compiler, and `{compiler}` is not there");
        exit(MISSING);
    }
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let directory = target_directory()?.join("fuzz");
    let status = Command::new(cargo())
        // With a target named, only what is fuzzed is instrumented, not what runs during the build.
        .args([
            "build",
            "-p",
            "etcd-fuzz",
            "--bin",
            "etcd-fuzz",
            "--profile",
            "fuzz",
        ])
        .args(["--target", host.trim(), "--target-dir"])
        .arg(&directory)
        .env("RUSTFLAGS", COVERAGE)
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the fuzzer cannot be built ({status})");
    }
    Ok(directory.join(host.trim()).join("fuzz").join("etcd-fuzz"))
}

/// Where the inputs of one target are.
struct Places {
    target: String,
    /// Committed.
    corpus: PathBuf,
    /// What was found on this machine.
    found: PathBuf,
    failures: PathBuf,
}

impl Places {
    fn of(target: &str) -> Result<Self> {
        let scratch = target_directory()?.join("fuzz");
        let places = Self {
            target: target.to_owned(),
            corpus: Path::new("tests/fuzz/corpus").join(target),
            found: scratch.join("corpus").join(target),
            failures: scratch.join("failures").join(target),
        };
        for directory in [&places.corpus, &places.found, &places.failures] {
            fs::create_dir_all(directory)?;
        }
        Ok(places)
    }

    /// False when it failed.
    fn search(&self, fuzzer: &Path, seconds: u64) -> Result<bool> {
        let status = self
            .fuzzer(fuzzer)
            .args([&self.found, &self.corpus])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", self.failures.display()))
            .args([MAX_LEN, "-timeout=25", "-print_final_stats=1"])
            .status()
            .context("cannot start the fuzzer")?;
        if !status.success() {
            let (failures, corpus) = (self.failures.display(), self.corpus.display());
            println!(
                "fuzz: the input is in {failures}; once it is mended, keep it in {corpus}, under a name with a dash"
            );
        }
        Ok(status.success())
    }

    /// As few and as short inputs as reach all edges of the control flow that any of them reaches. Regressions are kept
    /// besides, by their names: no other file there has a dash in its name.
    fn merge(&self, fuzzer: &Path) -> Result<()> {
        let merged = self.found.with_extension("merged");
        let _ = fs::remove_dir_all(&merged);
        fs::create_dir_all(&merged)?;
        let status = self
            .fuzzer(fuzzer)
            .args([&merged, &self.corpus, &self.found])
            .args(["-set_cover_merge=1", "-use_counters=0", "-max_len=512"])
            .status()?;
        if !status.success() {
            bail!("the corpora of {} cannot be merged ({status})", self.target);
        }
        for entry in fs::read_dir(&self.corpus)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().contains('-') {
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(&merged)? {
            let entry = entry?;
            let kept = short(&entry.file_name().to_string_lossy());
            fs::copy(entry.path(), self.corpus.join(kept))?;
        }
        Ok(())
    }

    fn fuzzer(&self, fuzzer: &Path) -> Command {
        let mut command = Command::new(fuzzer);
        command
            .env("ETCD_FUZZ_TARGET", &self.target)
            .stdin(Stdio::null());
        command
    }
}

/// libFuzzer names a file after its hash; this much of it will do.
fn short(name: &str) -> String {
    format!("{}.bin", name.get(..12).unwrap_or(name))
}

fn target_directory() -> Result<PathBuf> {
    let directory = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    std::path::absolute(directory).context("the target directory has no path")
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start a command")?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
