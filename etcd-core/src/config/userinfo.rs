//! User and password in front of the hosts of a connection string: `https://user:password@host`.

use super::decoded;
use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;

const OPTION: &str = "connection string";

/// A user, and perhaps a password. No `Debug`.
#[derive(PartialEq, Eq)]
pub(super) struct Userinfo {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

/// The endpoints without user and password, and these, which may stand in front of one host or of several.
///
/// # Errors
/// `Error::Config`, with nothing of them in it.
pub(super) fn split(endpoints: &str, options: &str) -> Result<(String, Option<Userinfo>)> {
    let wrong = |why| Err(Error::config(OPTION, why));
    if !endpoints.contains('@') {
        // What is taken for an endpoint and an option may be a user and a password.
        if options.contains('@') && endpoints.split(',').any(is_no_endpoint) {
            return wrong("an endpoint cannot be used; a `?` in a password is written %3F");
        }
        return Ok((endpoints.to_owned(), None));
    }
    let (mut found, mut rest) = (None, Vec::new());
    for endpoint in endpoints.split(',') {
        let (scheme, address) = match endpoint.split_once("://") {
            Some((scheme, address)) => (&endpoint[..scheme.len() + 3], address),
            None => ("", endpoint.trim_start()),
        };
        match address.rsplit_once('@') {
            None if is_no_endpoint(endpoint) => {
                return wrong("an endpoint cannot be used; a `,` in a password is written %2C");
            }
            None => rest.push(endpoint.to_owned()),
            Some(_) if is_socket(endpoint) => rest.push(endpoint.to_owned()),
            Some((userinfo, host)) => {
                let userinfo = read(userinfo)?;
                if found.as_ref().is_some_and(|found| *found != userinfo) {
                    return wrong("its endpoints have different users or passwords");
                }
                found = Some(userinfo);
                rest.push(format!("{scheme}{host}"));
            }
        }
    }
    Ok((rest.join(","), found))
}

fn read(userinfo: &str) -> Result<Userinfo> {
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(decoded(password)?)),
        None => (userinfo, None),
    };
    let user = decoded(user)?;
    Ok(Userinfo { user, password })
}

/// A path, in which an `@` is one.
fn is_socket(endpoint: &str) -> bool {
    let lower = endpoint.trim_start().to_ascii_lowercase();
    lower.starts_with("unix:") || lower.starts_with("unixs:")
}

fn is_no_endpoint(text: &str) -> bool {
    [false, true].map(|tls| Endpoint::parse(text.trim(), tls).is_err()) == [true, true]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(endpoints: &str) -> (String, Option<(String, Option<String>)>) {
        let (rest, found) = split(endpoints, "").unwrap();
        (rest, found.map(|found| (found.user, found.password)))
    }

    #[test]
    fn user_and_password_are_read_and_taken_out() {
        let svc = |password: &str| Some(("svc".to_owned(), Some(password.to_owned())));
        for (text, rest, found) in [
            ("a,b", "a,b", None),
            ("svc:pw@a:1", "a:1", svc("pw")),
            ("https://svc:pw@a, b", "https://a, b", svc("pw")),
            (
                "http://svc:pw@a,http://svc:pw@b",
                "http://a,http://b",
                svc("pw"),
            ),
            ("http://svc:p:w/d@[::1]:1", "http://[::1]:1", svc("p:w/d")),
            ("http://svc:p%2Cw%40@a", "http://a", svc("p,w@")),
            ("svc@a", "a", Some(("svc".to_owned(), None))),
            ("unix:/run/a@b,svc:pw@c", "unix:/run/a@b,c", svc("pw")),
        ] {
            assert_eq!(parts(text), (rest.to_owned(), found), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_a_word_of_it() {
        for (endpoints, options) in [
            ("http://svc:can,ary@a", ""),
            ("http://svc:can", "ary@a"),
            ("svc:can", "name=ary@a"),
            ("http://svc:canary@a,http://svc:canary2@b", ""),
            ("http://svc:canary%ff@a", ""),
        ] {
            let Err(error) = split(endpoints, options) else {
                panic!("{endpoints} was taken");
            };
            let error = error.to_string();
            assert!(error.contains("connection string"), "{error}");
            assert!(!error.contains(":can") && !error.contains("ary"), "{error}");
        }
    }
}
