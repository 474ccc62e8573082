//! The table in README.md that says what was seen on which release of etcd.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::codegen::root;
use crate::test::Report;

const BEGIN: &str = "<!-- Written by `cargo xtask test --etcd all`. -->\n";
const END: &str = "<!-- Until here. -->\n";

/// One row for each release.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut table =
        "| etcd | suites passed | answered with `Error::Unsupported` | otherwise different |\n\
                     |---|---|---|---|\n"
            .to_owned();
    for report in reports {
        let (version, passed, suites) = (&report.version, report.suites_passed, report.suites);
        let (lacks, differs) = (list(&report.lacks), list(&report.differs));
        table += &format!("| {version} | {passed} of {suites} | {lacks} | {differs} |\n");
    }
    table
}

/// Puts the table in the place of the one that is there.
pub(crate) fn write(table: &str) -> Result<()> {
    let path = root()?.join("README.md");
    let old = fs::read_to_string(&path)?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("README.md has no place for the table")?;
    let new = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    if new != old {
        fs::write(&path, new)?;
        println!("test: README.md has a new table");
    }
    Ok(())
}

fn list(items: &BTreeSet<String>) -> String {
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    match items[..] {
        [] => "nothing".to_owned(),
        _ => items.join("; "),
    }
}
