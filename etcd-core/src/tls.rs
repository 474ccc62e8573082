//! How connections are encrypted, and how the two ends prove who they are.

mod context;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod material;
mod trust_all;

use std::fmt;
use std::path::PathBuf;

pub(crate) use self::context::{Context, Presenter};
use self::material::Source;

/// TLS to the members: whom to trust, and who this client is. Given to [`ClientBuilder::tls`](crate::ClientBuilder::tls).
///
/// TLS 1.2 or 1.3, and HTTP/2 by ALPN, which every etcd offers. A server's certificate must be issued by one of the trusted
/// authorities, be valid now, and name the endpoint's host among its subject alternative names; an IP address needs an IP
/// address there, and common names do not count. Nothing is trusted by itself: at least one of [`ca_file`](Self::ca_file),
/// [`ca_pem`](Self::ca_pem), `platform_roots` and `webpki_roots` is needed, and they add up.
///
/// Files are read when the client is made, and again before every new connection: a certificate, key or CA that was replaced
/// is used from the next connection on; connections that are open go on. What cannot be used (a certificate without its
/// key yet, a file half written) leaves the old one in place, with a warning in the log. Sessions are not resumed: every
/// connection makes a full handshake.
///
/// ```no_run
/// # async fn run() -> etcd_core::Result<()> {
/// use etcd_core::{Client, Tls};
/// let client = Client::builder()
///     .endpoints(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])
///     .tls(Tls::new().ca_file("/etc/etcd/ca.pem").identity_files("/etc/etcd/client.pem", "/etc/etcd/client-key.pem"))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    roots: Vec<Source>,
    #[cfg(feature = "tls-native-roots")]
    platform_roots: bool,
    #[cfg(feature = "tls-webpki-roots")]
    webpki_roots: bool,
    identity: Identity,
    server_name: Option<String>,
    accept_invalid: bool,
}

/// Where a certificate chain and its key are. One without the other is an error once the client is made.
#[derive(Clone, Debug, Default)]
struct Identity {
    chain: Option<Source>,
    key: Option<Source>,
}

impl Tls {
    /// Trusts nobody, and has no identity of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificate authorities in a PEM file, one or many.
    #[doc(alias = "cacert")]
    #[doc(alias = "TrustedCAFile")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Source::file(path));
        self
    }

    /// Trusts the certificate authorities in PEM text, one or many.
    #[doc(alias = "ca_certificate")]
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots.push(Source::pem(pem));
        self
    }

    /// Trusts the certificate authorities that this machine's operating system trusts. Read when the client is made.
    #[cfg(feature = "tls-native-roots")]
    #[doc(alias = "with_native_roots")]
    pub fn platform_roots(mut self) -> Self {
        self.platform_roots = true;
        self
    }

    /// Trusts the certificate authorities that Mozilla's browser trusts, as built into this program.
    #[cfg(feature = "tls-webpki-roots")]
    #[doc(alias = "with_webpki_roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.webpki_roots = true;
        self
    }

    /// Shows the servers a client certificate (mutual TLS): PEM files with the certificate, followed by intermediate ones if
    /// there are any, and with its key in PKCS#8, PKCS#1 or SEC1, not encrypted.
    #[doc(alias = "cert")]
    #[doc(alias = "CertFile")]
    pub fn identity_files(self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.cert_file(cert).key_file(key)
    }

    /// The certificate alone; text options come one by one.
    pub(crate) fn cert_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.identity.chain = Some(Source::file(path));
        self
    }

    /// The key alone.
    pub(crate) fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.identity.key = Some(Source::file(path));
        self
    }

    /// The same from PEM text.
    #[doc(alias = "identity")]
    pub fn identity_pem(mut self, cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.identity = Identity {
            chain: Some(Source::pem(cert)),
            key: Some(Source::pem(key)),
        };
        self
    }

    /// The host name or IP address that every server's certificate must be for, in place of the endpoint's own.
    #[doc(alias = "domain_name")]
    #[doc(alias = "ServerName")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// **Dangerous**: takes any certificate of any server for good, so that whoever can redirect a connection reads and
    /// changes everything on it, passwords too. For experiments; each client that is made so says so in the log.
    #[doc(alias = "insecure_skip_verify")]
    #[doc(alias = "InsecureSkipVerify")]
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.accept_invalid = true;
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Tls");
        f.field("roots", &self.roots);
        #[cfg(feature = "tls-native-roots")]
        f.field("platform_roots", &self.platform_roots);
        #[cfg(feature = "tls-webpki-roots")]
        f.field("webpki_roots", &self.webpki_roots);
        f.field("identity", &self.identity)
            .field("server_name", &self.server_name)
            .field("danger_accept_invalid_certs", &self.accept_invalid)
            .finish()
    }
}
