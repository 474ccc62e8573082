//! Fuzz targets over watch streams, with servers that send anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use etcd_proto::mvccpb::{Event, KeyValue};
use prost::Message;

use super::cursor::{Keys, Revision};
use super::decode::{Decoder, Item, Malformed};
use super::queue::{Queue, QueueLimits};
use super::state::{Action, Key, Limits, Request, State};
use crate::fuzz::Input;
use crate::namespace::Namespace;
use crate::range::KeyRange;

/// The longest event, in bytes.
const LIMIT: usize = 200;

/// However a response is cut, it is read in the same way; and in the same way as by the ordinary decoder, if that can read
/// it.
pub(crate) fn decode(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let bytes = input.rest();
    let at_once = items(bytes, [Bytes::copy_from_slice(bytes)]);
    let in_pieces = items(bytes, Input::new(&[way]).pieces(bytes));
    match (&at_once, &in_pieces) {
        (Ok(at_once), Ok(in_pieces)) => assert_eq!(responses(at_once), responses(in_pieces)),
        _ => assert_eq!(
            at_once.is_ok(),
            in_pieces.is_ok(),
            "{at_once:?} {in_pieces:?}"
        ),
    }
    let (Ok(items), Ok(expected)) = (at_once, WatchResponse::decode(bytes)) else {
        return;
    };
    let (events, oversized, end) = responses(&items);
    if oversized == 0 {
        assert_eq!(
            events.into_iter().cloned().collect::<Vec<_>>(),
            expected.events
        );
    }
    let expected = WatchResponse {
        events: Vec::new(),
        ..expected
    };
    assert_eq!(end, Some(&expected));
}

fn items(message: &[u8], pieces: impl IntoIterator<Item = Bytes>) -> Result<Vec<Item>, Malformed> {
    let (mut decoder, mut items) = (Decoder::new(LIMIT), Vec::new());
    for (piece, first, last) in parts(message, pieces) {
        decoder.feed(piece, first, last);
        while let Some(item) = decoder.pull()? {
            items.push(item);
        }
    }
    Ok(items)
}

/// The pieces of a message as the stream hands them out: the first with its length, also of one that is empty.
fn parts(
    message: &[u8],
    pieces: impl IntoIterator<Item = Bytes>,
) -> Vec<(Bytes, Option<u32>, bool)> {
    let (mut first, mut left) = (u32::try_from(message.len()).ok(), message.len());
    let mut parts: Vec<_> = pieces
        .into_iter()
        .map(|piece| {
            left -= piece.len();
            (piece, first.take(), left == 0)
        })
        .collect();
    if message.is_empty() {
        parts = vec![(Bytes::new(), Some(0), true)];
    }
    parts
}

/// The events, how many were too long, and the rest.
fn responses(items: &[Item]) -> (Vec<&Event>, usize, Option<&WatchResponse>) {
    let (mut events, mut oversized, mut end) = (Vec::new(), 0, None);
    for item in items {
        match item {
            Item::Event { event, .. } => events.push(event),
            Item::Oversized => oversized += 1,
            Item::End(response) => end = Some(response),
            Item::Start { .. } => assert!(events.is_empty() && oversized == 0),
        }
    }
    (events, oversized, end)
}

/// Whatever a server sends, each watcher gets whole revisions of its range, in order and each once, is created from where
/// it stands, and gets nothing after its end; and whoever waits for a cancellation is told.
pub(crate) fn watch(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.lost();
    assert!(world.awaited.is_empty(), "{:?} are not told", world.awaited);
    assert_eq!(world.state.is_idle(), world.watchers.is_empty());
}

/// A watcher as its owner sees it.
struct Watched {
    range: KeyRange,
    /// The first revision that it has not got.
    next: i64,
    queue: Queue,
    parked: bool,
}

