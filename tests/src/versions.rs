//! What differs between the releases of etcd that the suites run on, said by the test that meets it.
//!
//! A test has no other way to do less on an old release than to assert what happens there instead. `cargo xtask test` collects
//! what is said here.

use std::fs::OpenOptions;
use std::io::Write;

use etcd_core::{Error, Result};

/// Major and minor.
pub type Version = (u32, u32);

/// `result`, on etcd since the version `since`; `None` on an older one, where it must be the error that says which endpoint of
/// which version does not support it.
///
/// `what` begins with the name of the RPC: `RangeStream`, `MemberList linearizable`.
///
/// # Panics
/// When `result` is another one than it should be on a member of version `of`.
#[track_caller]
#[expect(clippy::panic, reason = "it is an assertion")]
pub fn since<T>(since: Version, of: Version, what: &str, result: Result<T>) -> Option<T> {
    match result {
        Ok(value) if of >= since => return Some(value),
        Ok(_) => panic!("etcd {of:?} does not have {what}, but said nothing"),
        Err(Error::Unsupported(lacking)) if of < since => {
            let rpc = lacking.rpc.rsplit('/').next();
            assert_eq!(rpc, what.split(' ').next(), "{lacking}");
            let told = lacking.version.as_deref().and_then(parse);
            assert_eq!(told, Some(of), "{lacking}");
        }
        Err(error) => panic!("{what} on etcd {of:?}: {error}"),
    }
    note("lacks", what);
    None
}

/// Says that the release under test does something in another way than the newest one, as the test has just asserted.
pub fn differs(what: &str) {
    note("differs", what);
}

/// Major and minor of `3.6.15`; `None` of what is no version.
pub(crate) fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// Test binaries append to one file at the same time; a line is written at once.
#[expect(clippy::panic, reason = "without the notes the table is wrong")]
fn note(kind: &str, what: &str) {
    let Some(path) = std::env::var_os("ETCD_TESTS_NOTES") else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let line = format!("{kind}\t{what}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("ETCD_TESTS_NOTES: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_up_to_its_minor() {
        for (text, expected) in [
            ("3.6.15", Some((3, 6))),
            (r#"3.7.2","etcdcluster":"3.7.0"}"#, Some((3, 7))),
            ("3.10.0-rc.1", Some((3, 10))),
            ("3", None),
            ("", None),
            ("not decided", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
