use etcd_proto::etcdserverpb::{RangeStreamResponse, ResponseHeader};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 10_000;

fn kv(n: usize, size: usize) -> KeyValue {
    KeyValue {
        key: format!("k{n:04}").into(),
        value: vec![n as u8; size].into(),
        create_revision: 7,
        mod_revision: 8 + n as i64,
        version: 2,
        lease: -1,
    }
}

fn kvs(sizes: &[usize]) -> Vec<KeyValue> {
    (0..).zip(sizes).map(|(n, size)| kv(n, *size)).collect()
}

/// The last reply has the header, `more` and `count`.
fn reply(kvs: &[KeyValue], last: bool) -> RangeResponse {
    let header = ResponseHeader {
        revision: 77,
        ..ResponseHeader::default()
    };
    RangeResponse {
        header: last.then_some(header),
        more: last,
        count: if last { 99 } else { 0 },
        kvs: kvs.to_vec(),
    }
}

/// As one reply, or as a stream of replies with `each` keys.
fn messages(kvs: &[KeyValue], each: Option<usize>) -> Vec<Vec<u8>> {
    let Some(each) = each else {
        return vec![reply(kvs, true).encode_to_vec()];
    };
    let mut replies: Vec<_> = kvs.chunks(each).map(|kvs| reply(kvs, false)).collect();
    replies.push(reply(&[], true));
    let wrapped = replies.into_iter().map(|reply| RangeStreamResponse {
        range_response: Some(reply),
    });
    wrapped.map(|message| message.encode_to_vec()).collect()
}

/// Feeds the messages in pieces of `size` bytes.
fn decode(decoder: &mut Decoder, messages: &[Vec<u8>], size: usize) -> Result<Vec<KeyValue>, Stop> {
    let mut kvs = VecDeque::new();
    for message in messages {
        let length = u32::try_from(message.len()).unwrap();
        let pieces = message.len().div_ceil(size).max(1);
        for i in 0..pieces {
            let end = message.len().min((i + 1) * size);
            let piece = Bytes::copy_from_slice(&message[i * size..end]);
            let first = (i == 0).then_some(length);
            decoder.decode(piece, first, i + 1 == pieces, &mut kvs)?;
        }
    }
    Ok(kvs.into())
}

#[test]
fn replies_cut_at_any_byte_decode_the_same() {
    let kvs = kvs(&[0, 1, 100, 5_000, 3]);
    for each in [None, Some(1), Some(2), Some(5)] {
        for size in [1, 2, 3, 7, 100, 4_096, 100_000] {
            let mut decoder = Decoder::new(each.is_some(), LIMIT);
            let got = decode(&mut decoder, &messages(&kvs, each), size).unwrap();
            assert_eq!(got, kvs, "{each:?}, {size}");
            assert_eq!(decoder.rest(), Some(&reply(&[], true)));
        }
    }
}

#[test]
fn a_stream_without_its_last_message_is_not_complete() {
    let kvs = kvs(&[1, 2, 3]);
    let mut sent = messages(&kvs, Some(2));
    sent.pop();
    let mut decoder = Decoder::new(true, LIMIT);
    assert_eq!(decode(&mut decoder, &sent, 10).unwrap(), kvs);
    assert_eq!(decoder.rest(), None);
}

#[test]
fn a_key_over_the_limit_is_refused_before_its_bytes_come() {
    let message = &messages(&kvs(&[LIMIT]), None)[0];
    let length = u32::try_from(message.len()).unwrap();
    let start = Bytes::copy_from_slice(&message[..20]);
    let mut decoder = Decoder::new(false, LIMIT);
    let refused = decoder.decode(start, Some(length), false, &mut VecDeque::new());
    assert_eq!(refused, Err(Stop::Oversized));
}

#[test]
fn small_keys_do_not_keep_the_read_buffer() {
    let message = Bytes::from(messages(&kvs(&[10, 5_000]), None).remove(0));
    let length = u32::try_from(message.len()).unwrap();
    let mut kvs = VecDeque::new();
    let mut decoder = Decoder::new(false, LIMIT);
    let shared = message.clone();
    decoder
        .decode(message, Some(length), true, &mut kvs)
        .unwrap();
    let buffer = shared.as_ptr_range();
    let inside = |bytes: &Bytes| buffer.contains(&bytes.as_ptr());
    assert!(!inside(&kvs[0].key) && !inside(&kvs[0].value));
    assert!(inside(&kvs[1].value), "a large value was copied");
}

#[test]
fn what_is_no_reply_is_an_error() {
    let wrong = |wrapped, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap();
        let mut decoder = Decoder::new(wrapped, LIMIT);
        let piece = Bytes::copy_from_slice(bytes);
        let decoded = decoder.decode(piece, Some(length), true, &mut VecDeque::new());
        assert!(matches!(decoded, Err(Stop::Malformed(_))), "{bytes:?}");
    };
    // A key that is longer than its reply, that is empty, that is cut off; a header that is none; no legal field.
    wrong(false, &[0x12, 5, 0]);
    wrong(false, &[0x12, 0]);
    wrong(false, &[0x12, 3, 0x0a, 7, 1]);
    wrong(false, &[0x0a, 1, 0x08]);
    wrong(false, &[0x00, 0]);
    // The reply inside is longer than the message; it ends within a field.
    wrong(true, &[0x0a, 3, 0x18, 1]);
    wrong(true, &[0x0a, 1, 0x18, 1]);
    wrong(true, &[0x0a, 2, 0x12, 1, 0]);
}

proptest! {
    #[test]
    fn sizes_and_cuts_do_not_matter(
        sizes in prop::collection::vec(0..6_000usize, 0..12),
        each in prop::option::of(1..5usize),
        size in 1..9_000usize,
    ) {
        let kvs = kvs(&sizes);
        let mut decoder = Decoder::new(each.is_some(), LIMIT);
        prop_assert_eq!(decode(&mut decoder, &messages(&kvs, each), size).unwrap(), kvs);
    }

    #[test]
    fn random_bytes_are_an_error_or_a_reply_but_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        wrapped in any::<bool>(),
        size in 1..60usize,
    ) {
        let _ = decode(&mut Decoder::new(wrapped, LIMIT), &[bytes], size);
    }
}
