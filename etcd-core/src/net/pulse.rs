//! A connection's PINGs: the rules of [`super::ping`] applied to h2, with one timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::PingPong;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ping::{Ping, PingOptions, Verdict};
use super::tap::News;

pub(super) struct Pulse {
    ping: PingPong,
    options: PingOptions,
    /// None until the first PING was answered: before that there is no round-trip time to judge by.
    state: Option<Ping>,
    /// When the unanswered PING was sent.
    sent: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What is on the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) calls: usize,
    pub(super) streams: usize,
}

impl Pulse {
    pub(super) fn new(ping: PingPong, options: PingOptions) -> Self {
        // Armed anew as soon as there is something to wait for.
        let timer = Box::pin(sleep_until(Instant::now() + Duration::from_secs(86_400)));
        Self {
            ping,
            options,
            state: None,
            sent: None,
            timer,
        }
    }

    /// The smoothed round-trip time, once the first PING was answered.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.state.as_ref().map(Ping::rtt)
    }

    /// A call was answered this long after it was sent.
    pub(super) fn answered(&mut self, took: Duration) {
        if let Some(state) = &mut self.state {
            state.on_answer(took);
        }
    }

    /// Looks at what arrived and at the clock; returns a verdict that is new.
    pub(super) fn feel(
        &mut self,
        cx: &mut Context<'_>,
        news: News,
        load: Load,
        probe: bool,
    ) -> Option<Verdict> {
        let now = Instant::now();
        let Some(state) = &mut self.state else {
            self.first(cx, now);
            return None;
        };
        let at = now.into_std();
        if news.bytes {
            state.on_bytes(at);
        }
        if news.replies {
            state.on_headers_or_data(at);
        }
        if self.sent.is_some() && self.ping.poll_pong(cx).is_ready() {
            self.sent = None;
            state.on_pong(at);
        }
        state.streams(load.streams + load.calls, at);
        state.calls_in_flight(load.calls, at);
        if probe {
            state.probe(at);
        }
        let mut verdict = None;
        // One tick does one thing; several may be due.
        while state.deadline().is_some_and(|deadline| deadline <= at) {
            let actions = state.tick(at);
            verdict = actions.verdict.or(verdict);
            if actions.send_ping
                && self.sent.is_none()
                && self.ping.send_ping(h2::Ping::opaque()).is_ok()
            {
                self.sent = Some(now);
            }
        }
        if let Some(deadline) = state.deadline() {
            Self::arm(&mut self.timer, cx, deadline.into());
        }
        verdict
    }

    /// The first PING tells that the server lives, and the first round-trip time.
    fn first(&mut self, cx: &mut Context<'_>, now: Instant) {
        match self.sent {
            None => {
                if self.ping.send_ping(h2::Ping::opaque()).is_ok() {
                    self.sent = Some(now);
                }
            }
            Some(sent) => {
                if let Poll::Ready(Ok(_)) = self.ping.poll_pong(cx) {
                    self.sent = None;
                    self.state = Some(Ping::new(self.options, now - sent, now.into_std()));
                }
            }
        }
    }

    /// Makes the timer wake the task at `deadline` or before.
    fn arm(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>, deadline: Instant) {
        // A timer that fires too early only costs a look; moving it at every poll would cost more.
        if deadline < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            // Never in the past: that would be a busy loop.
            timer
                .as_mut()
                .reset(deadline.max(Instant::now() + Duration::from_millis(1)));
        }
    }
}
