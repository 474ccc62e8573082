use etcd_proto::etcdserverpb::ResponseHeader;
use etcd_proto::mvccpb::KeyValue;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 10_000;

fn event(revision: i64, value_len: usize) -> Event {
    let kv = KeyValue {
        key: format!("key-{revision}").into(),
        mod_revision: revision,
        value: vec![b'v'; value_len].into(),
        ..Default::default()
    };
    Event {
        kv: Some(kv),
        ..Default::default()
    }
}

fn response(watch_id: i64, events: Vec<Event>) -> WatchResponse {
    let header = ResponseHeader {
        cluster_id: 77,
        member_id: 3,
        revision: 100,
        raft_term: 2,
        ..Default::default()
    };
    WatchResponse {
        header: Some(header),
        watch_id,
        events,
        ..Default::default()
    }
}

fn decode(messages: &[Vec<u8>], cut: impl Fn(usize) -> bool) -> Result<Vec<Item>, Malformed> {
    let mut decoder = Decoder::new(LIMIT);
    let mut items = Vec::new();
    for message in messages {
        let mut first = Some(u32::try_from(message.len()).unwrap());
        let mut begin = 0;
        for end in (0..=message.len()).filter(|at| cut(*at) || *at == message.len()) {
            decoder.feed(
                Bytes::copy_from_slice(&message[begin..end]),
                first.take(),
                end == message.len(),
            );
            begin = end;
            while let Some(item) = decoder.pull()? {
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// What a decoder of whole messages would hand out.
fn expected(response: &WatchResponse) -> Vec<Item> {
    let mut items = Vec::new();
    if !response.events.is_empty() {
        let cluster_id = response
            .header
            .as_ref()
            .map_or(0, |header| header.cluster_id);
        items.push(Item::Start {
            watch_id: response.watch_id,
            cluster_id,
        });
    }
    for event in &response.events {
        let len = event.encoded_len();
        items.push(if len > LIMIT {
            Item::Oversized
        } else {
            Item::Event {
                event: event.clone(),
                len,
            }
        });
    }
    items.push(Item::End(WatchResponse {
        events: Vec::new(),
        ..response.clone()
    }));
    items
}

#[test]
fn responses_cut_at_any_byte_decode_the_same() {
    let created = WatchResponse {
        created: true,
        ..response(1, Vec::new())
    };
    let refused = WatchResponse {
        created: true,
        canceled: true,
        compact_revision: 9,
        cancel_reason: "etcdserver: permission denied".into(),
        ..response(-1, Vec::new())
    };
    let fragment = WatchResponse {
        fragment: true,
        ..response(i64::MAX, vec![event(4, 0), event(4, 300)])
    };
    let without_id = response(0, vec![event(1, 3), event(2, 40)]);
    let all = [
        created,
        refused,
        fragment,
        response(7, vec![event(5, LIMIT), event(6, 1)]),
        without_id,
    ];
    let messages: Vec<Vec<u8>> = all.iter().map(Message::encode_to_vec).collect();
    let whole: Vec<Item> = all.iter().flat_map(expected).collect();
    assert_eq!(decode(&messages, |_| false).unwrap(), whole);
    assert_eq!(decode(&messages, |_| true).unwrap(), whole, "byte by byte");
    for cut in 0..messages.iter().map(Vec::len).max().unwrap() {
        assert_eq!(
            decode(&messages, |at| at == cut).unwrap(),
            whole,
            "cut at {cut}"
        );
    }
}

#[test]
fn an_event_comes_out_as_soon_as_its_last_byte_is_in() {
    let message = response(1, vec![event(1, 10), event(2, 10)]).encode_to_vec();
    let mut decoder = Decoder::new(LIMIT);
    let before_last = message.len() - 1;
    decoder.feed(
        Bytes::copy_from_slice(&message[..before_last]),
        Some(u32::try_from(message.len()).unwrap()),
        false,
    );
    assert!(matches!(
        decoder.pull().unwrap(),
        Some(Item::Start {
            watch_id: 1,
            cluster_id: 77
        })
    ));
    assert!(
        matches!(decoder.pull().unwrap(), Some(Item::Event { event: e, .. }) if e == event(1, 10))
    );
    assert_eq!(decoder.pull().unwrap(), None);
    decoder.feed(Bytes::copy_from_slice(&message[before_last..]), None, true);
    assert!(
        matches!(decoder.pull().unwrap(), Some(Item::Event { event: e, .. }) if e == event(2, 10))
    );
    assert!(matches!(decoder.pull().unwrap(), Some(Item::End(_))));
}

#[test]
fn what_is_no_watch_response_is_an_error() {
    let rows: &[(&str, &[u8])] = &[
        ("field 0", &[0x00, 0x01]),
        ("group", &[0x1b, 0x1c]),
        ("header as a number", &[0x08, 0x01]),
        ("watch id as bytes", &[0x12, 0x00]),
        ("event as fixed64", &[0x59, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("length past the end", &[0x5a, 0x7f, 0x00]),
        (
            "length of u64::MAX",
            &[
                0x5a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
        ),
        (
            "number of 11 bytes",
            &[
                0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
            ],
        ),
        (
            "number above u64::MAX",
            &[
                0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ],
        ),
        ("end within a number", &[0x10, 0x80]),
        ("end within a key", &[0x80]),
        ("end within skipped bytes", &[0x79, 0x00]),
        ("event without a key", &[0x5a, 0x02, 0x08, 0x01]),
        ("event that is no message", &[0x5a, 0x01, 0xff]),
        ("empty event", &[0x5a, 0x00]),
    ];
    for (name, bytes) in rows {
        assert!(decode(&[bytes.to_vec()], |_| false).is_err(), "{name}");
        assert!(
            decode(&[bytes.to_vec()], |_| true).is_err(),
            "{name}, byte by byte"
        );
    }
}

#[test]
fn a_length_past_the_end_is_an_error_and_no_oversized_event() {
    let mut message = vec![0x5a];
    prost::encoding::encode_varint(1 << 40, &mut message);
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(message.into(), Some(100), false);
    assert!(decoder.pull().is_err());
}

#[test]
fn a_header_with_a_hostile_length_is_refused_before_it_is_buffered() {
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(1 << 30, &mut message);
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(message.into(), Some(u32::MAX), false);
    assert_eq!(decoder.pull(), Err(Malformed("a header is too long")));
}

#[test]
fn events_that_wait_for_an_id_are_bounded() {
    let events: Vec<Event> = (1..200).map(|revision| event(revision, 500)).collect();
    let nameless = WatchResponse {
        events,
        ..Default::default()
    };
    let mut message = nameless.encode_to_vec();
    let items = decode(&[message.clone()], |_| false).unwrap();
    assert_eq!(items, expected(&nameless), "the id 0 is not written");
    message.extend([0x10, 0x05]);
    assert!(
        decode(&[message], |_| false).is_err(),
        "an id that comes after too many events"
    );
}

/// The fields of a response, each encoded by itself, with fields that we do not know among them.
fn fields(response: &WatchResponse) -> Vec<Vec<u8>> {
    let bare = WatchResponse {
        events: Vec::new(),
        ..response.clone()
    };
    let split = [
        WatchResponse {
            header: bare.header,
            ..Default::default()
        },
        WatchResponse {
            watch_id: bare.watch_id,
            ..Default::default()
        },
        WatchResponse {
            created: bare.created,
            canceled: bare.canceled,
            ..Default::default()
        },
        WatchResponse {
            fragment: bare.fragment,
            cancel_reason: bare.cancel_reason.clone(),
            ..Default::default()
        },
    ];
    let mut fields: Vec<Vec<u8>> = split.iter().map(Message::encode_to_vec).collect();
    fields.push(vec![0xa0, 0x06, 0x05]); // field 100, varint
    fields.push(vec![0xa2, 0x06, 0x03, 1, 2, 3]); // field 100, bytes
    fields.push(vec![0x79, 1, 2, 3, 4, 5, 6, 7, 8]); // field 15, fixed64
    fields.push(vec![0x7d, 1, 2, 3, 4]); // field 15, fixed32
    let events = WatchResponse {
        events: response.events.clone(),
        ..Default::default()
    };
    fields.push(events.encode_to_vec());
    fields
}

fn responses() -> impl Strategy<Value = WatchResponse> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), "[a-z]{0,20}");
    let events = prop::collection::vec((1..50i64, 0..200usize), 0..8);
    (1..9i64, flags, events).prop_map(
        |(id, (created, canceled, fragment, cancel_reason), events)| {
            let events = events
                .into_iter()
                .map(|(revision, len)| event(revision, len))
                .collect();
            WatchResponse {
                created,
                canceled,
                fragment,
                cancel_reason,
                ..response(id, events)
            }
        },
    )
}

proptest! {
    #[test]
    fn the_order_of_fields_and_the_cuts_do_not_matter(
        responses in prop::collection::vec(responses(), 1..4),
        order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle(),
        every in 1..40usize,
    ) {
        let shuffled = |response: &WatchResponse| {
            let fields = fields(response);
            order.iter().flat_map(|i| fields[*i].clone()).collect::<Vec<u8>>()
        };
        let messages: Vec<Vec<u8>> = responses.iter().map(shuffled).collect();
        let whole: Vec<Item> = responses.iter().flat_map(expected).collect();
        prop_assert_eq!(decode(&messages, |at| at % every == 0).unwrap(), whole);
    }

    #[test]
    fn random_bytes_are_an_error_or_a_response_but_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        every in 1..40usize,
    ) {
        let whole = decode(std::slice::from_ref(&bytes), |_| false);
        prop_assert_eq!(decode(&[bytes], |at| at % every == 0).is_ok(), whole.is_ok());
    }

    #[test]
    fn a_damaged_response_is_an_error_or_a_response_but_no_panic(
        response in responses(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = response.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let whole = decode(std::slice::from_ref(&bytes), |_| false);
        prop_assert_eq!(decode(&[bytes], |_| true).is_ok(), whole.is_ok());
    }
}
