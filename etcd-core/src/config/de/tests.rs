use serde::de::IntoDeserializer;
use serde::de::value::{Error as Wrong, MapDeserializer, SeqDeserializer};
use serde::forward_to_deserialize_any;

use super::*;

/// What a configuration file holds, whatever its format.
#[derive(Clone, Debug)]
enum Value {
    Text(&'static str),
    Number(i64),
    Float(f64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

use Value::{Float, List as Texts, Map, Number, Text};

impl<'de> Deserializer<'de> for Value {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Text(text) => visitor.visit_str(text),
            Number(number) => visitor.visit_i64(number),
            Float(number) => visitor.visit_f64(number),
            Texts(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Map(map) => visitor.visit_map(MapDeserializer::new(map.into_iter())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Wrong> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn read(value: Value) -> Result<ClientBuilder, String> {
    ClientBuilder::deserialize(value).map_err(|error| error.to_string())
}

#[test]
fn a_file_says_the_same_as_a_connection_string() {
    let file = Map(vec![
        ("endpoints", Texts(vec![Text("a:1"), Text("b:2")])),
        ("name", Text("billing")),
        ("user", Text("svc")),
        ("password", Text("hunter2")),
        ("dial_timeout", Text("1m30s")),
        ("request_timeout", Number(5)),
        ("connect_timeout", Float(0.25)),
        ("max_txn_ops", Number(512)),
        ("watch_queue_bytes", Number(4096)),
        ("min_server_version", Text("3.5")),
        (
            "header",
            Map(vec![("x-tenant", Text("blue")), ("x-zone", Text("b"))]),
        ),
        (
            "sensitive_header",
            Map(vec![("authorization", Text("Bearer hunter2"))]),
        ),
    ]);
    let builder = read(file).unwrap();
    let text = "a:1?endpoints=b:2&name=billing&user=svc&password=hunter2&dial_timeout=90&request_timeout=5s&connect_timeout=250ms\
        &max_txn_ops=512&watch_queue_bytes=4096&min_server_version=3.5\
        &header=x-tenant:blue&header=x-zone:b&sensitive_header=authorization:Bearer hunter2";
    let same: ClientBuilder = text.parse().unwrap();
    let (builder, same) = (format!("{builder:#?}"), format!("{same:#?}"));
    assert_eq!(builder, same);
    assert!(!builder.contains("hunter2"), "{builder}");
    assert_eq!(
        format!("{:?}", read(Text("a,b?name=x")).unwrap()),
        format!("{:?}", "a,b?name=x".parse::<ClientBuilder>().unwrap())
    );
}

/// Each is refused, with these in what is said.
fn check(rows: impl IntoIterator<Item = (Value, [&'static str; 2])>) {
    for (file, parts) in rows {
        let error = read(file.clone()).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{file:?}: {error}");
        }
    }
}

#[test]
fn what_a_file_cannot_say_is_refused_by_name() {
    check([
        (
            Map(vec![("timeout", Number(5))]),
            ["`timeout`", "request_timeout"],
        ),
        (Text("a?timeout=5"), ["`timeout`", "request_timeout"]),
        (
            Map(vec![("name", Text("a")), ("name", Text("b"))]),
            ["option name", "twice"],
        ),
        (Number(5), ["options of an etcd client", "5"]),
    ]);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_the_name_of_its_option() {
    let rows = [
        ("endpoints", Texts(vec![Number(5)]), "integer `5`"),
        ("endpoints", Number(5), "a list of text"),
        ("name", Number(5), "integer `5`"),
        ("min_server_version", Float(3.5), "3.5"),
        ("request_timeout", Text("soon"), "`soon`"),
        ("request_timeout", Number(-5), "negative"),
        ("request_timeout", Float(f64::NAN), "no duration"),
        ("request_timeout", Texts(vec![]), "seconds"),
        ("max_txn_ops", Number(-1), "`-1`"),
        ("max_txn_ops", Text("512"), "512"),
        ("header", Text("x:y"), "names with text"),
    ];
    for (option, value, why) in rows {
        check([(Map(vec![(option, value)]), [option, why])]);
    }
}

#[test]
fn a_secret_of_the_wrong_kind_is_not_repeated() {
    let secret = Map(vec![("x-key", Number(271_828))]);
    let error = read(Map(vec![("sensitive_header", secret)])).unwrap_err();
    assert!(
        error.contains("option sensitive_header") && !error.contains("271828"),
        "{error}"
    );
    let error = read(Map(vec![("password", Number(271_828))])).unwrap_err();
    assert!(
        error.contains("option password") && !error.contains("271828"),
        "{error}"
    );
}
