use super::*;

const USER: fn() -> Credentials = || Credentials {
    user: Some("svc".into()),
    password: Some("canary".into()),
    ..Credentials::default()
};

fn provider() -> Credentials {
    let mut credentials = Credentials::default();
    credentials.provide(|| async { Ok::<_, Error>("canary") });
    credentials
}

fn check(
    credentials: &Credentials,
    endpoint: &str,
    tls: bool,
) -> Result<(), (&'static str, String)> {
    let endpoint = Endpoint::parse(endpoint, tls).unwrap();
    credentials.check(&[endpoint]).map_err(|error| match error {
        Error::Config(wrong) => (wrong.option, wrong.reason.clone()),
        error => panic!("{error}"),
    })
}

#[test]
fn secrets_go_over_plaintext_only_where_they_stay_on_this_machine() {
    let here = [
        "localhost",
        "LOCALHOST.",
        "etcd.localhost",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "unix:/run/etcd.sock",
    ];
    let elsewhere = [
        "10.0.0.1",
        "etcd",
        "localhost.example.com",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "0.0.0.0",
        "1.127.0.0",
    ];
    for credentials in [USER(), provider()] {
        for endpoint in here {
            check(&credentials, endpoint, false).unwrap();
        }
        for endpoint in elsewhere {
            let (option, why) = check(&credentials, endpoint, false).unwrap_err();
            assert_eq!(option, "allow_plaintext_credentials");
            assert!(
                why.contains("not encrypted") && !why.contains("canary"),
                "{why}"
            );
            check(&credentials, endpoint, true).unwrap();
            check(&Credentials::default(), endpoint, false).unwrap();
            let allow_plaintext = true;
            let allowed = Credentials {
                allow_plaintext,
                ..credentials.clone()
            };
            check(&allowed, endpoint, false).unwrap();
        }
    }
}

#[test]
fn half_of_user_and_password_and_two_ways_to_a_token_are_refused_by_name() {
    let text = |text: &str| Some(Arc::from(text));
    let with = |user, password| Credentials {
        user,
        password,
        ..Credentials::default()
    };
    let both = Credentials {
        provider: provider().provider,
        ..USER()
    };
    for (credentials, option) in [
        (with(text("svc"), None), "password"),
        (with(None, text("canary")), "user"),
        (with(text(""), text("canary")), "user"),
        (with(text("svc"), text("")), "password"),
        (both, "token_provider"),
    ] {
        let (wrong, why) = check(&credentials, "localhost", false).unwrap_err();
        assert_eq!(wrong, option);
        assert!(!why.contains("canary"), "{why}");
    }
}

#[test]
fn what_is_printed_shows_what_was_given_but_no_secret() {
    for (credentials, shown) in [
        (USER(), r#"user: Some("svc")"#),
        (provider(), "token_provider: Some"),
    ] {
        let printed = format!("{credentials:?}");
        assert!(
            printed.contains(shown) && !printed.contains("canary"),
            "{printed}"
        );
    }
}
