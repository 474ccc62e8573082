//! What happened, as the server itself tells it, and whether a watch has delivered just that.
//!
//! [`History::check`] compares every batch with everything that happened between the batch before it and its own revision.
//! So it finds events that are lost, delivered twice, out of order, of another range, without the pair they replaced, or of
//! a revision that is split between batches; and batches that go back.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use etcd_core::proto::etcdserverpb::watch_client::WatchClient;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use etcd_core::proto::mvccpb::Event;
use etcd_core::{Batch, KeyRange, Watcher};
use etcd_tests::wait;
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::LIMIT;

/// Everything that happened in a range of keys, each event with the pair it replaced.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: Vec<Event>,
}

/// What of a history a watch is to deliver.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// From this revision on.
    pub(crate) start: i64,
    /// Up to this one.
    pub(crate) end: i64,
    pub(crate) range: KeyRange,
    pub(crate) puts: bool,
    pub(crate) deletes: bool,
    pub(crate) prev_kv: bool,
}

impl Wanted {
    /// All of a range, without the pairs that were replaced.
    pub(crate) fn all(range: KeyRange, start: i64, end: i64) -> Self {
        Self {
            start,
            end,
            range,
            puts: true,
            deletes: true,
            prev_kv: false,
        }
    }

    fn event(&self, event: &Event) -> Option<Event> {
        let kv = event.kv.as_ref()?;
        let kind = if event.is_delete() {
            self.deletes
        } else {
            self.puts
        };
        let wanted = kind && kv.mod_revision >= self.start && self.range.contains(&kv.key);
        let mut event = event.clone();
        if !self.prev_kv {
            event.prev_kv = None;
        }
        wanted.then_some(event)
    }
}

