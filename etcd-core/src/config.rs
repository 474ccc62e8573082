//! Options as text: connection strings, the environment, and (feature `serde`) configuration files. One table knows them all
//! by the names of the builder's methods.

#[cfg(feature = "serde")]
mod de;
mod duration;
mod userinfo;

use std::env;
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;
use crate::options::ClientBuilder;
use crate::tls::Tls;

/// What an option takes, and how it is set.
#[derive(Clone, Copy)]
enum Setter {
    /// Text, or a list of text; may be given more than once.
    List(fn(ClientBuilder, Vec<String>) -> ClientBuilder),
    Text(fn(ClientBuilder, String) -> ClientBuilder),
    /// Text that is repeated nowhere.
    Secret(fn(ClientBuilder, String) -> ClientBuilder),
    Time(fn(ClientBuilder, Duration) -> ClientBuilder),
    Count(fn(ClientBuilder, usize) -> ClientBuilder),
    Flag(fn(ClientBuilder, bool) -> ClientBuilder),
    /// A name and a value; may be given more than once.
    Pair(fn(ClientBuilder, &str, &str) -> ClientBuilder),
}

/// Every option, by the name of its method of the builder; those of TLS begin with `tls_`.
const OPTIONS: &[(&str, Setter)] = &[
    ("endpoints", Setter::List(|b, list| b.endpoints(list))),
    ("name", Setter::Text(|b, name| b.name(name))),
    ("user", Setter::Text(user)),
    ("password", Setter::Secret(password)),
    (
        "allow_plaintext_credentials",
        Setter::Flag(allow_plaintext_credentials),
    ),
    ("tls_ca_file", Setter::List(ca_files)),
    (
        "tls_cert_file",
        Setter::Text(|b, path| with_tls(b, |tls| tls.cert_file(path))),
    ),
    (
        "tls_key_file",
        Setter::Text(|b, path| with_tls(b, |tls| tls.key_file(path))),
    ),
    (
        "tls_server_name",
        Setter::Text(|b, name| with_tls(b, |tls| tls.server_name(name))),
    ),
    #[cfg(feature = "tls-native-roots")]
    (
        "tls_platform_roots",
        Setter::Flag(|b, yes| with_tls(b, |tls| if yes { tls.platform_roots() } else { tls })),
    ),
    #[cfg(feature = "tls-webpki-roots")]
    (
        "tls_webpki_roots",
        Setter::Flag(|b, yes| with_tls(b, |tls| if yes { tls.webpki_roots() } else { tls })),
    ),
    (
        "tls_danger_accept_invalid_certs",
        Setter::Flag(danger_accept_invalid_certs),
    ),
    (
        "tls_handshake_timeout",
        Setter::Time(ClientBuilder::tls_handshake_timeout),
    ),
    ("dial_timeout", Setter::Time(ClientBuilder::dial_timeout)),
    (
        "connect_timeout",
        Setter::Time(ClientBuilder::connect_timeout),
    ),
    (
        "request_timeout",
        Setter::Time(ClientBuilder::request_timeout),
    ),
    (
        "read_attempt_timeout",
        Setter::Time(ClientBuilder::read_attempt_timeout),
    ),
    (
        "keep_alive_interval",
        Setter::Time(ClientBuilder::keep_alive_interval),
    ),
    (
        "keep_alive_timeout",
        Setter::Time(ClientBuilder::keep_alive_timeout),
    ),
    ("suspect_after", Setter::Time(ClientBuilder::suspect_after)),
    ("dead_after", Setter::Time(ClientBuilder::dead_after)),
    ("max_txn_ops", Setter::Count(ClientBuilder::max_txn_ops)),
    (
        "max_request_bytes",
        Setter::Count(ClientBuilder::max_request_bytes),
    ),
    ("receive_limit", Setter::Count(ClientBuilder::receive_limit)),
    (
        "watch_queue_revisions",
        Setter::Count(watch_queue_revisions),
    ),
    ("watch_queue_bytes", Setter::Count(watch_queue_bytes)),
    (
        "max_revision_bytes",
        Setter::Count(ClientBuilder::max_revision_bytes),
    ),
    (
        "min_server_version",
        Setter::Text(|b, version| b.min_server_version(version)),
    ),
    (
        "header",
        Setter::Pair(|b, name, value| b.header(name, value)),
    ),
    (
        "sensitive_header",
        Setter::Pair(|b, name, value| b.sensitive_header(name, value)),
    ),
];

impl ClientBuilder {
    /// What etcdctl's environment variables say, for programs that are to be configured as etcdctl is. Only called where it is
    /// asked for: no client reads the environment by itself.
    ///
    /// | variable | option |
    /// |---|---|
    /// | `ETCDCTL_ENDPOINTS` | [`endpoints`](Self::endpoints), a comma-separated list |
    /// | `ETCDCTL_CACERT` | [`Tls::ca_file`], a file |
    /// | `ETCDCTL_CERT`, `ETCDCTL_KEY` | [`Tls::identity_files`], both or none |
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

    fn set(self, option: &'static str, setter: Setter, value: &str) -> Result<Self> {
        let wrong = |why: String| Error::config(option, why);
        match setter {
            Setter::List(set) => Ok(set(self, vec![value.to_owned()])),
            Setter::Text(set) | Setter::Secret(set) => Ok(set(self, value.to_owned())),
            Setter::Time(set) => Ok(set(self, duration::parse(value).map_err(wrong)?)),
            Setter::Count(set) => match value.parse() {
                Ok(count) => Ok(set(self, count)),
                Err(_) => Err(wrong(format!("`{value}` is not a whole number from 0 on"))),
            },
            Setter::Flag(set) => match value {
                "true" => Ok(set(self, true)),
                "false" => Ok(set(self, false)),
                _ => Err(wrong(format!("`{value}` is neither `true` nor `false`"))),
            },
            // The value may be secret: nothing of it is repeated.
            Setter::Pair(set) => match value.split_once(':') {
                Some((name, value)) => Ok(set(self, name, value.trim_start())),
                None => Err(wrong("a name, a colon and a value are expected".to_owned())),
            },
        }
    }
}

