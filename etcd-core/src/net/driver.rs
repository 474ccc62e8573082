//! The task that owns one HTTP/2 connection.
//!
//! Each turn: hand the submitted calls to h2, poll h2 once, go on with the calls whose streams have news, then write to
//! the socket once. Nothing is polled that has no news: every call has its own waker, which puts it on a list.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::client::SendRequest;
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Closing, Condition, Shared, Submit};
use super::outcome;
use super::ping::Verdict;
use super::pulse::{Load, Pulse};
use super::ready::{Ready, SlotWaker};
use super::reply::Reply;
use super::settings;
use super::tap::{Tap, TapHandle};
use super::unary::{Failed, Unary, Upload};
use crate::error::{Error, Outcome, Result};

/// Turns in one poll before other tasks get theirs.
const TURNS: usize = 8;

pub(super) struct Driver<IO> {
    shared: Arc<Shared>,
    h2: h2::client::Connection<Tap<IO>, Bytes>,
    /// None once the connection is to end with what is on it.
    sender: Option<SendRequest<Bytes>>,
    tap: TapHandle<IO>,
    guard: Waker,
    submitted: VecDeque<Submit>,
    calls: Slab<Slot>,
    ready: Arc<Ready>,
    news: Vec<usize>,
    pulse: Pulse,
    /// Told at the first PING's answer.
    alive: Option<oneshot::Sender<()>>,
    receive_limit: usize,
    /// The server has said so.
    too_many_pings: bool,
}

struct Slot {
    unary: Unary,
    sent: Instant,
    waker: Arc<SlotWaker>,
}

