//! The numbers, for whatever recorder the program has installed. Without the feature `metrics` there is nothing here.

#[cfg(feature = "metrics")]
pub(crate) use self::on::*;

#[cfg(not(feature = "metrics"))]
pub(crate) use self::off::*;

#[cfg(feature = "metrics")]
mod on {
    use std::time::Duration;

    use metrics::{counter, gauge, histogram};
    use tokio::time::Instant;

    use crate::error::LostReason;

    pub(in super::super) fn call_began() {
        gauge!("etcd_client_calls_in_flight").increment(1.0);
    }

    pub(in super::super) fn call_ended(
        method: &'static str,
        result: &'static str,
        began: Instant,
        attempts: u32,
    ) {
        gauge!("etcd_client_calls_in_flight").decrement(1.0);
        counter!("etcd_client_calls_total", "method" => method, "result" => result).increment(1);
        histogram!("etcd_client_call_duration_seconds", "method" => method, "result" => result)
            .record(began.elapsed());
        if attempts > 1 {
            counter!("etcd_client_call_retries_total", "method" => method)
                .increment(u64::from(attempts - 1));
        }
    }

    pub(in super::super) fn stream_opened(method: &'static str) {
        gauge!("etcd_client_streams", "method" => method).increment(1.0);
    }

    pub(in super::super) fn stream_closed(method: &'static str) {
        gauge!("etcd_client_streams", "method" => method).decrement(1.0);
    }

    pub(in super::super) fn phase(phase: &'static str, result: &'static str, elapsed: Duration) {
        histogram!("etcd_client_connect_phase_seconds", "phase" => phase, "result" => result)
            .record(elapsed);
    }

    pub(in super::super) fn login(succeeded: bool) {
        let result = if succeeded { "ok" } else { "failed" };
        counter!("etcd_client_logins_total", "result" => result).increment(1);
    }

    pub(in super::super) fn endpoint(from: Option<&'static str>, to: Option<&'static str>) {
        moved("etcd_client_endpoints", from, to);
    }

    pub(in super::super) fn watcher(from: Option<&'static str>, to: Option<&'static str>) {
        moved("etcd_client_watchers", from, to);
    }

    /// Since when something waits for a watcher's reader.
    #[derive(Debug, Default)]
    pub(crate) struct Lag(Option<Instant>);

    impl Lag {
        pub(crate) fn came(&mut self) {
            self.0.get_or_insert_with(Instant::now);
        }

        pub(crate) fn taken(&mut self) {
            if let Some(since) = self.0.take() {
                histogram!("etcd_client_watch_lag_seconds").record(since.elapsed());
            }
        }
    }

    pub(in super::super) fn leases(state: &'static str, before: usize, now: usize) {
        if before != now {
            gauge!("etcd_client_leases", "state" => state).increment(now as f64 - before as f64);
        }
    }

    pub(in super::super) fn lease_margin(margin: Duration) {
        histogram!("etcd_client_lease_margin_seconds").record(margin);
    }

    pub(in super::super) fn lease_lost(reason: LostReason) {
        let reason = match reason {
            LostReason::Deadline => "Deadline",
            LostReason::NotFound => "NotFound",
            LostReason::Revoked => "Revoked",
            LostReason::Halted => "Halted",
            LostReason::Dropped => "Dropped",
            LostReason::Closed => "Closed",
        };
        counter!("etcd_client_leases_lost_total", "reason" => reason).increment(1);
    }

    /// One more in a state, one fewer in another.
    fn moved(name: &'static str, from: Option<&'static str>, to: Option<&'static str>) {
        if let Some(state) = from {
            gauge!(name, "state" => state).decrement(1.0);
        }
        if let Some(state) = to {
            gauge!(name, "state" => state).increment(1.0);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod off {
    use std::time::Duration;

    use tokio::time::Instant;

    use crate::error::LostReason;

    #[derive(Debug, Default)]
    pub(crate) struct Lag(());

    impl Lag {
        pub(crate) fn came(&mut self) {}
        pub(crate) fn taken(&mut self) {}
    }

    pub(in super::super) fn call_began() {}
    pub(in super::super) fn call_ended(_: &'static str, _: &'static str, _: Instant, _: u32) {}
    pub(in super::super) fn stream_opened(_: &'static str) {}
    pub(in super::super) fn stream_closed(_: &'static str) {}
    pub(in super::super) fn phase(_: &'static str, _: &'static str, _: Duration) {}
    pub(in super::super) fn login(_: bool) {}
    pub(in super::super) fn endpoint(_: Option<&'static str>, _: Option<&'static str>) {}
    pub(in super::super) fn watcher(_: Option<&'static str>, _: Option<&'static str>) {}
    pub(in super::super) fn leases(_: &'static str, _: usize, _: usize) {}
    pub(in super::super) fn lease_margin(_: Duration) {}
    pub(in super::super) fn lease_lost(_: LostReason) {}
}
