//! Random servers and random readers against the whole receiving side: whatever happens, each watcher gets every
//! revision in its range exactly once, in order and whole.

mod server;

use std::collections::BTreeMap;

use etcd_proto::mvccpb::Event;
use proptest::prelude::*;

use self::server::Server;
use super::tests::limits;
use super::*;
use crate::range::KeyRange;
use crate::watch::decode::{Decoder, Item};
use crate::watch::queue::{Queue, QueueLimits};

const CASES: u32 = 500;

const KEYS: [&str; 4] = ["a", "b1", "b2", "c"];
const QUEUE: QueueLimits = QueueLimits {
    revisions: 3,
    bytes: 2_000,
};

fn range(choice: usize) -> KeyRange {
    match choice {
        0 => KeyRange::all(),
        1 => KeyRange::prefix("b"),
        _ => KeyRange::key("c"),
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A transaction that changes the keys in this bit set.
    Put(u8),
    Watch {
        range: usize,
        back: i64,
    },
    Drop(usize),
    Read(usize),
    /// So many requests are sent,
    Exchange(usize),
    /// and so many answered.
    Answer(usize),
    /// The server sends a watcher up to this many revisions, in fragments of so many events (0: whole).
    Send {
        watcher: usize,
        revisions: usize,
        fragment: usize,
    },
    /// It sends again what it sent before, and what nobody asked for.
    Repeat(usize),
    Progress(usize),
    ProgressOfAll,
    /// So many bytes arrive.
    Receive(usize),
    Break,
}

fn op() -> impl Strategy<Value = Op> {
    let send = (0..5usize, 1..6usize, 0..4usize);
    prop_oneof![
        4 => (1..16u8).prop_map(Op::Put),
        1 => (0..3usize, -2..6i64).prop_map(|(range, back)| Op::Watch { range, back }),
        1 => (0..5usize).prop_map(Op::Drop),
        3 => (0..5usize).prop_map(Op::Read),
        4 => (1..6usize).prop_map(Op::Exchange),
        4 => (1..4usize).prop_map(Op::Answer),
        5 => send.prop_map(|(watcher, revisions, fragment)| Op::Send { watcher, revisions, fragment }),
        1 => (0..5usize).prop_map(Op::Repeat),
        1 => (0..5usize).prop_map(Op::Progress),
        1 => Just(Op::ProgressOfAll),
        8 => (1..400usize).prop_map(Op::Receive),
        1 => Just(Op::Break),
    ]
}

/// A watcher as its owner sees it.
struct Reader {
    range: KeyRange,
    start: i64,
    queue: Queue,
    parked: bool,
    read: Vec<Event>,
}

struct World {
    server: Server,
    state: State,
    decoder: Decoder,
    now: Instant,
    readers: BTreeMap<Key, Reader>,
    next_key: Key,
    /// How much of the first message on the wire has arrived.
    arrived: usize,
    catching_up: usize,
}

impl World {
    fn new(chooses_ids: bool) -> Self {
        let (state, decoder) = (State::new(limits()), Decoder::new(10_000));
        let server = Server::new(Vec::new(), chooses_ids);
        let (readers, now) = (BTreeMap::new(), Instant::now());
        World {
            server,
            state,
            decoder,
            now,
            readers,
            next_key: 0,
            arrived: 0,
            catching_up: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Put(bits) => {
                let keys = KEYS
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| bits & (1 << i) != 0);
                self.server
                    .history
                    .push(keys.map(|(_, key)| *key).collect());
            }
            Op::Watch {
                range: choice,
                back,
            } => {
                let (range, start) = (range(choice), (self.server.revision() - back).max(1));
                self.next_key += 1;
                self.state.add(self.next_key, range.clone(), start);
                let queue = Queue::new(start, QUEUE);
                self.readers.insert(
                    self.next_key,
                    Reader {
                        range,
                        start,
                        queue,
                        parked: false,
                        read: Vec::new(),
                    },
                );
            }
            Op::Drop(index) => {
                if let Some(key) = self.readers.keys().nth(index).copied() {
                    self.readers.remove(&key);
                    self.state.cancel(key, false);
                }
            }
            Op::Read(index) => {
                if let Some(key) = self.readers.keys().nth(index).copied() {
                    self.read(key);
                }
            }
            Op::Exchange(requests) => self.exchange(requests),
            Op::Answer(answers) => (0..answers).for_each(|_| self.server.answer()),
            Op::Send {
                watcher,
                revisions,
                fragment,
            } => self.server.send(watcher, revisions, fragment),
            Op::Repeat(index) => self.server.repeat(index),
            Op::Progress(index) => self.server.progress(index),
            Op::ProgressOfAll => self.server.progress_of_all(),
            Op::Receive(bytes) => self.receive(bytes),
            Op::Break => self.reconnect(),
        }
        self.act();
    }

    fn read(&mut self, key: Key) {
        let reader = self.readers.get_mut(&key).unwrap();
        if let Some(batch) = reader.queue.take() {
            reader.read.extend(batch.events);
        }
        if mem::take(&mut reader.parked) {
            self.state.drained(key);
        }
        let next = reader.queue.next_revision();
        let mut due = (reader.start..next.min(self.server.revision() + 1))
            .flat_map(|r| self.server.events(&reader.range, r));
        assert!(
            reader
                .read
                .iter()
                .all(|read| due.next().as_ref() == Some(read)),
            "{:?}",
            reader.read
        );
        assert_eq!(
            due.next(),
            None,
            "watcher {key} would resume at {next} without it"
        );
    }

    fn exchange(&mut self, requests: usize) {
        if self.catching_up < 1 && self.state.catch_up(self.now).is_some() {
            self.catching_up += 1;
        }
        for _ in 0..requests {
            match self.state.next_request(self.now) {
                Some(Request::Create {
                    key,
                    watch_id,
                    start_revision,
                }) => {
                    let range = self.readers[&key].range.clone();
                    self.server.create(watch_id, range, start_revision);
                }
                Some(Request::Cancel { watch_id }) => self.server.cancel(watch_id),
                Some(Request::Progress) | None => {}
            }
        }
    }

    fn receive(&mut self, bytes: usize) {
        let Some(message) = self.server.wire.front() else {
            return;
        };
        let first = (self.arrived == 0).then_some(u32::try_from(message.len()).unwrap());
        let end = message.len().min(self.arrived + bytes);
        let (data, last) = (message[self.arrived..end].to_vec(), end == message.len());
        self.arrived = end;
        if last {
            self.arrived = 0;
            self.server.wire.pop_front();
        }
        self.decoder.feed(data.into(), first, last);
        while let Some(item) = self.decoder.pull().unwrap() {
            match item {
                Item::Start { watch_id, .. } => self.state.start(watch_id),
                Item::Event { event, len } => self.state.event(event, len),
                Item::Oversized => self.state.oversized(),
                Item::End(response) => self.state.end(&response, self.now),
            }
            self.act();
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.state.next_action() {
            match action {
                Action::Deliver(key, revision) => {
                    let reader = self.readers.get_mut(&key).unwrap();
                    let at = revision.revision;
                    assert_eq!(
                        revision.events,
                        self.server.events(&reader.range, at),
                        "revision {at} in part"
                    );
                    if reader.queue.offer(revision).is_err() {
                        reader.parked = true;
                        self.state.park(key, at);
                    }
                }
                Action::Progress(key, revision) => {
                    self.readers
                        .get_mut(&key)
                        .unwrap()
                        .queue
                        .progress(revision, false);
                }
                Action::CaughtUp(_) => self.catching_up -= 1,
                Action::Registered(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn reconnect(&mut self) {
        self.state.lost();
        self.state.opened("http://b".into(), self.now);
        self.decoder = Decoder::new(10_000);
        self.arrived = 0;
        let history = mem::take(&mut self.server.history);
        self.server = Server::new(history, self.server.chooses_ids);
    }

    /// Lets everything happen that is still to happen.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now += Duration::from_millis(300);
            self.state.tick(self.now);
            self.act();
            self.exchange(10);
            self.server.finish();
            while !self.server.wire.is_empty() {
                self.receive(500);
            }
            self.readers
                .keys()
                .copied()
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|key| self.read(key));
            if self
                .readers
                .iter()
                .all(|(_, reader)| reader.read == self.due(reader))
            {
                return;
            }
        }
    }

    /// What a reader must have read in the end.
    fn due(&self, reader: &Reader) -> Vec<Event> {
        let revisions = reader.start..=self.server.revision();
        revisions
            .flat_map(|revision| self.server.events(&reader.range, revision))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn no_event_is_lost_duplicated_reordered_or_split(
        ops in prop::collection::vec(op(), 1..150),
        chooses_ids in any::<bool>(),
    ) {
        let mut world = World::new(chooses_ids);
        for op in &ops {
            world.apply(op);
        }
        world.settle();
        for (key, reader) in &world.readers {
            prop_assert_eq!(&reader.read, &world.due(reader), "watcher {}", key);
        }
    }
}
