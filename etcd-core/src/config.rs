//! Options as text: connection strings, the environment, and (feature `serde`) configuration files. One table knows them all
//! by the names of the builder's methods.

#[cfg(feature = "serde")]
mod de;
mod duration;
mod environment;
mod userinfo;

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::net::Tcp;
use crate::options::{ClientBuilder, Open};
use crate::pool::Balance;
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
    /// One of some words.
    Choice(Words),
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
    ("dns_timeout", Setter::Time(ClientBuilder::dns_timeout)),
    (
        "tcp_nodelay",
        Setter::Flag(|b, on| with_tcp(b, |tcp| tcp.nodelay(on))),
    ),
    (
        "tcp_keepalive",
        Setter::Time(|b, idle| with_tcp(b, |tcp| tcp.keepalive(idle))),
    ),
    (
        "tcp_user_timeout",
        Setter::Time(|b, limit| with_tcp(b, |tcp| tcp.user_timeout(limit))),
    ),
    (
        "tcp_bind_address",
        Setter::Text(|b, address| with_tcp(b, |tcp| tcp.bind_address(address))),
    ),
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
    ("balance", Setter::Choice(BALANCE)),
    ("open", Setter::Choice(OPEN)),
    ("auto_sync", Setter::Time(ClientBuilder::auto_sync)),
    (
        "health_check_interval",
        Setter::Time(ClientBuilder::health_check_interval),
    ),
    ("health_watch", Setter::Flag(ClientBuilder::health_watch)),
    (
        "monotonic_reads",
        Setter::Flag(ClientBuilder::monotonic_reads),
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

/// The words of one option, each with what it sets.
type Words = &'static [(&'static str, fn(ClientBuilder) -> ClientBuilder)];

const BALANCE: Words = &[
    ("p2c", |b| b.balance(Balance::P2c)),
    ("round_robin", |b| b.balance(Balance::RoundRobin)),
    ("pinned", |b| b.balance(Balance::Pinned)),
];

const OPEN: Words = &[
    ("lazy", |b| b.open(Open::Lazy)),
    ("any", |b| b.open(Open::Any)),
    ("majority", |b| b.open(Open::Majority)),
    ("all", |b| b.open(Open::All)),
];

impl ClientBuilder {
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
            Setter::Choice(words) => choose(self, words, value).map_err(wrong),
            // The value may be secret: nothing of it is repeated.
            Setter::Pair(set) => match value.split_once(':') {
                Some((name, value)) => Ok(set(self, name, value.trim_start())),
                None => Err(wrong("a name, a colon and a value are expected".to_owned())),
            },
        }
    }
}

/// A connection string: endpoints as etcdctl takes them, separated by commas, and after a `?` options by the names of the
/// builder's methods, separated by `&`. `credentials` is two options, `user` and `password`, which may also stand in front of a
/// host, `https://user:password@host`; `watch_queue` is two options, `watch_queue_revisions` and `watch_queue_bytes`. Those of
/// TLS are `tls_handshake_timeout` and the methods of [`Tls`]: `tls_ca_file`, `tls_server_name`, `tls_platform_roots=true`,
/// `tls_webpki_roots=true`, `tls_danger_accept_invalid_certs=true`, and for an identity `tls_cert_file` and `tls_key_file`;
/// with any of them, connections are encrypted. Those of [`Tcp`] are `tcp_nodelay`, `tcp_keepalive`, `tcp_user_timeout` and
/// `tcp_bind_address`.
///
/// `balance` is `p2c`, `round_robin` or `pinned`; `open` is `lazy`, `any`, `majority` or `all`.
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

fn choose(builder: ClientBuilder, words: Words, value: &str) -> Result<ClientBuilder, String> {
    match words.iter().find(|(word, _)| *word == value) {
        Some((_, set)) => Ok(set(builder)),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("`{value}` is none of {}", words.join(", ")))
        }
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

fn with_tcp(mut builder: ClientBuilder, set: impl FnOnce(Tcp) -> Tcp) -> ClientBuilder {
    let tcp = std::mem::take(&mut builder.options.tcp);
    builder.tcp(set(tcp))
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
