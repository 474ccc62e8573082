//! The table in README.md that says what was seen on which release of etcd.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::codegen::root;
use crate::etcd::VERSIONS;
use crate::test::Report;

const BEGIN: &str =
    "<!-- Each row is written by `cargo xtask test --etcd V` when all suites pass. -->\n";
const END: &str = "<!-- Until here. -->\n";
const HEAD: &str = "| etcd | suites passed | answered with `Error::Unsupported` | otherwise different |\n|---|---|---|---|\n";

/// One row for each release.
pub(crate) fn table(reports: &[Report]) -> String {
    let rows: String = reports.iter().map(row).collect();
    HEAD.to_owned() + &rows
}

/// Puts the rows of these releases in the place of those that are there; the other rows stay.
pub(crate) fn write(reports: &[&Report]) -> Result<()> {
    let path = root()?.join("README.md");
    let old = fs::read_to_string(&path)?;
    let rows: Vec<_> = reports
        .iter()
        .map(|report| (report.version.as_str(), row(report)))
        .collect();
    let new = replaced(&old, &rows).context("README.md has no place for the table")?;
    if new != old {
        fs::write(&path, new)?;
        println!("test: README.md has new rows in its table");
    }
    Ok(())
}

fn replaced(readme: &str, rows: &[(&str, String)]) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let row = |version: &&str| {
        let new = rows.iter().find(|(of, _)| of == version);
        let start = format!("| {version} |");
        let kept = || old.lines().find(|line| line.starts_with(&start));
        new.map(|(_, row)| row.clone())
            .or_else(|| kept().map(|line| format!("{line}\n")))
    };
    let rows: String = VERSIONS.iter().filter_map(row).collect();
    Some(format!("{before}{BEGIN}\n{HEAD}{rows}\n{END}{after}"))
}

fn row(report: &Report) -> String {
    let (version, passed, suites) = (&report.version, report.suites_passed, report.suites);
    let (lacks, differs) = (list(&report.lacks), list(&report.differs));
    format!("| {version} | {passed} of {suites} | {lacks} | {differs} |\n")
}

fn list(items: &BTreeSet<String>) -> String {
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    match items[..] {
        [] => "nothing".to_owned(),
        _ => items.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_replaced_one_by_one_and_stand_in_order() {
        let row = |version: &'static str, text| (version, format!("| {version} | {text} |\n"));
        let readme = format!("before\n{BEGIN}{END}after\n");
        let first = replaced(&readme, &[row("3.6.15", "old")]).unwrap();
        let second = replaced(&first, &[row("3.7.2", "b"), row("3.4.45", "a")]).unwrap();
        let expected = format!(
            "before\n{BEGIN}\n{HEAD}| 3.4.45 | a |\n| 3.6.15 | old |\n| 3.7.2 | b |\n\n{END}after\n"
        );
        assert_eq!(second, expected);
        let third = replaced(&second, &[row("3.6.15", "new"), row("3.6.1", "no")]).unwrap();
        assert_eq!(third, expected.replace("old", "new"));
        assert_eq!(replaced("no table", &[]), None);
    }
}
