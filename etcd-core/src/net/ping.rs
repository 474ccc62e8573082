//! Is the peer of one connection alive? When to send PING frames, and what silence means. Pure: time comes in as an argument.
//!
//! There are two reasons to ask. **Keep-alive**: while streams are open, a PING every 6 s. **Suspicion**: calls are in
//! flight and not a byte has come back for a while. Silence is normal (a Lock call blocks for ever, a write hangs 7 s when
//! the leader dies), so a PING asks before anything is concluded. A server counts PINGs less than 5 s after the one before
//! and ends the connection at the third, unless it sent HEADERS or DATA in between; so only one PING is sent early, and the
//! next early one only after HEADERS or DATA came.
//!
//! The owner of the connection reads what has arrived **before** it calls [`tick`](Ping::tick), and calls it at
//! [`deadline`](Ping::deadline), which every other method can change.

use std::time::{Duration, Instant};

/// The numbers of [`Ping`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PingOptions {
    /// From one PING to the next while streams are open.
    pub(crate) keep_alive_interval: Duration,
    /// A connection whose keep-alive PING is unanswered for this long is dead.
    pub(crate) keep_alive_timeout: Duration,
    /// The least silence after which a call in flight raises suspicion.
    pub(crate) suspect_after: Duration,
    /// That silence in smoothed round trips; the longer of the two counts.
    pub(crate) suspect_rtt_factor: u32,
    /// A connection whose suspicion PING is unanswered for this long is dead.
    pub(crate) dead_after: Duration,
    /// When we look at the clock this much after a deadline, the process was stopped or starved, and silence says nothing.
    pub(crate) late_tolerance: Duration,
}

impl Default for PingOptions {
    fn default() -> Self {
        Self {
            keep_alive_interval: Duration::from_secs(6),
            keep_alive_timeout: Duration::from_secs(3),
            suspect_after: Duration::from_millis(150),
            suspect_rtt_factor: 4,
            dead_after: Duration::from_secs(3),
            late_tolerance: Duration::from_millis(100),
        }
    }
}

impl PingOptions {
    /// The server closed the connection with `too_many_pings`: half as many on the next ones.
    pub(crate) fn too_many_pings(&mut self) {
        let doubled = self.keep_alive_interval.saturating_mul(2).min(MAX_INTERVAL);
        self.keep_alive_interval = self.keep_alive_interval.max(doubled);
    }
}

/// What a gRPC server allows even without a stream, by default: nobody has to ask less often.
const MAX_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// What the owner of the connection has to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Actions {
    /// Send one PING; the one before was answered.
    pub(crate) send_ping: bool,
    /// What to tell the pool.
    pub(crate) verdict: Option<Verdict>,
}

/// A change in what is thought of the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It was suspect, and a byte came.
    Alive,
    /// It does not even answer a PING.
    Suspect,
    /// It has not answered for so long that the connection is to be closed. The last verdict.
    Dead(String),
}

/// What is known of one connection.
pub(crate) struct Ping {
    options: PingOptions,
    /// The smoothed round trip time.
    srtt: Duration,
    last_ping: Instant,
    unanswered: Option<Unanswered>,
    /// HEADERS or DATA came since the last early PING: one may be sent.
    armed: bool,
    /// HEADERS or DATA came since the last PING.
    replied: bool,
    streams: usize,
    /// Since when streams are open, if any is.
    streams_since: Instant,
    calls: usize,
    /// Since when calls are in flight, if any is.
    calls_since: Instant,
    /// Since when no byte came though a call waits for one, or was given up without one.
    silent_since: Option<Instant>,
    /// A call was sent since the last byte.
    sent: bool,
    /// Since when the pool wants to know whether this connection is alive.
    probed: Option<Instant>,
    peer: Peer,
}

/// A PING whose answer has not come.
#[derive(Clone, Copy)]
struct Unanswered {
    sent: Instant,
    /// When it was sent, or when a byte came after it.
    waiting_since: Instant,
    timeout: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Alive,
    Suspect,
    /// It was suspect, and a byte came at this time.
    Recovered(Instant),
    Dead,
}

