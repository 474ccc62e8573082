//! Every kind of server certificate.

use std::time::{Duration, SystemTime};

use etcd_core::{Tls, TlsError};
use etcd_tests::tls::{Authority, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};

use crate::{authority, dial, named, refused, serve};

const NAME: &str = "localhost";
const ADDRESS: &str = "127.0.0.1";
/// 2001-01-01 and 2201-01-01, in seconds since 1970.
const PAST: u64 = 978_307_200;
const FUTURE: u64 = 7_289_654_400;

/// Connects under `host`, which must work.
async fn accepted(identity: Identity, host: &str, tls: Tls) {
    let server = serve(identity.server().unwrap()).await;
    let client = dial(&named(&server, host), tls).await.unwrap();
    client.put("k", "v").await.unwrap();
    let asked_for = (host.parse::<std::net::IpAddr>().is_err()).then_some(host);
    let handshake = server.handshakes()[0].clone().unwrap();
    assert_eq!(handshake.server_name.as_deref(), asked_for, "SNI");
    assert_eq!(handshake.client, None);
}

/// Connects under `host`, which must fail.
async fn rejected(identity: &Identity, host: &str, tls: Tls) -> TlsError {
    let server = serve(identity.server().unwrap()).await;
    let wrong = refused(&server, &named(&server, host), tls).await;
    assert!(
        server.handshakes().iter().all(Result::is_err),
        "the server was told"
    );
    wrong
}

fn issue<const N: usize>(
    names: [&str; N],
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    authority().issue(names, change).unwrap()
}

fn seconds(since_1970: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_1970)
}