/// etcdctl's variables that are read.
const VARIABLES: [&str; 6] = [
    "ETCDCTL_ENDPOINTS",
    "ETCDCTL_CACERT",
    "ETCDCTL_CERT",
    "ETCDCTL_KEY",
    "ETCDCTL_USER",
    "ETCDCTL_PASSWORD",
];

/// A connection string: endpoints as etcdctl takes them, separated by commas, and after a `?` options by the names of the
/// builder's methods, separated by `&`. `credentials` is two options, `user` and `password`, which may also stand in front of a
/// host, `https://user:password@host`; `watch_queue` is two options, `watch_queue_revisions` and `watch_queue_bytes`. Those of
/// TLS are `tls_handshake_timeout` and the methods of [`Tls`]: `tls_ca_file`, `tls_server_name`, `tls_platform_roots=true`,
/// `tls_webpki_roots=true`, `tls_danger_accept_invalid_certs=true`, and for an identity `tls_cert_file` and `tls_key_file`;
/// with any of them, connections are encrypted.
///
/// Durations are numbers of seconds, or have units: `250ms`, `5s`, `1m30s`. A header is `name:value`. `%` escapes what would
/// be taken for something else: `%26` is an `&`, `%2C` a comma, `%40` an `@`.
///
/// # Errors
/// `Error::Config` for an option that does not exist, is given twice, or has a value of the wrong kind. Values that cannot be
/// used, and endpoints, are refused by [`build`](ClientBuilder::build).
///
/// ```
/// # fn main() -> etcd_core::Result<()> {
/// let builder: etcd_core::ClientBuilder =
///     "http://10.0.0.1:2379,http://10.0.0.2:2379?request_timeout=5s&name=billing".parse()?;
/// # Ok(()) }
/// ```
impl FromStr for ClientBuilder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (endpoints, options) = text.split_once('?').unwrap_or((text, ""));
        let (endpoints, userinfo) = userinfo::split(endpoints, options)?;
        let (mut builder, mut given) = (Self::new().endpoints([endpoints]), Given::default());
        if let Some(userinfo) = userinfo {
            given.find("user")?;
            builder = user(builder, userinfo.user);
            if let Some(secret) = userinfo.password {
                given.find("password")?;
                builder = password(builder, secret);
            }
        }
        for pair in options.split('&').filter(|pair| !pair.is_empty()) {
            let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (option, setter) = given.find(&decoded(option)?)?;
            builder = builder.set(option, setter, &decoded(value)?)?;
        }
        Ok(builder)
    }
}

fn decoded(text: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Error::config(
            "connection string",
            "what it escapes is not UTF-8",
        )),
    }
}

/// The options that were given so far.
#[derive(Default)]
struct Given(Vec<&'static str>);

impl Given {
    /// How to set the option of this name, which is now given.
    fn find(&mut self, name: &str) -> Result<(&'static str, Setter)> {
        let Some(&(option, setter)) = OPTIONS.iter().find(|(option, _)| *option == name) else {
            let known: Vec<&str> = OPTIONS.iter().map(|(option, _)| *option).collect();
            let known = known.join(", ");
            return Err(Error::config(
                "options",
                format!("there is no `{name}`; there are {known}"),
            ));
        };
        if self.0.contains(&option) && !matches!(setter, Setter::List(_) | Setter::Pair(_)) {
            return Err(Error::config(option, "it is given twice"));
        }
        self.0.push(option);
        Ok((option, setter))
    }
}

fn user(mut builder: ClientBuilder, user: String) -> ClientBuilder {
    builder.options.credentials.user = Some(user.into());
    builder
}

fn password(mut builder: ClientBuilder, password: String) -> ClientBuilder {
    builder.options.credentials.password = Some(password.into());
    builder
}

fn allow_plaintext_credentials(mut builder: ClientBuilder, yes: bool) -> ClientBuilder {
    builder.options.credentials.allow_plaintext = yes;
    builder
}

/// Sets an option of TLS, and so that there is TLS.
fn with_tls(mut builder: ClientBuilder, set: impl FnOnce(Tls) -> Tls) -> ClientBuilder {
    let tls = builder.options.tls.take().unwrap_or_default();
    builder.tls(set(tls))
}

fn ca_files(builder: ClientBuilder, paths: Vec<String>) -> ClientBuilder {
    with_tls(builder, |tls| {
        paths.into_iter().fold(tls, |tls, path| tls.ca_file(path))
    })
}

fn danger_accept_invalid_certs(builder: ClientBuilder, yes: bool) -> ClientBuilder {
    with_tls(builder, |tls| {
        if yes {
            tls.danger_accept_invalid_certs()
        } else {
            tls
        }
    })
}

fn watch_queue_revisions(mut builder: ClientBuilder, revisions: usize) -> ClientBuilder {
    builder.options.watch_queue_revisions = revisions;
    builder
}

fn watch_queue_bytes(mut builder: ClientBuilder, bytes: usize) -> ClientBuilder {
    builder.options.watch_queue_bytes = bytes;
    builder
}

#[cfg(test)]
mod tests;
