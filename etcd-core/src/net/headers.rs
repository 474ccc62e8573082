//! What an operator adds to the head of every request.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names that HTTP/2, gRPC or this client gives a meaning of its own; so are all that begin with `grpc-`.
const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "hasleader",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "token",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Extra headers. `Debug` shows no value of a sensitive one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    map: HeaderMap,
    /// What is wrong with the first one that cannot be used.
    wrong: Option<String>,
}

impl Headers {
    /// One more. A sensitive value is left out of `Debug` and of the tables in which HTTP/2 keeps values that repeat.
    pub(crate) fn add(&mut self, name: &str, value: &str, sensitive: bool) {
        match read(name, value) {
            Ok((name, mut value)) => {
                value.set_sensitive(sensitive);
                self.map.append(name, value);
            }
            Err(why) => {
                let wrong = format!("`{}`: {why}", name.escape_debug());
                self.wrong.get_or_insert(wrong);
            }
        }
    }

    /// What is wrong with them, if something is; never with a value in it.
    pub(crate) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    pub(super) fn map(&self) -> &HeaderMap {
        &self.map
    }
}

fn read(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = name.to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(legal) {
        return Err("a name is made of letters, digits, `-`, `_` and `.`");
    }
    if name.starts_with("grpc-") || RESERVED.contains(&name.as_str()) {
        return Err("the name is reserved");
    }
    if name.ends_with("-bin") {
        return Err("names that end in -bin are for binary values");
    }
    if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("a value is made of printable ASCII characters, at least one");
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "it is no name of a header")?;
    let value = HeaderValue::from_str(value).map_err(|_| "it has no value of a header")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_in_order_and_sensitive_ones_are_not_printed() {
        let mut headers = Headers::default();
        headers.add("X-Tenant", "blue", false);
        headers.add("x-tenant", "green, or ~ ", false);
        headers.add("authorization", "Bearer hunter2", true);
        assert_eq!(headers.wrong(), None);
        let tenants: Vec<_> = headers.map().get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["blue", "green, or ~ "]);
        assert!(headers.map()["authorization"].is_sensitive());
        assert!(!headers.map()["x-tenant"].is_sensitive());
        let printed = format!("{headers:?}");
        assert!(
            printed.contains("blue") && !printed.contains("hunter2"),
            "{printed}"
        );
    }

    #[test]
    fn headers_that_cannot_be_used_are_named_without_their_value() {
        let reserved = RESERVED.map(|name| (name, "v", "reserved"));
        let rows = [
            ("grpc-timeout", "v", "reserved"),
            ("GRPC-Encoding", "v", "reserved"),
            ("Token", "v", "reserved"),
            ("x-trace-bin", "v", "binary"),
            ("", "v", "a name is made of"),
            (":authority", "v", "a name is made of"),
            ("x tenant", "v", "a name is made of"),
            ("x\n", "v", "a name is made of"),
            ("zürich", "v", "a name is made of"),
            ("x-tenant", "", "printable"),
            ("x-tenant", "hunter2\r\nx: y", "printable"),
            ("x-tenant", "hunter2\u{e9}", "printable"),
            ("x-tenant", "hunter2\0", "printable"),
        ];
        for (name, value, why) in reserved.into_iter().chain(rows) {
            let mut headers = Headers::default();
            headers.add("x-good", "v", false);
            headers.add(name, value, false);
            headers.add("te", "v", false);
            let wrong = headers.wrong().unwrap();
            assert!(
                wrong.contains(&format!("`{}`", name.escape_debug())),
                "{wrong}"
            );
            assert!(wrong.contains(why) && !wrong.contains("hunter2"), "{wrong}");
        }
    }
}
