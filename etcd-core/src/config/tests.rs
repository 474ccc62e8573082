use std::ffi::OsString;

use super::*;

fn parsed(text: &str) -> ClientBuilder {
    text.parse().unwrap()
}

/// The option that is wrong, and why.
fn refused(text: &str) -> (&'static str, String) {
    match text.parse::<ClientBuilder>() {
        Err(Error::Config(wrong)) => (wrong.option, wrong.reason.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

/// A value of the right kind that is no option's default.
fn example(option: &str, setter: Setter) -> &'static str {
    match setter {
        Setter::List(_) | Setter::Text(_) | Setter::Secret(_) => "3.6",
        Setter::Time(_) => "77s",
        Setter::Count(_) => "77",
        Setter::Flag(_) if option == "tcp_nodelay" => "false",
        Setter::Flag(_) => "true",
        Setter::Pair(_) => "x-tenant:billing",
        Setter::Choice(words) => words.last().unwrap().0,
    }
}

#[test]
fn every_option_sets_one_thing_of_its_own() {
    let print = |builder: &ClientBuilder| format!("{builder:#?}");
    let plain = print(&parsed("a"));
    let mut seen = vec![plain];
    for (option, setter) in OPTIONS {
        let printed = print(&parsed(&format!("a?{option}={}", example(option, *setter))));
        assert!(
            !seen.contains(&printed),
            "{option} sets nothing, or what another one sets"
        );
        seen.push(printed);
    }
    let with_features = [
        cfg!(feature = "tls-native-roots"),
        cfg!(feature = "tls-webpki-roots"),
    ];
    let with_features = with_features.into_iter().filter(|with| *with).count();
    assert_eq!(OPTIONS.len(), 39 + with_features);
}

#[test]
fn an_option_that_cannot_be_zero_says_so_by_its_name() {
    let may_be_zero = [
        "max_txn_ops",
        "max_request_bytes",
        "auto_sync",
        "health_check_interval",
        "tcp_keepalive",
        "tcp_user_timeout",
    ];
    for (option, setter) in OPTIONS {
        if matches!(setter, Setter::Time(_) | Setter::Count(_)) {
            let checked = parsed(&format!("a?{option}=0")).options.check();
            assert_eq!(checked.is_ok(), may_be_zero.contains(option), "{option}");
            if let Err(error) = checked {
                assert!(
                    error.to_string().contains(&format!("option {option}:")),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn a_connection_string_is_endpoints_and_options() {
    let builder = parsed(
        "http://a:1, b?request_timeout=1m30s&name=a%26b%3dc&max_txn_ops=512&endpoints=c&endpoints=d",
    );
    assert_eq!(builder.endpoints, ["http://a:1, b", "c", "d"]);
    assert_eq!(builder.options.request_timeout, Duration::from_secs(90));
    assert_eq!(&*builder.options.name, "a&b=c");
    assert_eq!(builder.options.limits.max_txn_ops, 512);
    for plain in ["a,b", "a,b?", "a,b?&"] {
        assert_eq!(parsed(plain).endpoints, ["a,b"]);
    }
}

#[test]
fn what_a_connection_string_cannot_say_is_refused_by_name() {
    let (option, why) = refused("a?reqest_timeout=5s");
    assert_eq!(option, "options");
    assert!(
        why.contains("`reqest_timeout`") && why.contains("request_timeout"),
        "{why}"
    );
    for (text, wrong, why) in [
        ("a?=5s", "options", "``"),
        ("a?request_timeout", "request_timeout", "``"),
        ("a?request_timeout=soon", "request_timeout", "`soon`"),
        (
            "a?request_timeout=1s&request_timeout=2s",
            "request_timeout",
            "twice",
        ),
        ("a?max_txn_ops=-1", "max_txn_ops", "`-1`"),
        ("a?max_txn_ops=many", "max_txn_ops", "`many`"),
        (
            "a?tls_danger_accept_invalid_certs=yes",
            "tls_danger_accept_invalid_certs",
            "`yes`",
        ),
        ("a?max_txn_ops=1.5", "max_txn_ops", "`1.5`"),
        ("a?name=%ff", "connection string", "UTF-8"),
        ("a?b?c", "options", "`b?c`"),
    ] {
        let (option, reason) = refused(text);
        assert_eq!(option, wrong, "{text}");
        assert!(reason.contains(why), "{text}: {reason}");
    }
    let (option, why) = refused("a?sensitive_header=hunter2");
    assert_eq!(option, "sensitive_header");
    assert!(!why.contains("hunter2"), "{why}");
}

fn env(variables: &[(&str, &str)]) -> Result<ClientBuilder> {
    ClientBuilder::from_variables(|name| {
        let value = variables.iter().find(|(known, _)| *known == name)?.1;
        Some(value.into())
    })
}

#[test]
fn the_environment_is_read_as_etcdctl_reads_it() {
    let list = "http://10.0.0.1:2379, 10.0.0.2:2379";
    let builder = env(&[("ETCDCTL_ENDPOINTS", list), ("ETCDCTL_USER", "")]).unwrap();
    assert_eq!(builder.endpoints, [list]);
    assert!(env(&[]).unwrap().endpoints.is_empty());
    assert!(builder.options.tls.is_none());
    let files = [
        ("ETCDCTL_ENDPOINTS", "https://10.0.0.1,unixs:/run/etcd.sock"),
        ("ETCDCTL_CACERT", "/ca"),
        ("ETCDCTL_CERT", "/cert"),
        ("ETCDCTL_KEY", "/key"),
    ];
    let tls = format!("{:?}", env(&files).unwrap().options.tls.unwrap());
    let same = Tls::new().ca_file("/ca").identity_files("/cert", "/key");
    assert_eq!(tls, format!("{same:?}"));
    assert!(
        env(&[("ETCDCTL_ENDPOINTS", "")])
            .unwrap()
            .endpoints
            .is_empty()
    );
}

#[test]
fn a_variable_that_cannot_be_used_is_refused_by_name() {
    let refused = |variables: &[(&str, &str)]| match env(variables) {
        Err(Error::Config(wrong)) => (wrong.option, wrong.reason.clone()),
        other => panic!("{other:?}"),
    };
    let (variable, why) = refused(&[("ETCDCTL_ENDPOINTS", "a,http://b:0")]);
    assert_eq!(variable, "ETCDCTL_ENDPOINTS");
    assert!(
        why.contains("`http://b:0`") && why.contains("port"),
        "{why}"
    );
    let (name, secret) = ("ETCDCTL_USER", "ETCDCTL_PASSWORD");
    for (variables, wrong, why) in [
        (&[(name, "svc")], secret, "not set"),
        (&[(secret, "hunter2")], secret, "ETCDCTL_USER is not set"),
        (&[(name, ":hunter2")], name, "no user"),
        (&[(name, "svc:")], name, "no password"),
    ] {
        let (option, reason) = refused(variables);
        assert_eq!(option, wrong, "{reason}");
        assert!(
            reason.contains(why) && !reason.contains("hunter2"),
            "{reason}"
        );
    }
}

#[test]
fn user_and_password_are_read_as_etcdctl_reads_them() {
    let (name, secret) = ("ETCDCTL_USER", "ETCDCTL_PASSWORD");
    for (variables, user, password) in [
        (vec![(name, "svc"), (secret, "hunter2")], "svc", "hunter2"),
        (vec![(name, "svc:hunt:er2")], "svc", "hunt:er2"),
        (
            vec![(name, "svc:x"), (secret, "hunter2")],
            "svc:x",
            "hunter2",
        ),
        (vec![(name, "svc:hunter2"), (secret, "")], "svc", "hunter2"),
    ] {
        let credentials = env(&variables).unwrap().options.credentials;
        assert_eq!(credentials.user.as_deref(), Some(user));
        assert_eq!(credentials.password.as_deref(), Some(password));
    }
}

#[test]
fn a_connection_string_has_user_and_password_in_front_of_its_hosts_or_as_options() {
    for text in [
        "https://svc:hunter2@a,https://b",
        "https://svc@a,https://b?password=hunter2",
        "https://a,https://b?user=svc&password=hunter2",
    ] {
        let builder = parsed(text);
        assert_eq!(builder.endpoints, ["https://a,https://b"]);
        let credentials = &builder.options.credentials;
        assert_eq!(credentials.user.as_deref(), Some("svc"));
        assert_eq!(credentials.password.as_deref(), Some("hunter2"));
        assert!(!format!("{builder:?}").contains("hunter2"));
    }
    for (text, option) in [
        ("https://svc@a?user=svc", "user"),
        ("svc:hunter2@a?password=hunter2", "password"),
        ("svc:hunter2@a,svc:hunter3@b", "connection string"),
    ] {
        let (wrong, why) = refused(text);
        assert_eq!(wrong, option);
        assert!(!why.contains("hunter"), "{why}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt;
    let read = ClientBuilder::from_variables(|_| Some(OsString::from_vec(vec![0xff])));
    assert!(
        read.unwrap_err()
            .to_string()
            .contains("option ETCDCTL_ENDPOINTS: its value is not UTF-8")
    );
}
