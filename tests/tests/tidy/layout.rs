//! The invariants of files: their size, their words, their place, and the table of scenarios.

use crate::source::{Source, Token, item_len};

/// A file over this many lines fails; one over [`LONG_FILE`] is named.
const MAX_FILE: usize = 500;
pub(crate) const LONG_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;
const SCENARIOS: &str = "tests/SCENARIOS.md";

/// What the repository holds at its top, and nothing else.
const TOP_LEVEL: [&str; 16] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "etcd-core",
    "etcd-proto",
    "etcd-recipes",
    "proto",
    "tests",
];

pub(crate) fn files_are_short(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().filter(|source| lines(source) > MAX_FILE);
    long.map(|source| {
        format!(
            "{}: {} lines, {MAX_FILE} are the limit",
            source.path,
            lines(source)
        )
    })
    .collect()
}

/// Lines of a Rust file; other files may be as long as they need.
pub(crate) fn lines(source: &Source) -> usize {
    if source.path.ends_with(".rs") {
        source.text.lines().count()
    } else {
        0
    }
}

pub(crate) fn functions_are_short(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        for (i, pair) in source.tokens.windows(2).enumerate() {
            let body = &source.tokens[i..];
            if pair[0].text != "fn" || !is_name(&pair[1]) {
                continue;
            }
            let last = &body[item_len(body) - 1];
            let lines = last.line - pair[0].line + 1;
            if lines > MAX_FUNCTION {
                wrong.push(format!(
                    "{}:{}: function {} has {lines} lines, {MAX_FUNCTION} are the limit",
                    source.path, pair[0].line, pair[1].text
                ));
            }
        }
    }
    wrong
}

/// Not the `(` of a function pointer's type.
fn is_name(token: &Token) -> bool {
    token
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// What is unfinished is not merged, and nothing is known of the machine on which it was written.
pub(crate) fn nothing_is_left_over(sources: &[Source]) -> Vec<String> {
    // In two pieces each, so that this file is not found.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[igno", "re"],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/ho", "me/"],
        ["/tmp/", "wt"],
    ]
    .map(|pieces| pieces.concat());
    let mut wrong = Vec::new();
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: {word}", source.path, i + 1));
            }
        }
    }
    wrong
}

/// `entries` are the names in the workspace's directory.
pub(crate) fn the_top_level_is_as_agreed(entries: &[String]) -> Vec<String> {
    let unknown = entries.iter().filter(|entry| {
        // Beside the repository: git's own files, and what is built.
        ![".git", "target"].contains(&entry.as_str()) && !top_level().any(|known| known == *entry)
    });
    let missing = top_level().filter(|known| !entries.iter().any(|entry| entry == known));
    unknown
        .map(|entry| format!("{entry}: not in the list of what the repository holds at its top"))
        .chain(missing.map(|known| format!("{known}: missing")))
        .collect()
}

fn top_level() -> impl Iterator<Item = &'static str> {
    TOP_LEVEL.into_iter().chain(["xtask"])
}

/// Every row of the table names a test that exists and runs, and the break with which it was seen to fail.
pub(crate) fn scenarios_name_real_tests(sources: &[Source]) -> Vec<String> {
    let Some(table) = sources.iter().find(|source| source.path == SCENARIOS) else {
        return vec![format!("{SCENARIOS}: missing")];
    };
    let mut wrong = Vec::new();
    for (i, line) in table.text.lines().enumerate() {
        let Some(row) = line
            .strip_prefix('|')
            .and_then(|row| row.trim_end().strip_suffix('|'))
        else {
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let rule = |cell: &&str| cell.chars().all(|c| "-:".contains(c));
        if cells[0] == "scenario" || cells.iter().all(rule) {
            continue;
        }
        let mut say = |what: String| wrong.push(format!("{SCENARIOS}:{}: {what}", i + 1));
        match cells[..] {
            [_, _, tests, planted] => {
                if planted.is_empty() || planted == "-" {
                    say("no planted break: with which defect was the test seen to fail?".into());
                }
                if tests.is_empty() {
                    say("no test".into());
                }
                for test in tests
                    .split("<br>")
                    .map(|test| test.trim().trim_matches('`'))
                {
                    if let Err(reason) = runs(sources, test) {
                        say(format!("{test}: {reason}"));
                    }
                }
            }
            _ => say(format!(
                "a row has four cells (write \\| as &#124;), this one {}",
                cells.len()
            )),
        }
    }
    wrong
}

/// Is `file::function` a test that is run?
fn runs(sources: &[Source], test: &str) -> Result<(), &'static str> {
    let (path, name) = test.split_once("::").ok_or("write file::function")?;
    let source = sources
        .iter()
        .find(|source| source.path == path)
        .ok_or("no such file")?;
    let tokens = &source.tokens;
    let at = tokens
        .windows(2)
        .position(|pair| pair[0].text == "fn" && pair[1].text == name)
        .ok_or("no such function in that file")?;
    // The attributes before a function end where the item before it ends.
    let from = tokens[..at]
        .iter()
        .rposition(|token| [";", "}", "{"].contains(&token.text.as_str()));
    let attributes = &tokens[from.map_or(0, |end| end + 1)..at];
    let has = |name: &str| attributes.iter().any(|token| token.text == name);
    if has("ignore") || has("cfg") || has("cfg_attr") {
        return Err("is not always run");
    }
    if !has("test") {
        return Err("is not a test");
    }
    Ok(())
}