impl Ping {
    /// For a connection whose first PING was answered after `rtt`, just now.
    pub(crate) fn new(options: PingOptions, rtt: Duration, now: Instant) -> Self {
        Self {
            options,
            srtt: rtt,
            last_ping: now,
            unanswered: None,
            armed: true,
            replied: false,
            streams: 0,
            streams_since: now,
            calls: 0,
            calls_since: now,
            silent_since: None,
            sent: false,
            probed: None,
            peer: Peer::Alive,
        }
    }

    /// Any byte arrived.
    pub(crate) fn on_bytes(&mut self, now: Instant) {
        self.silent_since = (self.calls > 0).then_some(now);
        self.sent = false;
        self.probed = None;
        if let Some(ping) = &mut self.unanswered {
            ping.waiting_since = now;
        }
        if self.peer == Peer::Suspect {
            self.peer = Peer::Recovered(now);
        }
    }

    /// HEADERS or DATA arrived on any stream.
    pub(crate) fn on_headers_or_data(&mut self, now: Instant) {
        self.on_bytes(now);
        self.armed = true;
        self.replied = true;
    }

    /// The PING was answered.
    pub(crate) fn on_pong(&mut self, now: Instant) {
        self.on_bytes(now);
        if let Some(ping) = self.unanswered.take() {
            // One answer that took seconds, from a process that was stopped, must not blunt suspicion for minutes.
            let sample = now
                .saturating_duration_since(ping.sent)
                .min(self.patience().saturating_mul(2));
            self.srtt = self.srtt - self.srtt / 8 + sample / 8;
        }
    }

    /// A call was answered this long after it was sent. The first PING may have waited for a process that was stopped or
    /// just started, and without calls there is no other: an answer that came much faster corrects it.
    pub(crate) fn on_answer(&mut self, took: Duration) {
        self.srtt = self.srtt.min(took.saturating_mul(2));
    }

    /// So many streams are open.
    pub(crate) fn streams(&mut self, open: usize, now: Instant) {
        if self.streams == 0 {
            self.streams_since = now;
        }
        self.streams = open;
    }

    /// So many calls wait for a reply; to be told when one was sent and when one ended.
    pub(crate) fn calls_in_flight(&mut self, calls: usize, now: Instant) {
        if calls > self.calls {
            self.sent = true;
            self.silent_since.get_or_insert(now);
        }
        if self.calls == 0 {
            self.calls_since = now;
        }
        self.calls = calls;
        if calls == 0 && !self.sent {
            self.silent_since = None;
        }
    }

    /// Another connection to the same member is suspect: find out about this one if anything depends on it.
    pub(crate) fn probe(&mut self, now: Instant) {
        if self.streams > 0 {
            self.probed.get_or_insert(now);
        }
    }

    /// What is to be done now. More may be due: see [`deadline`](Self::deadline) after it.
    pub(crate) fn tick(&mut self, now: Instant) -> Actions {
        if let Peer::Recovered(_) = self.peer {
            self.peer = Peer::Alive;
            return Actions::verdict(Verdict::Alive);
        }
        let late = |at| now.saturating_duration_since(at) > self.options.late_tolerance;
        if self.waits().into_iter().flatten().any(late) {
            self.wait_again(now);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.dead_at()) {
            let timeout = self.unanswered.map_or(Duration::ZERO, |ping| ping.timeout);
            self.peer = Peer::Dead;
            Actions::verdict(Verdict::Dead(format!(
                "no answer to a PING for {timeout:?}"
            )))
        } else if due(self.suspect_at()) {
            self.peer = Peer::Suspect;
            Actions::verdict(Verdict::Suspect)
        } else if due(self.doubtful_at()) || due(self.probe_at()) {
            self.armed = false;
            self.send(self.options.dead_after, now)
        } else if due(self.keep_alive_at()) {
            self.send(self.options.keep_alive_timeout, now)
        } else {
            Actions::default()
        }
    }

