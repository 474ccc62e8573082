//! `cargo xtask test`: the suites that talk to a real etcd, on chosen releases of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::ci::cargo;
use crate::codegen::root;
use crate::etcd::{BUILT_IN, VERSIONS, dir, fetch};
use crate::readme;

/// How a suite that needs a real etcd gets it.
const HARNESS: &str = "etcd_tests::cluster";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which etcd: 3.4.45, 3.5.34, 3.6.15, 3.7.2, any other release that the crate etcd-bin-vendored has, or all of those four. May
    /// be given more than once. Where all suites pass, the release's row in README.md is written anew
    #[arg(long, default_value = BUILT_IN)]
    etcd: Vec<String>,
    /// Only this suite, by the name of its file in tests/tests. May be given more than once
    #[arg(long)]
    suite: Vec<String>,
}

/// One release, ready to be tested.
struct Release {
    version: String,
    binary: PathBuf,
    /// What members are upgraded to: the next minor version where there is one.
    next: PathBuf,
}

/// One suite on one release.
struct Run {
    passed: u32,
    /// Names of tests.
    failed: Vec<String>,
    ignored: Vec<String>,
    time: Duration,
    log: PathBuf,
}

/// What the suites say about one release.
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) suites: usize,
    pub(crate) suites_passed: usize,
    tests: u32,
    failures: Vec<String>,
    ignored: Vec<String>,
    /// What it answers with `Unsupported`.
    pub(crate) lacks: BTreeSet<String>,
    /// What it does in another way than the newest release.
    pub(crate) differs: BTreeSet<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let releases = releases(&args.etcd)?;
    let suites = suites(&args.suite)?;
    build(&suites)?;
    let mut reports = Vec::new();
    for release in &releases {
        reports.push(release.test(&suites)?);
    }
    println!("\n{}", readme::table(&reports));
    for report in &reports {
        report.print();
    }
    println!("test: {:.0} s in all", start.elapsed().as_secs_f64());
    if args.suite.is_empty() {
        let passed = reports.iter().filter(|report| report.failures.is_empty());
        readme::write(&passed.collect::<Vec<_>>())?;
    }
    let failures = reports.iter().map(|report| report.failures.len());
    let failures: usize = failures.sum();
    ensure!(failures == 0, "{failures} failures, see above");
    Ok(())
}

fn releases(asked: &[String]) -> Result<Vec<Release>> {
    let all = asked.iter().any(|version| version == "all");
    let versions: Vec<&str> = match all {
        true => VERSIONS.to_vec(),
        false => asked.iter().map(String::as_str).collect(),
    };
    let release = |version: &str| {
        Ok(Release {
            version: version.to_owned(),
            binary: fetch(version)?,
            next: fetch(next(version))?,
        })
    };
    versions.into_iter().map(release).collect()
}

/// The version after one of the known ones, else the same.
fn next(version: &str) -> &str {
    let at = VERSIONS.iter().position(|known| *known == version);
    at.and_then(|at| VERSIONS.get(at + 1).copied())
        .unwrap_or(version)
}

/// The suites asked for, else all that use the harness' clusters: the others have no etcd to be tested on.
fn suites(asked: &[String]) -> Result<Vec<String>> {
    let tests = root()?.join("tests/tests");
    let mut suites = Vec::new();
    for entry in fs::read_dir(&tests).with_context(|| tests.display().to_string())? {
        let path = entry?.path();
        let is_suite = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let wanted = asked.is_empty() || asked.iter().any(|asked| *asked == name);
        if is_suite && wanted && mentions(&path, HARNESS)? {
            suites.push(name.into_owned());
        }
    }
    for name in asked {
        ensure!(suites.contains(name), "no suite {name:?} needs a real etcd");
    }
    suites.sort();
    Ok(suites)
}

fn mentions(path: &Path, text: &str) -> Result<bool> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            if mentions(&entry?.path(), text)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    Ok(fs::read_to_string(path)?.contains(text))
}

/// Beforehand, so that the time of the first suite is its own; of the whole workspace, whose packages may have other features
/// alone, and would be built twice.
fn build(suites: &[String]) -> Result<()> {
    let status = Command::new(cargo())
        .args(["test", "--quiet", "--workspace", "--no-run"])
        .args(suites.iter().flat_map(|suite| ["--test", suite]))
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the suites do not compile");
    Ok(())
}

impl Release {
    fn test(&self, suites: &[String]) -> Result<Report> {
        let logs = dir(&self.version)?.join("suites");
        fs::create_dir_all(&logs)?;
        let notes = logs.join("notes");
        fs::write(&notes, "")?;
        let mut report = Report::new(&self.version, suites.len());
        for suite in suites {
            let run = self.run(suite, &logs, &notes)?;
            let (passed, failed) = (run.passed, run.failed.len());
            let (version, time) = (&self.version, run.time.as_secs_f64());
            println!(
                "test: {version:<7} {suite:<14} {passed:>4} passed {failed:>3} failed {time:>7.1} s"
            );
            report.add(suite, run);
        }
        report.read(&notes)?;
        Ok(report)
    }

