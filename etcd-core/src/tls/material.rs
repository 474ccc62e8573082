//! Certificates and keys: from files and PEM text to what rustls works with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::{Identity, Tls};

/// Where PEM text comes from.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Pem(Arc<[u8]>),
}

/// What stood in all sources at one moment. Holds keys: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    roots: Vec<Vec<u8>>,
    /// Chain and key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Source {
    pub(super) fn file(path: impl Into<PathBuf>) -> Self {
        Source::File(path.into())
    }

    pub(super) fn pem(pem: impl AsRef<[u8]>) -> Self {
        Source::Pem(pem.as_ref().into())
    }

    fn is_file(&self) -> bool {
        matches!(self, Source::File(_))
    }

    /// Blocks on files.
    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Source::Pem(pem) => Ok(pem.to_vec()),
            Source::File(path) => std::fs::read(path).map_err(|error| format!("{self}: {error}")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "`{}`", path.display()),
            Source::Pem(_) => f.write_str("the PEM text"),
        }
    }
}

/// The text may be a key.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{path:?}"),
            Source::Pem(_) => f.write_str("<PEM>"),
        }
    }
}

impl Tls {
    pub(super) fn has_files(&self) -> bool {
        let identity = [&self.identity.chain, &self.identity.key];
        let identity = identity.into_iter().flatten();
        self.roots.iter().chain(identity).any(Source::is_file)
    }

    /// Blocks on files.
    pub(super) fn read(&self) -> Result<Texts, String> {
        let roots = self.roots.iter().map(Source::read);
        let identity = match (&self.identity.chain, &self.identity.key) {
            (Some(chain), Some(key)) => Some((chain.read()?, key.read()?)),
            (Some(chain), None) => return Err(format!("{chain}: a certificate without its key")),
            (None, Some(key)) => return Err(format!("{key}: a key without its certificate")),
            (None, None) => None,
        };
        Ok(Texts {
            roots: roots.collect::<Result<_, _>>()?,
            identity,
        })
    }

    /// Adds the authorities in `texts` to `store`.
    pub(super) fn add_roots(&self, texts: &Texts, store: &mut RootCertStore) -> Result<(), String> {
        for (source, text) in self.roots.iter().zip(&texts.roots) {
            for certificate in certificates(text).map_err(|wrong| format!("{source}: {wrong}"))? {
                let added = store.add(certificate);
                added.map_err(|error| format!("{source}: {error}"))?;
            }
        }
        Ok(())
    }

    /// The identity in `texts`, if it is one: a chain, and the key to its first certificate.
    pub(super) fn identity(
        &self,
        texts: &Texts,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<CertifiedKey>>, String> {
        let Identity {
            chain: Some(chain_from),
            key: Some(key_from),
        } = &self.identity
        else {
            return Ok(None);
        };
        let Some((chain, key)) = &texts.identity else {
            return Ok(None);
        };
        let chain = certificates(chain).map_err(|wrong| format!("{chain_from}: {wrong}"))?;
        let key = private_key(key).map_err(|wrong| format!("{key_from}: {wrong}"))?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| format!("{key_from}: {error}"))?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Some(Arc::new(identity)))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(format!(
                "the key in {key_from} does not belong to the certificate in {chain_from}"
            )),
            Err(error) => Err(format!("{chain_from}: {error}")),
        }
    }
}

/// All certificates in a PEM text, at least one.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err("it has no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(describe(&error)),
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            "it has no private key (PKCS#8, PKCS#1 or SEC1, not encrypted)".to_owned()
        }
        error => describe(&error),
    })
}

/// What is wrong with a PEM text, without a byte of it: it may be a key.
fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a PEM section",
        pem::Error::Base64Decode(_) => "what stands in a PEM section is not base64",
        _ => "it is not PEM",
    }
    .to_owned()
}
