//! Certificates made for tests, and clients and servers that use them.
//!
//! With `ETCD_TESTS_TLS=1` in the environment, clusters, [`Target`](crate::cluster::Target)s and scripted servers speak TLS unless a test
//! says otherwise, with certificates of [`Authority::shared`]; [`connect`] and [`builder`] make the clients for either way.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use etcd_core::{Client, ClientBuilder, Error, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

/// What certificates are for unless a test says otherwise: everything that is on this machine.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Do clusters and servers speak TLS unless told otherwise?
pub fn by_default() -> bool {
    std::env::var("ETCD_TESTS_TLS").is_ok_and(|value| !["", "0"].contains(&value.as_str()))
}

/// The scheme of the endpoints of servers that speak TLS, or that do not.
pub fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Starts a client of these endpoints: with TLS if one of them is `https` or `unixs`, trusting [`Authority::shared`]. In place of
/// `Client::builder().endpoints(…)`, for plaintext and TLS alike.
pub fn builder<E: AsRef<str>>(endpoints: impl IntoIterator<Item = E>) -> ClientBuilder {
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    let secure = |endpoint: &E| {
        ["https:", "unixs:"]
            .iter()
            .any(|scheme| endpoint.as_ref().contains(scheme))
    };
    let builder = Client::builder();
    let builder = match endpoints.iter().any(secure) {
        // Without an authority no client is made, and it says so.
        true => builder.tls(Authority::shared().map_or_else(|_| Tls::new(), Authority::trusted)),
        false => builder,
    };
    builder.endpoints(endpoints)
}

/// Connects a client with default options. In place of `Client::connect`, for plaintext and TLS alike.
///
/// # Errors
/// As `Client::connect`.
pub async fn connect(endpoints: impl AsRef<str>) -> Result<Client, Error> {
    builder([endpoints]).connect().await
}

/// Connects a channel of tonic's, for the generated stubs, to one endpoint.
///
/// # Errors
/// When the endpoint is none, or does not answer.
pub async fn channel(endpoint: impl Into<String>) -> Result<Channel> {
    let endpoint = Channel::from_shared(endpoint.into())?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("https") => {
            let trusted = Certificate::from_pem(Authority::shared()?.pem());
            endpoint.tls_config(ClientTlsConfig::new().ca_certificate(trusted))?
        }
        _ => endpoint,
    };
    Ok(endpoint.connect().await?)
}

/// A certificate authority that nobody else trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates that lead from a leaf to the root, without the root, as PEM.
    between: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and the intermediate ones up to the root.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn new(name: &str) -> Result<Authority> {
        Ok(Authority {
            issuer: CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?)?,
            between: String::new(),
        })
    }

    /// The authority of this process.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn shared() -> Result<&'static Authority> {
        static SHARED: OnceLock<Result<Authority, String>> = OnceLock::new();
        let made =
            SHARED.get_or_init(|| Self::new("etcd-tests").map_err(|cause| cause.to_string()));
        made.as_ref()
            .map_err(|cause| anyhow::anyhow!(cause.clone()))
    }

    /// An authority below this one.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn intermediate(&self, name: &str) -> Result<Authority> {
        let issuer =
            CertifiedIssuer::signed_by(authority(name), KeyPair::generate()?, &self.issuer)?;
        let between = issuer.pem() + &self.between;
        Ok(Authority { issuer, between })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that trusts this authority.
    pub fn trusted(&self) -> Tls {
        Tls::new().ca_pem(self.pem())
    }

    /// A certificate for `localhost`, `127.0.0.1` and `::1`, for servers and clients.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn identity(&self) -> Result<Identity> {
        self.issue(NAMES, |_| {})
    }

    /// A certificate for these names and addresses, for servers and clients, valid for centuries; `change` changes that.
    ///
    /// # Errors
    /// When what is asked for cannot be expressed in a certificate.
    pub fn issue<const N: usize>(
        &self,
        names: [&str; N],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let cert = leaf(names, change)?.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity {
            cert: cert + &self.between,
            key: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// A certificate that nobody issued but its owner.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn self_signed() -> Result<Identity> {
        let key = KeyPair::generate()?;
        let cert = leaf(NAMES, |_| {})?.self_signed(&key)?.pem();
        let key = key.serialize_pem();
        Ok(Identity { cert, key })
    }

    /// The first certificate, as a server sees it.
    ///
    /// # Errors
    /// When the PEM text has been changed into something else.
    pub fn der(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.cert.as_bytes())?)
    }

    /// A server with this certificate that speaks HTTP/2.
    ///
    /// # Errors
    /// When certificate and key do not belong together.
    pub fn server(&self) -> Result<ServerConfig> {
        self.server_for(ALL_VERSIONS, None)
    }

    /// The same with some versions of TLS only; with `clients`, it requires certificates of that authority.
    ///
    /// # Errors
    /// As [`Identity::server`].
    pub fn server_for(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Result<ServerConfig> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match clients {
            Some(authority) => {
                let roots = Arc::new(roots(authority)?);
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?,
                )
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(self.chain()?, self.private_key()?)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// A client with this certificate that trusts `servers`, for use without etcd-core.
    pub(crate) fn client(&self, servers: &Authority) -> Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(servers)?)
            .with_client_auth_cert(self.chain()?, self.private_key()?)?;
        Ok(config)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect();
        chain.context("no certificates")
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).context("no key")
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf<const N: usize>(
    names: [&str; N],
    change: impl FnOnce(&mut CertificateParams),
) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    change(&mut params);
    Ok(params)
}

fn roots(authority: &Authority) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone())?;
    Ok(roots)
}

/// Not the process's default: the tests of one binary may set it to something else.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
