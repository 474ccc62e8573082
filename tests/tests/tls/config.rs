//! What no client is made from, and what is never shown.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use etcd_core::{Client, Error, Tls};

use crate::{authority, dial, serve};

/// Why no client can be made with this.
#[track_caller]
fn wrong(endpoint: &str, tls: Tls) -> (&'static str, String) {
    let built = Client::builder().endpoints([endpoint]).tls(tls).build();
    match built.unwrap_err() {
        Error::Config(wrong) => (wrong.option, wrong.to_string()),
        error => panic!("{error}"),
    }
}

/// What cannot be used, the part of it that is named, and what is said about it.
fn unusable(dir: &Path) -> Vec<(Tls, &'static str, &'static str)> {
    let path = |name: &str| dir.join(name);
    let ca = |name: &str| Tls::new().ca_file(path(name));
    let identity = |cert: &str, key: &str| ca("ca").identity_files(path(cert), path(key));
    vec![
        (Tls::new(), "", "no certificate authority is trusted"),
        (ca("absent"), "absent", "No such file"),
        (ca("empty"), "empty", "it has no certificate"),
        (ca("key"), "key", "it has no certificate"),
        (ca("half-cert"), "half-cert", "it ends in the middle"),
        (ca("garbage"), "garbage", "is not base64"),
        (
            Tls::new().ca_pem("nothing"),
            "the PEM text",
            "it has no certificate",
        ),
        (identity("absent", "key"), "absent", "No such file"),
        (identity("cert", "absent"), "absent", "No such file"),
        (identity("cert", "cert"), "cert", "it has no private key"),
        (identity("key", "key"), "key", "it has no certificate"),
        (
            identity("half-cert", "key"),
            "half-cert",
            "it ends in the middle",
        ),
        (
            identity("cert", "half-key"),
            "half-key",
            "it ends in the middle",
        ),
        (
            identity("cert", "other-key"),
            "other-key",
            "does not belong to the certificate",
        ),
        (
            ca("ca").server_name("two words"),
            "two words",
            "neither a host name nor",
        ),
    ]
}

#[tokio::test]
async fn files_and_texts_that_cannot_be_used_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (one, other) = (
        authority().identity().unwrap(),
        authority().identity().unwrap(),
    );
    let half = |text: &str| text[..text.len() / 2].to_owned();
    fs::write(path("ca"), authority().pem()).unwrap();
    fs::write(path("cert"), &one.cert).unwrap();
    fs::write(path("key"), &one.key).unwrap();
    fs::write(path("other-key"), &other.key).unwrap();
    fs::write(path("half-cert"), half(&one.cert)).unwrap();
    fs::write(path("half-key"), half(&one.key)).unwrap();
    fs::write(
        path("garbage"),
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    fs::write(path("empty"), "").unwrap();
    let mixed = Tls::new()
        .ca_file(path("ca"))
        .identity_pem(&one.cert, &other.key);
    let mut rows = unusable(dir.path());
    rows.push((mixed, "the PEM text", "does not belong"));
    for (tls, name, what) in rows {
        let (option, text) = wrong("https://127.0.0.1:1", tls);
        assert_eq!(option, "tls");
        assert!(
            text.contains(name) && text.contains(what),
            "{name}, {what}: {text}"
        );
    }
}

#[tokio::test]
async fn schemes_are_not_mixed_and_nobody_is_dialled_when_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = || authority().trusted();
    for list in [
        format!("http://{address}"),
        format!("https://{address},http://{address}"),
        format!("{address},HTTP://{address}"),
    ] {
        let (option, text) = wrong(&list, tls());
        assert_eq!(option, "endpoints");
        assert!(text.contains("makes no exception"), "{text}");
    }
    for endpoint in [
        format!("https://{address}"),
        "unixs:/run/etcd.sock".to_owned(),
    ] {
        let list = [format!("http://{address}"), endpoint];
        let error = Client::builder()
            .endpoints(list)
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains("TLS is not configured"), "{error}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn in_a_client_with_tls_an_address_without_a_scheme_is_https() {
    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    let client = dial(&server.address(), authority().trusted())
        .await
        .unwrap();
    assert_eq!(&*client.endpoints().rows()[0].endpoint, server.endpoint());
    client.endpoint(server.address()).get("k").await.unwrap();
    let plain = server.endpoint().replace("https", "http");
    let error = client.endpoint(plain).get("k").await.unwrap_err();
    assert!(error.to_string().contains("makes no exception"), "{error}");
    let schemes: Vec<_> = server.requests("/etcdserverpb.KV/Range");
    assert!(
        schemes[0]
            .headers
            .contains(&(":scheme".to_owned(), "https".to_owned()))
    );
}

#[tokio::test]
async fn a_name_that_no_certificate_can_have_needs_the_server_name_option() {
    for endpoint in ["https://-a:1", "unixs:/run/etcd#1"] {
        let (option, text) = wrong(endpoint, authority().trusted());
        assert_eq!(option, "endpoints");
        assert!(text.contains("server_name"), "{text}");
        let tls = authority().trusted().server_name("etcd");
        assert!(
            Client::builder()
                .endpoints([endpoint])
                .tls(tls)
                .build()
                .is_ok()
        );
    }
}

#[tokio::test]
async fn keys_are_shown_nowhere() {
    let identity = authority().identity().unwrap();
    let secret = identity.key.lines().nth(1).unwrap().to_owned();
    let bytes = format!("{:?}", &secret.as_bytes()[..8]);
    let bytes = bytes.trim_matches(['[', ']']);
    let tls = authority()
        .trusted()
        .identity_pem(&identity.cert, &identity.key);
    let builder = Client::builder()
        .endpoints(["https://127.0.0.1:1"])
        .tls(tls.clone());
    let client = builder.clone().build().unwrap();
    // A key in the wrong place, or cut off, must not appear in the complaint either.
    let swapped = authority()
        .trusted()
        .identity_pem(&identity.key, &identity.cert);
    let cut = identity.key.replace("-----END", "");
    let cut = Tls::new().ca_pem(&cut).identity_pem(&identity.cert, &cut);
    let shown = [
        format!("{tls:?} {tls:#?}"),
        format!("{builder:?}"),
        format!("{client:?}"),
        wrong("https://127.0.0.1:1", swapped).1,
        wrong("https://127.0.0.1:1", cut.clone()).1,
        format!("{cut:?}"),
    ];
    for text in shown {
        assert!(!text.contains(&secret) && !text.contains(bytes), "{text}");
    }
    assert!(format!("{tls:?}").contains("danger_accept_invalid_certs: false"));
}