    /// When [`tick`](Self::tick) has something to do next, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.peer {
            Peer::Dead => None,
            Peer::Recovered(at) => Some(at),
            Peer::Alive | Peer::Suspect => {
                let asks = [self.probe_at(), self.keep_alive_at()];
                self.waits().into_iter().chain(asks).flatten().min()
            }
        }
    }

    /// The smoothed round trip time.
    pub(crate) fn rtt(&self) -> Duration {
        self.srtt
    }

    /// The deadlines that are about silence, and mean nothing when we are late for them.
    fn waits(&self) -> [Option<Instant>; 3] {
        [self.dead_at(), self.suspect_at(), self.doubtful_at()]
    }

    /// Bytes may have arrived that nobody had the time to read: silence starts now.
    fn wait_again(&mut self, now: Instant) {
        self.silent_since = self.silent_since.map(|_| now);
        self.probed = self.probed.map(|_| now);
        if let Some(ping) = &mut self.unanswered {
            ping.waiting_since = now;
        }
    }

    fn send(&mut self, timeout: Duration, now: Instant) -> Actions {
        self.last_ping = now;
        self.replied = false;
        self.unanswered = Some(Unanswered {
            sent: now,
            waiting_since: now,
            timeout,
        });
        Actions {
            send_ping: true,
            verdict: None,
        }
    }

    /// The silence that is accepted before a PING, and once more after it.
    fn patience(&self) -> Duration {
        let rtts = self.srtt.saturating_mul(self.options.suspect_rtt_factor);
        self.options.suspect_after.max(rtts)
    }

    // An option may be so large that its deadline cannot be told, and never comes: `checked_add`.

    fn dead_at(&self) -> Option<Instant> {
        let ping = self.unanswered.filter(|_| self.peer != Peer::Dead)?;
        ping.waiting_since.checked_add(ping.timeout)
    }

    fn suspect_at(&self) -> Option<Instant> {
        let ping = self.unanswered.filter(|_| self.peer == Peer::Alive)?;
        let patience = self.patience();
        let asked = ping.waiting_since.checked_add(patience)?;
        let by_calls = self.silence().and_then(|(since, calls)| {
            // The PING may be a keep-alive from before the call.
            let silent = since.checked_add(patience.saturating_mul(2))?;
            Some(asked.max(silent).max(calls))
        });
        let by_probe = self.probed.and_then(|at| at.checked_add(patience));
        by_calls
            .into_iter()
            .chain(by_probe.map(|at| at.max(asked)))
            .min()
    }

    /// When silence is long enough to ask.
    fn doubtful_at(&self) -> Option<Instant> {
        let (since, calls) = self.silence().filter(|_| self.may_ask())?;
        Some(since.checked_add(self.patience())?.max(calls))
    }

    fn probe_at(&self) -> Option<Instant> {
        self.probed.filter(|_| self.may_ask())
    }

    fn may_ask(&self) -> bool {
        self.armed && self.unanswered.is_none() && self.peer != Peer::Dead
    }

    /// While calls are in flight: since when it is silent, and since when they are in flight (before that, silence was
    /// nobody's business and no deadline of it could be missed).
    fn silence(&self) -> Option<(Instant, Instant)> {
        self.silent_since
            .filter(|_| self.calls > 0)
            .map(|since| (since, self.calls_since))
    }

    /// While streams are open. A PING is free when the server has replied since the last one; otherwise it must not come
    /// ahead of the HEADERS of the first stream, because a PING without a stream counts as an early one.
    fn keep_alive_at(&self) -> Option<Instant> {
        if self.streams == 0 || self.unanswered.is_some() || self.peer == Peer::Dead {
            return None;
        }
        let since = if self.replied {
            self.last_ping
        } else {
            self.last_ping.max(self.streams_since)
        };
        since.checked_add(self.options.keep_alive_interval)
    }
}

impl Actions {
    fn verdict(verdict: Verdict) -> Self {
        Self {
            send_ping: false,
            verdict: Some(verdict),
        }
    }
}

#[cfg(test)]
mod tests;