struct World {
    state: State,
    decoder: Decoder,
    now: Instant,
    last_key: Key,
    watchers: BTreeMap<Key, Watched>,
    /// Cancelled, to be confirmed.
    awaited: BTreeSet<Key>,
    /// The ids asked for on this stream.
    ids: BTreeSet<i64>,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            window: 3,
            answer_within: Duration::from_secs(5),
            caught_up_after: Duration::from_secs(1),
            max_revision_bytes: 4 * LIMIT,
        };
        let mut state = State::new(limits);
        let now = Instant::now();
        state.opened("http://a:2379".into(), now);
        Self {
            state,
            decoder: Decoder::new(LIMIT),
            now,
            last_key: 0,
            watchers: BTreeMap::new(),
            awaited: BTreeSet::new(),
            ids: BTreeSet::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 12 {
            0 => self.add(input),
            1 => {
                if let Some(key) = self.chosen(input) {
                    let confirm = input.flag();
                    self.watchers.remove(&key);
                    self.awaited.extend(confirm.then_some(key));
                    self.state.cancel(key, confirm);
                }
            }
            2 => self.read(input),
            3 => self.state.request_progress(),
            4 => {
                let millis = input.number().unsigned_abs() % 10_000;
                self.now += Duration::from_millis(millis);
                self.state.tick(self.now);
                let _ = self.state.deadline();
            }
            5 => self.lost(),
            6 | 7 => self.send(),
            8 => self.receive(input.bytes(60).to_vec(), input),
            _ => {
                let response = response(input).encode_to_vec();
                self.receive(response, input);
            }
        }
        self.act();
    }

    fn add(&mut self, input: &mut Input<'_>) {
        self.last_key += 1;
        let (range, start) = (range(input), input.number().max(1));
        let namespace = Namespace::within(None, if input.flag() { b"b" } else { b"" });
        let keys = match namespace {
            Some(namespace) => Keys {
                range: namespace.range(&range),
                namespace: Some(namespace),
            },
            None => range.clone().into(),
        };
        let limits = QueueLimits {
            revisions: 2,
            bytes: 1_000,
        };
        let watched = Watched {
            range,
            next: start,
            queue: Queue::new(start, limits),
            parked: false,
        };
        self.watchers.insert(self.last_key, watched);
        self.state.add(self.last_key, keys, start);
    }

    /// A reader empties its queue; one that was parked may have more.
    fn read(&mut self, input: &mut Input<'_>) {
        let Some(key) = self.chosen(input) else {
            return;
        };
        let Some(watched) = self.watchers.get_mut(&key) else {
            return;
        };
        let _ = watched.queue.take();
        assert!(watched.queue.next_revision() <= watched.next);
        if std::mem::take(&mut watched.parked) {
            self.state.drained(key);
        }
        if input.flag() && self.state.wants_to_catch_up() {
            let _ = self.state.catch_up(self.now);
        }
    }

    fn send(&mut self) {
        let Some(request) = self.state.next_request(self.now) else {
            return;
        };
        if let Request::Create {
            key,
            watch_id,
            start_revision,
        } = request
        {
            let next = self.watchers.get(&key).map(|watched| watched.next);
            assert_eq!(Some(start_revision), next, "created from where it stands");
            assert!(
                watch_id == 0 || self.ids.insert(watch_id),
                "an id is used twice"
            );
        }
    }

    /// One message arrives, in pieces.
    fn receive(&mut self, message: Vec<u8>, input: &mut Input<'_>) {
        for (piece, first, last) in parts(&message, input.pieces(&message)) {
            self.state.heard(self.now);
            self.decoder.feed(piece, first, last);
            loop {
                match self.decoder.pull() {
                    Ok(None) => break,
                    Ok(Some(item)) => self.item(item),
                    Err(_) => return self.lost(),
                }
                if self.act() {
                    return;
                }
            }
        }
    }

    fn item(&mut self, item: Item) {
        match item {
            Item::Start { watch_id, .. } => self.state.start(watch_id),
            Item::Event { event, len } => self.state.event(event, len),
            Item::Oversized => self.state.oversized(),
            Item::End(response) => self.state.end(&response, self.now),
        }
    }

    /// Does what is to be done; was the stream given up?
    fn act(&mut self) -> bool {
        while let Some(action) = self.state.next_action() {
            match action {
                Action::Deliver(key, revision) => self.deliver(key, revision),
                Action::Progress(key, revision) => self.progress(key, revision),
                Action::Registered(key) => assert!(self.watchers.contains_key(&key)),
                Action::CaughtUp(_) => {}
                Action::Cancelled(key) => assert!(self.awaited.remove(&key), "told twice"),
                Action::End(key, error) => {
                    crate::error::fuzz::check(&error);
                    assert!(self.watchers.remove(&key).is_some(), "ended twice");
                }
                Action::Reopen(error) => {
                    crate::error::fuzz::check(&error);
                    self.lost();
                    return true;
                }
            }
        }
        false
    }

    fn deliver(&mut self, key: Key, revision: Revision) {
        let Some(watched) = self.watchers.get_mut(&key) else {
            return assert!(self.watchers.contains_key(&key), "delivered after its end");
        };
        let at = revision.revision;
        assert!(at >= watched.next, "revision {at} came again");
        assert!(!revision.events.is_empty());
        for event in &revision.events {
            let kv = event.kv.as_ref();
            assert!(kv.is_some_and(|kv| kv.mod_revision == at));
            assert!(kv.is_some_and(|kv| watched.range.contains(&kv.key)));
        }
        if watched.queue.offer(revision).is_ok() {
            watched.next = at + 1;
        } else {
            watched.parked = true;
            self.state.park(key, at);
            watched.next = at;
        }
    }

    fn progress(&mut self, key: Key, revision: i64) {
        let Some(watched) = self.watchers.get_mut(&key) else {
            return assert!(self.watchers.contains_key(&key), "progress after its end");
        };
        assert!(revision >= watched.next);
        watched.queue.progress(revision, true);
        watched.next = revision + 1;
    }

    fn lost(&mut self) {
        self.state.lost();
        assert!(!self.act(), "there is no stream to be given up");
        self.decoder = Decoder::new(LIMIT);
        self.ids.clear();
        self.state.opened("http://b:2379".into(), self.now);
    }

    fn chosen(&self, input: &mut Input<'_>) -> Option<Key> {
        let at = input.below(self.watchers.len().max(1));
        self.watchers.keys().nth(at).copied()
    }
}