    fn run(&self, suite: &str, logs: &Path, notes: &Path) -> Result<Run> {
        let start = Instant::now();
        let output = Command::new(cargo())
            .args(["test", "--quiet", "--workspace", "--test", suite])
            .args(["--", "--format=pretty"])
            .env("ETCD_BIN", &self.binary)
            .env("ETCD_BIN_NEXT", &self.next)
            .env("ETCD_TESTS_NOTES", notes)
            .env_remove("ETCD_ENDPOINTS")
            .output()
            .context("cannot start cargo")?;
        let log = logs.join(format!("{suite}.log"));
        fs::write(&log, [&output.stdout[..], &output.stderr].concat())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut run = Run {
            passed: 0,
            failed: Vec::new(),
            ignored: Vec::new(),
            time: start.elapsed(),
            log,
        };
        run.read(&text);
        if !output.status.success() && run.failed.is_empty() {
            run.failed.push(format!("({})", output.status));
        }
        if output.status.success() && run.passed == 0 {
            bail!("{suite}: no test was run, see {}", run.log.display());
        }
        Ok(run)
    }
}

impl Run {
    /// Reads lines such as `test name ... ok`.
    fn read(&mut self, text: &str) {
        let tests = text.lines().filter_map(|line| {
            let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
            Some((name.to_owned(), end))
        });
        for (name, end) in tests {
            if end.starts_with("ok") {
                self.passed += 1;
            } else if end.starts_with("ignored") {
                self.ignored.push(name);
            } else {
                self.failed.push(name);
            }
        }
    }
}

impl Report {
    fn new(version: &str, suites: usize) -> Self {
        Self {
            version: version.to_owned(),
            suites,
            suites_passed: 0,
            tests: 0,
            failures: Vec::new(),
            ignored: Vec::new(),
            lacks: BTreeSet::new(),
            differs: BTreeSet::new(),
        }
    }

    fn add(&mut self, suite: &str, run: Run) {
        self.tests += run.passed;
        self.suites_passed += usize::from(run.failed.is_empty());
        let log = run.log.display();
        let failed = run.failed.iter();
        self.failures
            .extend(failed.map(|name| format!("{suite}::{name}, see {log}")));
        let ignored = run.ignored.iter();
        self.ignored
            .extend(ignored.map(|name| format!("{suite}::{name}")));
    }

    /// Reads what the tests said: lines `lacks` or `differs`, a tab, and what.
    fn read(&mut self, notes: &Path) -> Result<()> {
        for line in fs::read_to_string(notes)?.lines() {
            let (kind, what) = line.split_once('\t').context("a note without a tab")?;
            let of_kind = match kind {
                "lacks" => &mut self.lacks,
                "differs" => &mut self.differs,
                _ => bail!("a note of another kind: {line}"),
            };
            of_kind.insert(what.to_owned());
        }
        Ok(())
    }

    fn print(&self) {
        let (version, tests) = (&self.version, self.tests);
        let (failed, ignored) = (self.failures.len(), self.ignored.len());
        println!("test: {version}: {tests} tests passed, {failed} failed, {ignored} were not run");
        for failure in &self.failures {
            println!("test: {version}: FAILED {failure}");
        }
        for name in &self.ignored {
            println!("test: {version}: not run {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_read_test_by_test() {
        let mut run = Run {
            passed: 0,
            failed: Vec::new(),
            ignored: Vec::new(),
            time: Duration::ZERO,
            log: PathBuf::new(),
        };
        let text = "\nrunning 4 tests\ntest a ... ok\ntest b::c ... FAILED\ntest d ... ignored, for a reason\n\
                    test e ... ok\n\ntest result: FAILED. 2 passed; 1 failed\n";
        run.read(text);
        assert_eq!(run.passed, 2);
        assert_eq!(
            (run.failed, run.ignored),
            (vec!["b::c".to_owned()], vec!["d".to_owned()])
        );
    }

    #[test]
    fn every_suite_that_starts_an_etcd_is_found_and_no_other() {
        let all = suites(&[]).unwrap();
        for name in ["every_rpc", "watch", "versions"] {
            assert!(all.iter().any(|found| found == name), "{name}");
        }
        for name in ["schema", "tidy", "data"] {
            assert!(!all.iter().any(|found| found == name), "{name}");
        }
        assert!(suites(&["tidy".to_owned()]).is_err());
    }

    #[test]
    fn members_are_upgraded_to_the_next_minor_version() {
        assert!(VERSIONS.is_sorted());
        assert_eq!(VERSIONS.last(), Some(&BUILT_IN));
        let next = ["3.4.45", "3.6.15", BUILT_IN, "3.6.1"].map(next);
        assert_eq!(next, ["3.5.34", BUILT_IN, BUILT_IN, "3.6.1"]);
    }
}
