//! Options from configuration files.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Given, Setter, choose, duration};
use crate::options::ClientBuilder;

/// Reads a connection string, or a map of options by the names of the builder's methods; the endpoints are a list or a
/// comma-separated text, headers are a map. An option that does not exist, and one given twice, is refused by its name.
///
/// Durations are numbers of seconds, or text with units: `250ms`, `5s`, `1m30s`. As TOML:
///
/// ```toml
/// [etcd]
/// endpoints = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
/// tls_ca_file = "/etc/etcd/ca.pem"
/// tls_cert_file = "/etc/etcd/client.pem"
/// tls_key_file = "/etc/etcd/client-key.pem"
/// request_timeout = "5s"
/// max_txn_ops = 512
/// min_server_version = "3.5"
/// header = { x-tenant = "billing" }
/// ```
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     etcd: etcd_core::ClientBuilder,
/// }
/// ```
impl<'de> Deserialize<'de> for ClientBuilder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Options)
    }
}

struct Options;

impl<'de> Visitor<'de> for Options {
    type Value = ClientBuilder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the options of an etcd client, or a connection string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ClientBuilder, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClientBuilder, A::Error> {
        let (mut builder, mut given) = (ClientBuilder::new(), Given::default());
        while let Some(name) = map.next_key::<String>()? {
            let (option, setter) = given.find(&name).map_err(Error::custom)?;
            let named = |why: A::Error| A::Error::custom(format_args!("option {option}: {why}"));
            builder = match setter {
                Setter::List(set) => set(builder, map.next_value::<List>().map_err(named)?.0),
                Setter::Text(set) => set(builder, map.next_value().map_err(named)?),
                Setter::Time(set) => set(builder, map.next_value::<Time>().map_err(named)?.0),
                Setter::Count(set) => set(builder, map.next_value().map_err(named)?),
                Setter::Flag(set) => set(builder, map.next_value().map_err(named)?),
                Setter::Choice(words) => {
                    let word: String = map.next_value().map_err(named)?;
                    choose(builder, words, &word).map_err(|why| named(Error::custom(why)))?
                }
                Setter::Secret(set) => {
                    let secret = |_| named(Error::custom("text is expected"));
                    set(builder, map.next_value().map_err(secret)?)
                }
                Setter::Pair(set) => {
                    // What is wrong with a value would be told with the value, which may be secret.
                    let secret = |_| {
                        named(Error::custom(
                            "names with text as their values are expected",
                        ))
                    };
                    let pairs: BTreeMap<String, String> = map.next_value().map_err(secret)?;
                    pairs
                        .iter()
                        .fold(builder, |builder, (name, value)| set(builder, name, value))
                }
            };
        }
        Ok(builder)
    }
}

/// Text, or a list of it.
struct List(Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a list of text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List, E> {
                Ok(List(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(List(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// A number of seconds, or text.
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds, or text such as 250ms, 5s, 1m30s")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                duration::parse(text).map(Time).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
                Ok(Time(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
                let seconds = u64::try_from(seconds);
                self.visit_u64(seconds.map_err(|_| E::custom("a duration is not negative"))?)
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
                duration::seconds(seconds).map(Time).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

#[cfg(test)]
mod tests;