fn range(input: &mut Input<'_>) -> KeyRange {
    match input.byte() % 4 {
        0 => KeyRange::all(),
        1 => KeyRange::prefix("b"),
        2 => KeyRange::key("c"),
        _ => KeyRange::from_key("b"),
    }
}

const REASONS: [&str; 5] = [
    "",
    "etcdserver: mvcc: required revision has been compacted",
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    "etcdserver: no leader",
    "etcdserver: invalid auth token",
];

fn response(input: &mut Input<'_>) -> WatchResponse {
    let flags = input.byte();
    let reason = REASONS[input.below(REASONS.len())];
    let header = ResponseHeader {
        revision: input.number(),
        ..Default::default()
    };
    WatchResponse {
        header: (flags & 1 == 0).then_some(header),
        watch_id: input.number(),
        created: flags & 6 == 6,
        canceled: flags & 24 == 24,
        compact_revision: if flags & 32 == 32 { input.number() } else { 0 },
        cancel_reason: reason.to_owned(),
        fragment: flags & 64 == 64,
        events: (0..input.below(5)).map(|_| event(input)).collect(),
    }
}

fn event(input: &mut Input<'_>) -> Event {
    const KEYS: [&str; 6] = ["a", "b", "b1", "bb2", "bc", "c"];
    let pair = |key: &'static str, mod_revision| KeyValue {
        key: key.into(),
        mod_revision,
        ..Default::default()
    };
    let (flags, key) = (input.byte(), KEYS[input.below(KEYS.len())]);
    let mod_revision = input.number();
    Event {
        r#type: i32::from(flags & 1),
        kv: Some(KeyValue {
            value: vec![b'v'; if flags & 6 == 6 { LIMIT } else { 1 }].into(),
            ..pair(key, mod_revision)
        }),
        prev_kv: (flags & 24 == 24).then(|| pair(KEYS[input.below(KEYS.len())], mod_revision)),
    }
}