impl History {
    /// Asks `endpoint` by the generated stub on a channel of tonic's, which shares nothing with the client under test.
    /// `end` must be the revision of an event in the range.
    pub(crate) async fn read(endpoint: &str, range: &KeyRange, start: i64, end: i64) -> Self {
        let mut events: Vec<Event> = Vec::new();
        let create = WatchCreateRequest {
            key: range.start().clone(),
            range_end: range.end().clone(),
            start_revision: start,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        for response in bare(endpoint, create, |response| {
            response
                .events
                .last()
                .is_some_and(|last| revision(last) >= end)
        })
        .await
        {
            events.extend(response.events);
        }
        events.retain(|event| revision(event) <= end);
        Self { events }
    }

    /// The revision of the last deletion.
    pub(crate) fn last_delete(&self) -> i64 {
        let deletes = self.events.iter().filter(|event| event.is_delete());
        deletes.map(revision).max().unwrap_or(0)
    }

    /// Were the events delivered that are wanted, all of them and nothing else?
    pub(crate) fn check(&self, wanted: &Wanted, batches: &[Batch]) -> Result<(), String> {
        let mut told = wanted.start - 1;
        let mut events = self
            .events
            .iter()
            .filter_map(|event| wanted.event(event))
            .peekable();
        for batch in batches {
            if batch.revision <= told {
                return Err(format!(
                    "a batch up to {} after one up to {told}",
                    batch.revision
                ));
            }
            told = batch.revision;
            let mut expected: Vec<Event> = Vec::new();
            while let Some(event) = events.next_if(|event| revision(event) <= told) {
                expected.push(event);
            }
            if batch.events != expected {
                let (got, expected) = (lines(&batch.events), lines(&expected));
                return Err(format!(
                    "the batch up to {told} has {got:?}, not {expected:?}"
                ));
            }
        }
        match events.next() {
            None if told >= wanted.end => Ok(()),
            _ => Err(format!(
                "nothing came after {told}, and {} is the end",
                wanted.end
            )),
        }
    }
}

/// What the server sends to a watch of its own stream, up to the response for which `last` is true.
pub(crate) async fn bare(
    endpoint: &str,
    create: WatchCreateRequest,
    last: impl Fn(&WatchResponse) -> bool,
) -> Vec<WatchResponse> {
    let channel = etcd_tests::tls::channel(endpoint).await.unwrap();
    let mut client = WatchClient::new(channel).max_decoding_message_size(256 << 20);
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The request is ended with this function: the channel would go on waiting for more of it, and keep the stream open.
    let (_end, ended) = oneshot::channel::<()>();
    let requests = stream::iter([request]).chain(stream::pending());
    let requests = requests.take_until(ended);
    let mut answers = client.watch(requests).await.unwrap().into_inner();
    let mut responses = Vec::new();
    loop {
        let response = timeout(LIMIT, answers.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let done = last(&response);
        responses.push(response);
        if done {
            return responses;
        }
    }
}

/// Reads a watcher to its end in the background.
pub(crate) struct Recorder {
    pub(crate) start: i64,
    pub(crate) range: KeyRange,
    /// With the time at which each of them came.
    batches: Arc<Mutex<Vec<(Instant, Batch)>>>,
    task: JoinHandle<etcd_core::Result<()>>,
}

impl Recorder {
    pub(crate) fn new(mut watcher: Watcher) -> Self {
        let (start, range) = (watcher.start_revision(), watcher.range().clone());
        let batches = Arc::new(Mutex::new(Vec::new()));
        let record = batches.clone();
        let task = tokio::spawn(async move {
            while let Some(batch) = watcher.try_next().await? {
                assert!(watcher.next_revision() > batch.revision);
                record.lock().unwrap().push((Instant::now(), batch));
            }
            Ok(())
        });
        Self {
            start,
            range,
            batches,
            task,
        }
    }

    /// Waits until everything up to `revision` has come, and gives all that has.
    pub(crate) async fn up_to(&self, revision: i64) -> Vec<Batch> {
        self.came(revision).await;
        let batches = self.batches.lock().unwrap();
        batches.iter().map(|(_, batch)| batch.clone()).collect()
    }

    /// When everything up to `revision` had come. Waits for it.
    pub(crate) async fn came(&self, revision: i64) -> Instant {
        let came = || {
            let batches = self.batches.lock().unwrap();
            let at = batches.partition_point(|(_, batch)| batch.revision < revision);
            batches.get(at).map(|(came, _)| *came)
        };
        wait::until("all events have come", LIMIT, async || {
            came().is_some() || self.task.is_finished()
        })
        .await
        .unwrap();
        came().expect("the watch has ended before")
    }

    /// The last revision that has come.
    pub(crate) fn revision(&self) -> i64 {
        let batches = self.batches.lock().unwrap();
        batches.last().map_or(0, |(_, batch)| batch.revision)
    }

    /// Checks that this watcher has delivered everything up to `end`, which is asked of `endpoint`.
    pub(crate) async fn check(&self, endpoint: &str, end: i64) {
        let batches = self.up_to(end).await;
        let history = History::read(endpoint, &self.range, self.start, end).await;
        let wanted = Wanted::all(self.range.clone(), self.start, end);
        history.check(&wanted, &batches).unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        let kind = if event.is_delete() { "delete" } else { "put" };
        let prev = event.prev_kv.as_ref().map(|prev| prev.mod_revision);
        format!("{} {kind} {:?} prev {prev:?}", kv.mod_revision, kv.key)
    };
    events.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use etcd_core::proto::mvccpb::KeyValue;
    use etcd_core::proto::mvccpb::event::EventType;

    use super::*;

    fn event(kind: EventType, key: &'static str, mod_revision: i64) -> Event {
        let kv = |mod_revision| KeyValue {
            key: key.into(),
            mod_revision,
            ..KeyValue::default()
        };
        Event {
            r#type: kind.into(),
            kv: Some(kv(mod_revision)),
            prev_kv: Some(kv(mod_revision - 1)),
        }
    }

    fn batch(revision: i64, events: &[Event]) -> Batch {
        let mut batch = Batch::default();
        (batch.revision, batch.events) = (revision, events.to_vec());
        batch
    }

    /// Revision 5 puts a, 6 puts a and b, 8 deletes a; and a watch that delivered just that.
    fn world() -> (History, Wanted, Vec<Batch>) {
        use EventType::{Delete, Put};
        let events = vec![
            event(Put, "a", 5),
            event(Put, "a", 6),
            event(Put, "b", 6),
            event(Delete, "a", 8),
        ];
        let batches = vec![
            batch(5, &events[..1]),
            batch(6, &events[1..3]),
            batch(7, &[]),
            batch(8, &events[3..]),
        ];
        let mut wanted = Wanted::all(KeyRange::range("a", "c"), 5, 8);
        wanted.prev_kv = true;
        (History { events }, wanted, batches)
    }

    #[test]
    fn the_checker_accepts_what_happened_however_whole_revisions_are_gathered() {
        let (history, wanted, batches) = world();
        history.check(&wanted, &batches).unwrap();
        let all = events_of(&batches);
        history.check(&wanted, &[batch(8, &all)]).unwrap();
        let later = Wanted { start: 6, ..wanted };
        history.check(&later, &batches[1..]).unwrap();
        let mut puts_of_a = later.clone();
        (puts_of_a.deletes, puts_of_a.range) = (false, KeyRange::key("a"));
        history.check(&puts_of_a, &[batch(8, &all[1..2])]).unwrap();
    }

    #[test]
    fn the_checker_finds_every_way_to_get_it_wrong() {
        type Mutant = fn(&mut Vec<Batch>);
        let mutants: [(&str, Mutant); 12] = [
            ("lost in between", |b| drop(b.remove(1))),
            ("lost at the end", |b| drop(b.pop())),
            ("lost one of a revision", |b| drop(b[1].events.pop())),
            ("delivered twice", |b| b.insert(1, b[0].clone())),
            ("delivered twice in a batch", |b| {
                let again = b[0].events[0].clone();
                b[0].events.push(again);
            }),
            ("out of order", |b| b.swap(0, 1)),
            ("out of order in a revision", |b| b[1].events.reverse()),
            ("split", |b| {
                let rest = b[1].events.split_off(1);
                b.insert(2, batch(6, &rest));
            }),
            ("early", |b| b[1].revision = 8),
            ("progress before an event", |b| b.swap(2, 3)),
            ("without the pair before", |b| b[0].events[0].prev_kv = None),
            ("of another range", |b| {
                b[2].events.push(event(EventType::Put, "z", 7));
            }),
        ];
        for (name, mutate) in mutants {
            let (history, wanted, mut batches) = world();
            mutate(&mut batches);
            assert!(history.check(&wanted, &batches).is_err(), "{name}");
        }
        let (history, mut wanted, batches) = world();
        wanted.deletes = false;
        assert!(history.check(&wanted, &batches).is_err(), "filtered");
    }

    fn events_of(batches: &[Batch]) -> Vec<Event> {
        batches
            .iter()
            .flat_map(|batch| batch.events.clone())
            .collect()
    }
}