#[tokio::test]
async fn certificates_of_a_trusted_authority_for_the_endpoints_name_or_address_are_taken() {
    let tls = || authority().trusted();
    accepted(issue([NAME], |_| {}), NAME, tls()).await;
    accepted(issue([ADDRESS], |_| {}), ADDRESS, tls()).await;
    accepted(
        issue(["other.example.com", NAME, ADDRESS], |_| {}),
        NAME,
        tls(),
    )
    .await;
    // One of several authorities, wherever it stands.
    let two = Authority::new("another")
        .unwrap()
        .trusted()
        .ca_pem(authority().pem());
    accepted(issue([NAME], |_| {}), NAME, two).await;
    let bundle = Authority::new("another").unwrap().pem() + &authority().pem();
    accepted(issue([NAME], |_| {}), NAME, Tls::new().ca_pem(bundle)).await;
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_with_both_times() {
    let expired = issue([ADDRESS], |params| {
        params.not_after = date_time_ymd(2001, 1, 1)
    });
    let wrong = rejected(&expired, ADDRESS, authority().trusted()).await;
    let text = wrong.to_string();
    assert!(
        text.contains("expired at 2001-01-01 00:00:00 UTC; it is 20"),
        "{text}"
    );
    assert!(matches!(wrong, TlsError::Expired { not_after, .. } if not_after == seconds(PAST)));

    let early = issue([ADDRESS], |params| {
        params.not_before = date_time_ymd(2201, 1, 1)
    });
    let wrong = rejected(&early, ADDRESS, authority().trusted()).await;
    let text = wrong.to_string();
    assert!(
        text.contains("valid from 2201-01-01 00:00:00 UTC on; it is 20"),
        "{text}"
    );
    assert!(
        matches!(wrong, TlsError::NotYetValid { not_before, .. } if not_before == seconds(FUTURE))
    );
}

#[tokio::test]
async fn a_certificate_for_other_names_is_refused_with_the_names_it_is_for() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let rows = [
        (
            issue(["etcd.example.com"], |_| {}),
            NAME,
            vec!["etcd.example.com"],
        ),
        (
            issue(["*.localhost", "10.0.0.1"], |_| {}),
            NAME,
            vec!["*.localhost", "10.0.0.1"],
        ),
        (issue([NAME], |_| {}), ADDRESS, vec![NAME]),
        (issue([ADDRESS, "::1"], |_| {}), NAME, vec![ADDRESS, "::1"]),
        (issue(["127.0.0.2"], |_| {}), ADDRESS, vec!["127.0.0.2"]),
        // An address that is written where names belong is no address.
        (
            issue([], |p| p.subject_alt_names = vec![dns(ADDRESS)]),
            ADDRESS,
            vec![ADDRESS],
        ),
        // Its common name is `localhost`.
        (issue([], |_| {}), NAME, vec![]),
    ];
    for (identity, host, names) in rows {
        let wrong = rejected(&identity, host, authority().trusted()).await;
        let names = names.into_iter().map(str::to_owned).collect();
        let expected = host.to_owned();
        assert_eq!(wrong, TlsError::WrongName { expected, names });
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_not_trusted_is_refused() {
    let tls = || authority().trusted();
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    assert_eq!(
        rejected(&stranger, ADDRESS, tls()).await,
        TlsError::UnknownIssuer
    );
    let namesake = Authority::new("etcd-tests").unwrap().identity().unwrap();
    let wrong = rejected(&namesake, ADDRESS, tls()).await.to_string();
    assert!(wrong.contains("was the CA made anew?"), "{wrong}");
    let own = Identity::self_signed().unwrap();
    assert_eq!(
        rejected(&own, ADDRESS, tls()).await,
        TlsError::UnknownIssuer
    );
    // A certificate for a server does not make its owner an authority.
    let leaf = issue([ADDRESS], |_| {});
    let forged = issued_by(&leaf, &KeyPair::from_pem(&leaf.key).unwrap());
    assert_ne!(forged.cert, leaf.cert);
    let wrong = rejected(&forged, ADDRESS, tls()).await;
    assert!(
        matches!(
            wrong,
            TlsError::UnknownIssuer | TlsError::BadCertificate { .. }
        ),
        "{wrong}"
    );
}

/// A certificate that is signed by the owner of another one, followed by that one.
fn issued_by(parent: &Identity, key: &KeyPair) -> Identity {
    let issuer = rcgen::Issuer::new(CertificateParams::default(), key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new([ADDRESS.to_owned()]).unwrap();
    let cert = params.signed_by(&own, &issuer).unwrap().pem() + &parent.cert;
    let key = own.serialize_pem();
    Identity { cert, key }
}

#[tokio::test]
async fn intermediate_certificates_must_come_with_the_servers() {
    let below = authority().intermediate("intermediate").unwrap();
    let identity = below.issue([NAME, ADDRESS], |_| {}).unwrap();
    accepted(identity.clone(), NAME, authority().trusted()).await;

    let end = "-----END CERTIFICATE-----\n";
    let leaf = identity
        .cert
        .split_inclusive(end)
        .next()
        .unwrap()
        .to_owned();
    let key = identity.key;
    let alone = Identity { cert: leaf, key };
    let wrong = rejected(&alone, ADDRESS, authority().trusted()).await;
    assert_eq!(wrong, TlsError::UnknownIssuer);
    // Trusting the intermediate one is enough.
    accepted(alone, ADDRESS, Tls::new().ca_pem(below.pem())).await;
}

#[tokio::test]
async fn a_certificate_that_is_for_something_else_than_serving_is_refused() {
    let client_only = issue([ADDRESS], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let authoritys_own = issue([ADDRESS], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for identity in [client_only, authoritys_own] {
        let wrong = rejected(&identity, ADDRESS, authority().trusted()).await;
        assert!(matches!(wrong, TlsError::BadCertificate { .. }), "{wrong}");
    }
}

#[tokio::test]
async fn the_server_name_option_replaces_the_endpoints_name() {
    let identity = || {
        issue(
            ["etcd.example.com", "*.pool.example.com", "10.0.0.1"],
            |_| {},
        )
    };
    for name in [
        "etcd.example.com",
        "ETCD.example.com.",
        "m0.pool.example.com",
        "10.0.0.1",
    ] {
        let server = serve(identity().server().unwrap()).await;
        let tls = authority().trusted().server_name(name);
        dial(&server.endpoint(), tls).await.unwrap();
    }
    for name in [
        "localhost",
        "pool.example.com",
        "a.m0.pool.example.com",
        "10.0.0.2",
    ] {
        let tls = authority().trusted().server_name(name);
        let wrong = rejected(&identity(), ADDRESS, tls).await;
        let TlsError::WrongName { expected, names } = wrong else {
            panic!("{wrong}");
        };
        assert_eq!((&*expected, names.len()), (name, 3));
    }
}

#[tokio::test]
async fn the_dangerous_option_takes_any_certificate_and_nothing_else_changes() {
    let tls = || Tls::new().danger_accept_invalid_certs();
    let stranger = Authority::new("stranger").unwrap();
    let bad = stranger.issue(["example.com"], |p| p.not_after = date_time_ymd(2001, 1, 1));
    accepted(bad.unwrap(), ADDRESS, tls()).await;
    accepted(Identity::self_signed().unwrap(), NAME, tls()).await;

    let mut config = authority().identity().unwrap().server().unwrap();
    config.alpn_protocols = vec![];
    let server = serve(config).await;
    assert_eq!(
        refused(&server, &server.endpoint(), tls()).await,
        TlsError::NoHttp2
    );
}
