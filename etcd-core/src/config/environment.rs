//! etcdctl's environment variables.

use std::env;
use std::ffi::OsString;

use super::{password, user, with_tls};
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;
use crate::options::ClientBuilder;

/// etcdctl's variables that are read.
const VARIABLES: [&str; 6] = [
    "ETCDCTL_ENDPOINTS",
    "ETCDCTL_CACERT",
    "ETCDCTL_CERT",
    "ETCDCTL_KEY",
    "ETCDCTL_USER",
    "ETCDCTL_PASSWORD",
];

impl ClientBuilder {
    /// What etcdctl's environment variables say, for programs that are to be configured as etcdctl is. Only called where it is
    /// asked for: no client reads the environment by itself.
    ///
    /// | variable | option |
    /// |---|---|
    /// | `ETCDCTL_ENDPOINTS` | [`endpoints`](Self::endpoints), a comma-separated list |
    /// | `ETCDCTL_CACERT` | [`Tls::ca_file`](crate::Tls::ca_file), a file |
    /// | `ETCDCTL_CERT`, `ETCDCTL_KEY` | [`Tls::identity_files`](crate::Tls::identity_files), both or none |
    /// | `ETCDCTL_USER`, `ETCDCTL_PASSWORD` | [`credentials`](Self::credentials); without the second, the first is `user:password` |
    ///
    /// A variable that is not set, or empty, leaves its option at the default; for the endpoints there is none, and etcdctl's
    /// own default, this machine, is not taken. Connections are encrypted if a variable for TLS is set, and never otherwise.
    /// More options can be set on what is returned; endpoints are added to these.
    ///
    /// # Errors
    /// `Error::Config`, which names the variable: for endpoints that cannot be used, a value that is not UTF-8, a user without a
    /// password, for which etcdctl would ask, and a password without a user, which etcdctl would ignore. Files are read when the
    /// client is made.
    ///
    /// ```no_run
    /// # async fn run() -> etcd_core::Result<()> {
    /// let client = etcd_core::ClientBuilder::from_env()?.name("billing").connect().await?;
    /// # Ok(()) }
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    pub(crate) fn from_variables(value_of: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let mut builder = Self::new();
        for variable in VARIABLES {
            let value = value_of(variable).unwrap_or_default();
            if value.is_empty() {
                continue;
            }
            let Ok(value) = value.into_string() else {
                return Err(Error::config(variable, "its value is not UTF-8"));
            };
            builder = builder.variable(variable, &value)?;
        }
        builder.split_user()
    }

    /// Sets what one of etcdctl's variables stands for.
    fn variable(self, variable: &'static str, value: &str) -> Result<Self> {
        match variable {
            "ETCDCTL_ENDPOINTS" => {
                // Whether there is TLS is known only when the client is made.
                let tls = value.contains("https://") || value.contains("unixs:");
                match Endpoint::parse_list([value], tls) {
                    Ok(_) => Ok(self.endpoints([value])),
                    Err(Error::Config(wrong)) => Err(Error::config(variable, &*wrong.reason)),
                    Err(error) => Err(error),
                }
            }
            "ETCDCTL_CACERT" => Ok(with_tls(self, |tls| tls.ca_file(value))),
            "ETCDCTL_CERT" => Ok(with_tls(self, |tls| tls.cert_file(value))),
            "ETCDCTL_KEY" => Ok(with_tls(self, |tls| tls.key_file(value))),
            "ETCDCTL_USER" => Ok(user(self, value.to_owned())),
            _ => Ok(password(self, value.to_owned())),
        }
    }

    /// A user without a password is both in one.
    fn split_user(self) -> Result<Self> {
        let Credentials {
            user: name,
            password: secret,
            ..
        } = &self.options.credentials;
        let whole = match (name.clone(), secret) {
            (Some(whole), None) => whole,
            (None, Some(_)) => {
                let why = "a password without a user: ETCDCTL_USER is not set";
                return Err(Error::config("ETCDCTL_PASSWORD", why));
            }
            _ => return Ok(self),
        };
        match whole.split_once(':') {
            None => Err(Error::config(
                "ETCDCTL_PASSWORD",
                "not set, and there is no `:` and password in ETCDCTL_USER",
            )),
            Some(("", _)) => Err(Error::config("ETCDCTL_USER", "no user before the `:`")),
            Some((_, "")) => Err(Error::config("ETCDCTL_USER", "no password after the `:`")),
            Some((name, secret)) => Ok(self.credentials(name, secret)),
        }
    }
}
