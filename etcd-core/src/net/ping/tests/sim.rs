//! A connection in virtual time: a model of the peer, and of how a gRPC server counts PINGs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::{Ping, PingOptions, Verdict};

/// A connection and its peer; times are milliseconds since the start.
pub(super) struct Sim {
    start: Instant,
    pub(super) now: u64,
    pub(super) ping: Ping,
    pub(super) rtt: u64,
    /// The peer answers PINGs.
    pub(super) running: bool,
    /// When a PING will be answered.
    pub(super) pongs: BTreeSet<u64>,
    pub(super) server: ServerCount,
    /// What was done, as "<time> <what>".
    pub(super) log: Vec<String>,
}

/// How grpc-go counts the PINGs of a client, with the defaults of etcd.
#[derive(Default)]
pub(super) struct ServerCount {
    last: Option<u64>,
    strikes: u32,
    replied: bool,
    /// PINGs less than 5 s after the one before, since HEADERS or DATA were last sent.
    pub(super) early: u32,
}

impl ServerCount {
    fn on_ping(&mut self, now: u64, streams: usize) {
        let min = if streams > 0 {
            5_000
        } else {
            2 * 60 * 60 * 1_000
        };
        let too_soon = self.last.is_some_and(|last| now < last + min);
        self.early += u32::from(self.last.is_some_and(|last| now < last + 5_000));
        if std::mem::take(&mut self.replied) {
            self.strikes = 0;
        } else if too_soon {
            self.strikes += 1;
        }
        self.last = Some(now);
        assert!(self.strikes <= 2, "too_many_pings at {now} ms");
    }

    fn on_reply(&mut self) {
        self.replied = true;
        self.early = 0;
    }
}

impl Sim {
    pub(super) fn new(rtt: u64) -> Self {
        Self::with(PingOptions::default(), rtt)
    }

    pub(super) fn with(options: PingOptions, rtt: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: 0,
            ping: Ping::new(options, Duration::from_millis(rtt), start),
            rtt,
            running: true,
            pongs: BTreeSet::new(),
            server: ServerCount {
                last: Some(0),
                ..ServerCount::default()
            },
            log: Vec::new(),
        }
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Lets time pass up to and including `until`; what arrives is read before the clock is looked at.
    pub(super) fn run(&mut self, until: u64) -> &mut Self {
        loop {
            let arrival = self.pongs.first().copied();
            let deadline = self
                .ping
                .deadline()
                .map(|at| (at - self.start).as_millis() as u64);
            let next = arrival
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|&next| next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if self.pongs.remove(&next) {
                self.ping.on_pong(self.at(self.now));
            } else {
                self.tick();
            }
        }
        self.now = until;
        self
    }

    pub(super) fn tick(&mut self) {
        let actions = self.ping.tick(self.at(self.now));
        let now = self.now;
        if actions.send_ping {
            self.log.push(format!("{now} ping"));
            self.server.on_ping(now, self.ping.streams);
            if self.running {
                self.pongs.insert(now + self.rtt);
            }
        }
        match actions.verdict {
            Some(Verdict::Alive) => self.log.push(format!("{now} alive")),
            Some(Verdict::Suspect) => self.log.push(format!("{now} suspect")),
            Some(Verdict::Dead(_)) => self.log.push(format!("{now} dead")),
            None => {}
        }
    }

    /// HEADERS or DATA arrive.
    pub(super) fn data(&mut self) {
        self.server.on_reply();
        self.ping.on_headers_or_data(self.at(self.now));
    }

    pub(super) fn calls(&mut self, calls: usize) -> &mut Self {
        self.ping.streams(calls, self.at(self.now));
        self.ping.calls_in_flight(calls, self.at(self.now));
        self
    }

    pub(super) fn watch(&mut self) -> &mut Self {
        self.ping.streams(1, self.at(self.now));
        self
    }

    pub(super) fn probe(&mut self) -> &mut Self {
        self.ping.probe(self.at(self.now));
        self
    }

    pub(super) fn stop(&mut self) -> &mut Self {
        self.running = false;
        self.pongs.clear();
        self
    }

    pub(super) fn check(&self, expected: &[&str]) {
        assert_eq!(self.log, expected);
    }
}
