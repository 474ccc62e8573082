//! Servers that ask who the client is.

use etcd_core::{Tls, TlsError};
use etcd_tests::scripted::Scripted;
use etcd_tests::tls::{Authority, Identity};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::{authority, dial, refused, serve};

/// A server judges the client during the handshake of TLS 1.2, and after that of TLS 1.3.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

async fn asking(version: &'static SupportedProtocolVersion) -> Scripted {
    let identity = authority().identity().unwrap();
    serve(identity.server_for(&[version], Some(authority())).unwrap()).await
}

fn with(identity: &Identity) -> Tls {
    let tls = authority().trusted();
    tls.identity_pem(&identity.cert, &identity.key)
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let identity = authority().identity().unwrap();
    for version in VERSIONS {
        let server = asking(version).await;
        let client = dial(&server.endpoint(), with(&identity)).await.unwrap();
        client.put("k", "v").await.unwrap();
        let handshake = server.handshakes()[0].clone().unwrap();
        assert_eq!(handshake.client, Some(identity.der().unwrap()));
    }
}

#[tokio::test]
async fn a_certificate_is_shown_with_its_intermediates_and_only_on_demand() {
    let below = authority().intermediate("clients").unwrap();
    let identity = below.identity().unwrap();
    let server = asking(&TLS13).await;
    dial(&server.endpoint(), with(&identity)).await.unwrap();

    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    dial(&server.endpoint(), with(&identity)).await.unwrap();
    assert_eq!(server.handshakes()[0].clone().unwrap().client, None);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_that_it_needs_one() {
    for version in VERSIONS {
        let server = asking(version).await;
        let wrong = refused(&server, &server.endpoint(), authority().trusted()).await;
        assert_eq!(wrong, TlsError::ClientCertificateRequired);
    }
}

#[tokio::test]
async fn a_client_is_told_when_the_server_refuses_its_certificate_and_why() {
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    let expired = authority().issue([], |p| p.not_after = date_time_ymd(2001, 1, 1));
    let server_only = authority().issue(["etcd.example.com"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let rows = [
        (stranger, "UnknownCA"),
        (expired.unwrap(), "CertificateExpired"),
        (server_only.unwrap(), "UnsupportedCertificate"),
    ];
    for (identity, reason) in rows {
        for version in VERSIONS {
            let server = asking(version).await;
            let wrong = refused(&server, &server.endpoint(), with(&identity)).await;
            let reason = reason.to_owned();
            assert_eq!(wrong, TlsError::ClientCertificateRefused { reason });
        }
    }
}
