//! Authorities that the operating system or this program brings along.

use std::process::Stdio;

use etcd_core::{Tls, TlsError};
use etcd_tests::cluster::Cluster;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{LIMIT, authority, refused, serve};

/// What a program says first that trusts the operating system's authorities, which are those in `file`.
async fn first_line(endpoint: &str, file: &std::path::Path) -> Option<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_lease_holder"))
        .arg(format!(
            "{endpoint}?tls_platform_roots=true&dial_timeout=20s"
        ))
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    timeout(LIMIT, lines.next_line()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_the_operating_system_trusts_can_be_trusted() {
    let cluster = Cluster::builder().tls(true).start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (ours, others) = (dir.path().join("ours.pem"), dir.path().join("others.pem"));
    std::fs::write(&ours, authority().pem()).unwrap();
    let other = etcd_tests::tls::Authority::new("other").unwrap();
    std::fs::write(&others, other.pem()).unwrap();
    let endpoint = cluster.endpoint(0);
    let lease = first_line(&endpoint, &ours).await.unwrap();
    assert!(lease.parse::<i64>().is_ok(), "{lease}");
    assert_eq!(first_line(&endpoint, &others).await, None);
}

#[tokio::test]
async fn authorities_of_the_web_do_not_stand_for_one_of_ones_own() {
    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    let wrong = refused(&server, &server.endpoint(), Tls::new().webpki_roots()).await;
    assert!(matches!(wrong, TlsError::UnknownIssuer), "{wrong}");
    // Authorities add up.
    let both = authority().trusted().webpki_roots();
    crate::dial(&server.endpoint(), both).await.unwrap();
}
