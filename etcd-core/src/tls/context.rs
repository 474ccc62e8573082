//! TLS as one client uses it: made from [`Tls`] once, and kept up to date with its files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::Tls;
use super::material::Texts;
use super::trust_all::TrustAll;
use crate::error::{Error, Result};

/// What TLS connections are made with.
pub(crate) struct Context {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    /// What is trusted besides the sources in `tls`.
    built_in: RootCertStore,
    server_name: Option<ServerName<'static>>,
    current: Mutex<Current>,
}

/// What the sources held last.
struct Current {
    texts: Texts,
    in_use: Arc<InUse>,
    /// What they held last that could not be used: said once.
    refused: Option<Result<Texts, String>>,
}

/// What new connections are made with.
struct InUse {
    config: ClientConfig,
    identity: Option<Arc<CertifiedKey>>,
}

/// Shows this client's certificate in one handshake, and remembers whether it was asked for.
#[derive(Debug)]
pub(crate) struct Presenter {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Context {
    /// Reads and checks everything. Blocks on files.
    ///
    /// # Errors
    /// `Config`, which says what cannot be used and why, never what stands in it.
    pub(crate) fn new(tls: Tls) -> Result<Self> {
        let config = |wrong: String| Error::config("tls", wrong);
        let provider = Arc::new(provider().ok_or_else(|| {
            config(
                "built without cryptography: enable the feature `ring` or `aws-lc-rs` of etcd-core"
                    .to_owned(),
            )
        })?);
        let server_name = match &tls.server_name {
            Some(name) => Some(parse_name(name).ok_or_else(|| {
                config(format!("`{name}` is neither a host name nor an IP address"))
            })?),
            None => None,
        };
        let built_in = built_in_roots(&tls).map_err(config)?;
        let texts = tls.read().map_err(config)?;
        let in_use = InUse::new(&tls, &texts, &built_in, &provider).map_err(config)?;
        if tls.accept_invalid {
            tracing::warn!(
                "this client takes any certificate of any server: connections are not secure"
            );
        }
        let current = Current {
            texts,
            in_use: Arc::new(in_use),
            refused: None,
        };
        Ok(Self {
            tls,
            provider,
            built_in,
            server_name,
            current: Mutex::new(current),
        })
    }

    /// Does [`refresh`](Self::refresh) read files?
    pub(crate) fn has_files(&self) -> bool {
        self.tls.has_files()
    }

    /// Takes over what the files hold now, if that can be used. Says so when they changed, or why they cannot be used, once
    /// for each change. Blocks on files.
    pub(crate) fn refresh(&self) -> Option<Result<(), String>> {
        let read = self.tls.read();
        let mut current = self.lock();
        if read.as_ref() == Ok(&current.texts) {
            current.refused = None;
            return None;
        }
        if current.refused.as_ref() == Some(&read) {
            return None;
        }
        let made = read.clone().and_then(|texts| {
            let in_use = InUse::new(&self.tls, &texts, &self.built_in, &self.provider)?;
            Ok((texts, Arc::new(in_use)))
        });
        match made {
            Ok((texts, in_use)) => {
                *current = Current {
                    texts,
                    in_use,
                    refused: None,
                };
                Some(Ok(()))
            }
            Err(wrong) => {
                current.refused = Some(read);
                Some(Err(wrong))
            }
        }
    }

    /// The configuration of one new connection.
    pub(crate) fn connection(&self) -> (Arc<ClientConfig>, Arc<Presenter>) {
        let in_use = self.lock().in_use.clone();
        let presenter = Arc::new(Presenter {
            identity: in_use.identity.clone(),
            asked: AtomicBool::new(false),
        });
        let mut config = in_use.config.clone();
        config.client_auth_cert_resolver = presenter.clone();
        (Arc::new(config), presenter)
    }

    /// The name that the server's certificate must have; `host` is the endpoint's own. `None` if no certificate can have it.
    pub(crate) fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| parse_name(host))
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tls.fmt(f)
    }
}

impl InUse {
    fn new(
        tls: &Tls,
        texts: &Texts,
        built_in: &RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = built_in.clone();
        tls.add_roots(texts, &mut roots)?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if tls.accept_invalid {
            let verifier = Arc::new(TrustAll(provider.clone()));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else if roots.is_empty() {
            return Err(
                "no certificate authority is trusted: see `Tls::ca_file` and the methods beside it"
                    .to_owned(),
            );
        } else {
            builder.with_root_certificates(roots)
        };
        // Each connection brings its own presenter of the identity.
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Nothing is resumed: who is at the other end is found out each time.
        config.resumption = Resumption::disabled();
        let identity = tls.identity(texts, provider)?;
        Ok(Self { config, identity })
    }
}

impl Presenter {
    /// Did the server ask for a certificate?
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.has_identity()
    }
}

fn parse_name(name: &str) -> Option<ServerName<'static>> {
    // Names in certificates and in SNI have no dot at the end.
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name.to_owned()).ok()
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> Option<CryptoProvider> {
    Some(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn provider() -> Option<CryptoProvider> {
    Some(rustls::crypto::ring::default_provider())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn provider() -> Option<CryptoProvider> {
    None
}

/// The authorities that come with the operating system or with this program, as far as they are asked for.
#[allow(
    unused_mut,
    unused_variables,
    clippy::unnecessary_wraps,
    reason = "depends on the features"
)]
fn built_in_roots(tls: &Tls) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    #[cfg(feature = "tls-native-roots")]
    if tls.platform_roots {
        let found = rustls_native_certs::load_native_certs();
        // Some of what systems trust is too old for rustls; what matters is that there is something.
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(format!(
                "the operating system names no certificate authority: {:?}",
                found.errors
            ));
        }
    }
    #[cfg(feature = "tls-webpki-roots")]
    if tls.webpki_roots {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}
