use super::*;

#[test]
fn endpoints_are_read_and_normalised() {
    for (text, host, port, authority) in [
        ("http://10.0.0.1:2379", "10.0.0.1", 2379, "10.0.0.1:2379"),
        (
            "http://etcd-0.etcd:4001/",
            "etcd-0.etcd",
            4001,
            "etcd-0.etcd:4001",
        ),
        (
            "HTTP://Etcd_A.Example.com:1",
            "etcd_a.example.com",
            1,
            "etcd_a.example.com:1",
        ),
        ("http://localhost", "localhost", 2379, "localhost:2379"),
        ("localhost:65535", "localhost", 65535, "localhost:65535"),
        ("localhost:65535/", "localhost", 65535, "localhost:65535"),
        ("localhost", "localhost", 2379, "localhost:2379"),
        ("etcd.svc.", "etcd.svc.", 2379, "etcd.svc.:2379"),
        ("unix", "unix", 2379, "unix:2379"),
        ("[::1]:2479", "::1", 2479, "[::1]:2479"),
        ("[::1]", "::1", 2379, "[::1]:2379"),
        (
            "http://[2001:DB8:0::5]:80/",
            "2001:db8::5",
            80,
            "[2001:db8::5]:80",
        ),
    ] {
        let endpoint = Endpoint::parse(text, false).unwrap();
        assert_eq!(endpoint.address(), Address::Tcp { host, port }, "{text}");
        assert_eq!(endpoint.host(), host);
        assert_eq!(endpoint.authority(), authority);
        assert_eq!(endpoint.to_string(), format!("http://{authority}"));
    }
}

#[test]
fn bad_endpoints_are_refused_and_named() {
    for (text, wrong) in [
        ("", "blank"),
        ("ftp://a:1", "unknown scheme"),
        ("://a:1", "unknown scheme"),
        ("https://a:1", "TLS is not configured"),
        ("HTTPS://a:1", "TLS is not configured"),
        ("unixs:///run/etcd.sock", "TLS is not configured"),
        ("UnixS:etcd.sock", "TLS is not configured"),
        ("unix:", "path of the socket is missing"),
        ("unix:///", "path of the socket is missing"),
        ("unix:/run/", "path of the socket is missing"),
        ("http://", "host is missing"),
        ("http://:2379", "host is missing"),
        ("http://a:", "port is not a number"),
        ("a:0", "port is not a number"),
        ("a:70000", "port is not a number"),
        ("a:+80", "port is not a number"),
        ("a:b", "port is not a number"),
        ("http://a:1/v3", "path"),
        ("http://a:1//", "path"),
        ("http://a:1?x", "path"),
        ("http://a:1#x", "path"),
        ("a b:1", "space"),
        ("a\u{a0}:1", "space"),
        ("::1", "needs brackets"),
        ("http://::1:2379", "needs brackets"),
        ("[::1", "not closed"),
        ("[::1]2379", "only a port"),
        ("[]:1", "no IPv6 address"),
        ("[10.0.0.1]:1", "no IPv6 address"),
        ("a..b", "neither a host name nor"),
        ("zürich:1", "neither a host name nor"),
        ("10.0.0.256:1", "IPv4"),
        ("127.1:1", "IPv4"),
    ] {
        let error = Endpoint::parse(text, false).unwrap_err().to_string();
        assert!(error.contains(wrong), "{text}: {error}");
        assert!(error.contains(&format!("`{text}`")), "{text}: {error}");
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_repeated() {
    for text in [
        "http://root:s3cret@a:1",
        "root:s3cret@a:1",
        "https://root:s3cret@a:1",
        "http://root:s3@cret@a:1",
    ] {
        let error = Endpoint::parse(text, false).unwrap_err().to_string();
        assert!(
            !error.contains("s3") && !error.contains("cret") && error.contains("…@a:1"),
            "{error}"
        );
    }
}

#[test]
fn lists_are_split_trimmed_and_freed_of_duplicates() {
    let parse = |list: &[&str]| match Endpoint::parse_list(list, false) {
        Ok(list) => Ok(list.iter().map(Endpoint::to_string).collect::<Vec<_>>()),
        Err(error) => Err(error.to_string()),
    };
    let ab = Ok(vec!["http://a:2379".to_owned(), "http://b:1".to_owned()]);
    assert_eq!(parse(&["a", "b:1"]), ab);
    assert_eq!(parse(&[" a , http://b:1/ "]), ab);
    assert_eq!(parse(&["a,b:1", "http://A:2379,a"]), ab);
    assert!(parse(&[]).is_err_and(|error| error.contains("empty")));
    for list in [&[""][..], &["a", " "], &["a,,b"], &["a,"]] {
        assert!(
            parse(list).is_err_and(|error| error.contains("blank")),
            "{list:?}"
        );
    }
}

#[test]
fn in_a_client_with_tls_every_endpoint_is_encrypted() {
    for (text, url) in [
        ("https://a:1", "https://a:1"),
        ("HTTPS://A", "https://a:2379"),
        ("a:1", "https://a:1"),
        ("a", "https://a:2379"),
        ("[::1]", "https://[::1]:2379"),
        ("unix:/run/etcd.sock", "unixs:///run/etcd.sock"),
        ("unixs:etcd.sock", "unixs:etcd.sock"),
    ] {
        let endpoint = Endpoint::parse(text, true).unwrap();
        assert!(endpoint.is_tls());
        assert_eq!(endpoint.to_string(), url);
    }
    for text in ["http://a:1", "HTTP://a:1"] {
        let error = Endpoint::parse(text, true).unwrap_err().to_string();
        assert!(error.contains("makes no exception"), "{error}");
    }
}

#[test]
fn sockets_are_read_with_absolute_and_relative_paths() {
    for (text, path, host, authority) in [
        (
            "unix:/run/etcd.sock",
            "/run/etcd.sock",
            "etcd.sock",
            "etcd.sock",
        ),
        (
            "unix:///run/etcd.sock",
            "/run/etcd.sock",
            "etcd.sock",
            "etcd.sock",
        ),
        ("UNIX:///Run/Etcd", "/Run/Etcd", "Etcd", "Etcd"),
        ("unix:///tmp/abc:1234", "/tmp/abc:1234", "abc", "abc:1234"),
        ("unix:etcd.sock", "etcd.sock", "etcd.sock", "etcd.sock"),
        (
            "unix://localhost:m0",
            "localhost:m0",
            "localhost",
            "localhost:m0",
        ),
        (
            "unix:127.0.0.1:8080",
            "127.0.0.1:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
        ),
        ("unix:sub/a#b", "sub/a#b", "a#b", "localhost"),
    ] {
        let endpoint = Endpoint::parse(text, false).unwrap();
        assert_eq!(endpoint.address(), Address::Unix(Path::new(path)), "{text}");
        assert_eq!(endpoint.host(), host);
        assert_eq!(endpoint.authority(), authority);
        assert!(!endpoint.is_tls());
        let again = Endpoint::parse(&endpoint.to_string(), false).unwrap();
        assert_eq!(again, endpoint);
    }
    let long = format!("unix:/{}", "x".repeat(108));
    let error = Endpoint::parse(&long, false).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
}