impl<IO> Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(
        shared: Arc<Shared>,
        h2: h2::client::Connection<Tap<IO>, Bytes>,
        sender: SendRequest<Bytes>,
        tap: TapHandle<IO>,
        pulse: Pulse,
        alive: oneshot::Sender<()>,
        receive_limit: usize,
    ) -> Self {
        let guard = Waker::from(shared.wake.clone());
        let ready = Arc::new(Ready::new(shared.wake.clone()));
        Self {
            shared,
            h2,
            sender: Some(sender),
            tap,
            guard,
            submitted: VecDeque::new(),
            calls: Slab::new(),
            ready,
            news: Vec::new(),
            pulse,
            alive: Some(alive),
            receive_limit,
            too_many_pings: false,
        }
    }

    /// One turn; the error says why the connection is over.
    fn turn(&mut self, cx: &mut Context<'_>, completed: &mut usize) -> Result<(), String> {
        let mut closing = self.hand_over(cx);
        // What h2 marked while requests were handed to it is done by polling it now.
        self.shared.wake.clear();
        closing = closing.max(self.hand_over(cx));
        self.obey(closing)?;
        if let Poll::Ready(ended) = Pin::new(&mut self.h2).poll(cx) {
            // The end tells the calls why; before it, their streams know less.
            return Err(self.describe_end(ended.err(), cx));
        }
        *completed += self.go_on();
        if !self.submitted.is_empty() {
            // Calls that ended made room, or after a GOAWAY there will be none.
            self.hand_over(cx);
        }
        self.feel_pulse(cx)?;
        // A socket that cannot be written to any more ends for reading too, but only after what has arrived: replies, or a
        // GOAWAY that says what was not processed.
        let _ = self.tap.poll_write_out(cx);
        Ok(())
    }

    /// Hands submitted calls to h2, as many as the server allows at once.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Closing {
        let closing = self.shared.take_submitted(&mut self.submitted);
        while !self.submitted.is_empty() {
            let Some(sender) = &mut self.sender else {
                break;
            };
            match sender.poll_ready(cx) {
                // What h2 holds back for want of room it sends later, also when its caller has long left.
                Poll::Ready(Ok(()))
                    if self.calls.len() >= self.h2.max_concurrent_send_streams() =>
                {
                    break;
                }
                Poll::Ready(Ok(())) => {
                    if let Some(submit) = self.submitted.pop_front() {
                        self.send(submit);
                    }
                }
                Poll::Ready(Err(error)) => {
                    // GOAWAY was received: nothing of this was, or will be, sent.
                    let why = self.describe(&error);
                    self.shared.retire(&why);
                    let error = self.shared.error(Outcome::NotApplied);
                    for submit in self.submitted.drain(..) {
                        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
                        submit.answer.finish(Err(error.clone()));
                    }
                }
                Poll::Pending => break,
            }
        }
        closing
    }

    fn send(&mut self, submit: Submit) {
        let Submit {
            path,
            metadata,
            body,
            answer,
            room,
        } = submit;
        let entry = self.calls.vacant_entry();
        let waker = Arc::new(SlotWaker::new(entry.key(), self.ready.clone()));
        let Some(sender) = &mut self.sender else {
            return;
        };
        if !answer.take(Waker::from(waker.clone())) {
            self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let request = self.shared.request(path, &metadata);
        let (response, mut send) = match sender.send_request(request, false) {
            Ok(halves) => halves,
            Err(error) => {
                self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
                let cause = self.describe(&error);
                let name = self.shared.name.clone();
                return answer.finish(Err(Error::connection(name, Outcome::NotApplied, cause)));
            }
        };
        let stream = response.stream_id().as_u32();
        if stream >= settings::RETIRE_AT_STREAM {
            self.shared.retire("its stream ids run out");
        }
        let upload = if body.len() > settings::BODY_AT_ONCE {
            Some(Upload {
                send,
                rest: body,
                _room: room,
            })
        } else {
            // An error shows in the reply as well. The sending half is dropped: held, it would delay the reset of a
            // dropped call.
            let _ = send.send_data(body, true);
            None
        };
        entry.insert(Slot {
            unary: Unary::new(
                answer,
                stream,
                upload,
                Reply::new(response),
                self.receive_limit,
            ),
            waker: waker.clone(),
            sent: Instant::now(),
        });
        // Its first poll registers the wakers.
        waker.wake_by_ref();
    }

    /// Goes on with the calls that have news; returns how many were completed.
    fn go_on(&mut self) -> usize {
        self.ready.swap(&mut self.news);
        let mut completed = 0;
        let mut news = std::mem::take(&mut self.news);
        for key in news.drain(..) {
            let Some(slot) = self.calls.get_mut(key) else {
                continue;
            };
            // Before the poll: news that come during it must list the call again.
            slot.waker.unlist();
            let waker = Waker::from(slot.waker.clone());
            if let Poll::Ready(result) = slot.unary.poll(&mut Context::from_waker(&waker)) {
                self.complete(key, result, None);
                completed += 1;
            }
        }
        self.news = news;
        completed
    }

    fn complete(&mut self, key: usize, result: Result<Bytes, Failed>, lost: Option<&str>) {
        if let Some(slot) = self.calls.try_remove(key) {
            self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            if result.is_ok() {
                self.pulse.answered(slot.sent.elapsed());
            }
            let written = result.is_ok() || slot.unary.stream() <= self.tap.highest_written();
            slot.unary.finish(result, &self.shared.name, written, lost);
        }
    }

    /// Looks at what arrived and whether the server still answers.
    fn feel_pulse(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        let load = Load {
            calls: self.calls.len() + self.shared.waiting.load(Ordering::Relaxed),
            streams: self.shared.streams.load(Ordering::Relaxed),
        };
        let probe = self.shared.probe.swap(false, Ordering::SeqCst);
        let verdict = self.pulse.feel(cx, self.tap.take_news(), load, probe);
        if let Some(rtt) = self.pulse.rtt() {
            self.shared.rtt.store(
                u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
            if let Some(alive) = self.alive.take() {
                let _ = alive.send(());
            }
        }
        match verdict {
            Some(Verdict::Alive) => self.shared.set_condition(Condition::Alive),
            Some(Verdict::Suspect) => {
                self.shared.set_condition(Condition::Suspect);
                for (_, slot) in &self.calls {
                    slot.unary.suspect();
                }
            }
            Some(Verdict::Dead(why)) => return Err(why),
            None => {}
        }
        Ok(())
    }

    /// Begins to end the connection when its users are gone, or at once when it was closed.
    fn obey(&mut self, closing: Closing) -> Result<(), String> {
        match closing {
            Closing::No => Ok(()),
            Closing::Now => Err("the client was closed".to_owned()),
            Closing::WhenIdle => {
                if self.submitted.is_empty() && self.sender.take().is_some() {
                    // h2 ends the connection by itself when no sender and no stream is left.
                    self.shared.drop_sender();
                }
                Ok(())
            }
        }
    }

    /// Why the connection has ended. A GOAWAY says more than how the connection ended after it, and where streams were
    /// open h2 tells it only to those who would open another.
    fn describe_end(&mut self, ended: Option<h2::Error>, cx: &mut Context<'_>) -> String {
        let refusal = self.sender.as_mut().map(|sender| sender.poll_ready(cx));
        let goaway = match refusal {
            Some(Poll::Ready(Err(error))) if error.is_go_away() => Some(error),
            _ => None,
        };
        match goaway.or(ended) {
            Some(error) => self.describe(&error),
            None => "the connection was closed".to_owned(),
        }
    }

    fn describe(&mut self, error: &h2::Error) -> String {
        let text = outcome::describe(error);
        if text.contains("too_many_pings") && !std::mem::replace(&mut self.too_many_pings, true) {
            self.shared.too_many_pings();
        }
        text
    }

    /// The connection is over: every call learns why and what is known about it.
    fn end(&mut self, why: String) {
        self.tap.kill();
        tracing::debug!(endpoint = %self.shared.name, cause = %why, "connection ended");
        self.submitted.extend(self.shared.end(&why));
        let never_sent = self.shared.error(Outcome::NotApplied);
        for submit in self.submitted.drain(..) {
            self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            submit.answer.finish(Err(never_sent.clone()));
        }
        for key in self.calls.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            let Some(slot) = self.calls.get_mut(key) else {
                continue;
            };
            // A reply that arrived whole before the end still counts.
            let result = match slot.unary.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(Failed::Lost),
            };
            self.complete(key, result, Some(&why));
        }
    }
}

impl<IO> Drop for Driver<IO> {
    /// The runtime may be shut down under a live connection: no caller may wait for ever.
    fn drop(&mut self) {
        self.shared.end("its runtime was shut down");
        self.submitted.clear();
    }
}

impl<IO> Future for Driver<IO>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.wake.enter(task.waker());
        let guard = this.guard.clone();
        let mut cx = Context::from_waker(&guard);
        let mut completed = 0;
        for _ in 0..TURNS {
            if let Err(why) = this.turn(&mut cx, &mut completed) {
                this.end(why);
                return Poll::Ready(());
            }
            // Callers that were just answered get to run, so that their next requests leave in one write.
            if completed >= 2 || !this.shared.wake.is_dirty() {
                break;
            }
        }
        if this.shared.wake.leave() || completed >= 2 {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
