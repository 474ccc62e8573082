//! The workspace's files, and Rust code as tokens: rules look at code, not at what comments and strings say.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};

/// A text file of the workspace.
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Of a Rust file: everything but comments. Empty for other files.
    pub(crate) tokens: Vec<Token>,
}

/// A piece of Rust code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// A name, a number, `::`, one other character, or `""` for any string.
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
    /// Compiled for tests only.
    pub(crate) test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = Vec::new();
        if path.ends_with(".rs") {
            tokens = lex(text);
            mark_tests(&mut tokens);
        }
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
        }
    }

    /// What runs in a caller's program.
    pub(crate) fn production(&self) -> Vec<Token> {
        let tokens = self.tokens.iter().filter(|token| !token.test);
        tokens.cloned().collect()
    }

    /// The lines on which `pattern` occurs, its tokens separated by spaces, in `tokens` of this file.
    pub(crate) fn find(tokens: &[Token], pattern: &str) -> Vec<usize> {
        let pattern: Vec<_> = pattern.split(' ').collect();
        tokens
            .windows(pattern.len())
            .filter(|window| window.iter().map(|token| &token.text).eq(&pattern))
            .map(|window| window[0].line)
            .collect()
    }
}

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file of the workspace but generated code, read once for all rules.
pub(crate) fn workspace() -> Result<&'static [Source], &'static String> {
    static SOURCES: LazyLock<Result<Vec<Source>, String>> =
        LazyLock::new(|| read().map_err(|error| format!("{error:#}")));
    SOURCES.as_deref()
}

fn read() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    collect(&root(), "", &mut sources)?;
    mark_test_files(&mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(root: &Path, dir: &str, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if ["target", ".git", "generated"].contains(&name.as_str()) {
            continue;
        }
        let path = if dir.is_empty() {
            name.clone()
        } else {
            format!("{dir}/{name}")
        };
        if entry.file_type()?.is_dir() {
            collect(root, &path, sources)?;
        } else if is_text(&name) {
            let text = fs::read_to_string(entry.path()).with_context(|| path.clone())?;
            sources.push(Source::new(&path, &text));
        }
    }
    Ok(())
}

/// Files without an extension are scripts and licences.
fn is_text(name: &str) -> bool {
    let text = ["rs", "toml", "md", "proto", "tsv", "txt"];
    name.rsplit_once('.')
        .is_none_or(|(stem, extension)| stem.is_empty() || text.contains(&extension))
}

/// A module that is declared with `#[cfg(test)] mod name;` is test code, with all modules below it.
pub(crate) fn mark_test_files(sources: &mut [Source]) {
    let mut modules = Vec::new();
    for source in &*sources {
        for at in source.tokens.windows(3) {
            if at[0].test && at[0].text == "mod" && at[2].text == ";" {
                modules.push(format!("{}/{}", module_dir(&source.path), at[1].text));
            }
        }
    }
    let is_test = |path: &str| {
        let below = |module: &String| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        modules.iter().any(below)
    };
    for source in sources.iter_mut().filter(|source| is_test(&source.path)) {
        for token in &mut source.tokens {
            token.test = true;
        }
    }
}

/// Where the modules that a file declares are.
fn module_dir(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let (dir, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    if ["lib", "main", "mod"].contains(&name) {
        dir.to_owned()
    } else {
        stem.to_owned()
    }
}

/// Marks every item with an attribute `#[cfg(… test …)]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = test_attribute(&tokens[at..]) else {
            at += 1;
            continue;
        };
        let end = at + end + item_len(&tokens[at + end..]);
        for token in &mut tokens[at..end] {
            token.test = true;
        }
        at = end;
    }
}

/// The length of a `#[cfg(… test …)]` that `tokens` begin with.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let text = |i: usize| tokens.get(i).map(|token| token.text.as_str());
    if [text(0), text(1), text(2)] != [Some("#"), Some("["), Some("cfg")] {
        return None;
    }
    let end = tokens.iter().position(|token| token.text == "]")?;
    let names = &tokens[3..end];
    let has = |name: &str| names.iter().any(|token| token.text == name);
    (has("test") && !has("not")).then_some(end + 1)
}

/// The length of the item that `tokens` begin with: up to the end of its first block, or its semicolon.
pub(crate) fn item_len(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Rust code without comments; the insides of strings are left out.
fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (len, token) = match first {
            c if c.is_whitespace() => (c.len_utf8(), None),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (comment_len(rest), None),
            '"' => (string_len(rest), Some("\"\"")),
            '\'' => (quote_len(rest), Some("''")),
            _ if raw_string_len(rest) > 0 => (raw_string_len(rest), Some("\"\"")),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let len = end.unwrap_or(rest.len());
                (len, Some(&rest[..len]))
            }
            ':' if rest.starts_with("::") => (2, Some("::")),
            c => (c.len_utf8(), Some(&rest[..c.len_utf8()])),
        };
        tokens.extend(token.map(|text| Token {
            text: text.to_owned(),
            line,
            test: false,
        }));
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// Block comments nest.
fn comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string_len(rest: &str) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#`, `c"…"`, `b"…"`; 0 if it is none of them.
fn raw_string_len(rest: &str) -> usize {
    let body = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - body.len();
    if prefix <= 1 && body.starts_with('"') {
        return prefix + string_len(body);
    }
    let Some(hashes) = body.strip_prefix('r') else {
        return 0;
    };
    let quoted = hashes.trim_start_matches('#');
    if prefix > 1 || !quoted.starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes.len() - quoted.len()));
    let open = rest.len() - quoted.len() + 1;
    rest[open..]
        .find(&close)
        .map_or(rest.len(), |end| open + end + close.len())
}

/// A character, or the quote of a lifetime.
fn quote_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => rest[3..].find('\'').map_or(rest.len(), |end| 3 + end + 1),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}
