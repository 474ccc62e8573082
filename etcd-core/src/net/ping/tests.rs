//! The rules as scenarios in virtual time.

mod sim;

use std::time::Duration;

use proptest::prelude::*;

use self::sim::Sim;
use super::PingOptions;

#[test]
fn a_silent_peer_is_asked_once_then_suspect_then_dead() {
    let mut sim = Sim::new(1);
    sim.stop()
        .calls(1)
        .run(60_000)
        .check(&["150 ping", "300 suspect", "3150 dead"]);
    assert_eq!(sim.ping.deadline(), None);
}

#[test]
fn any_byte_makes_a_suspect_peer_alive_again() {
    let mut sim = Sim::new(1);
    sim.stop().calls(1).run(400);
    sim.ping.on_bytes(sim.at(400));
    // Those bytes were not the answer, so the PING still stands: suspect again after two more waits, dead 3 s after the bytes.
    sim.run(60_000).check(&[
        "150 ping",
        "300 suspect",
        "400 alive",
        "700 suspect",
        "3400 dead",
    ]);
}

#[test]
fn a_lock_call_that_blocks_is_asked_about_once_and_then_only_kept_alive() {
    let mut sim = Sim::new(1);
    sim.calls(1)
        .run(20_000)
        .check(&["150 ping", "6150 ping", "12150 ping", "18150 ping"]);
    // A reply re-arms suspicion.
    sim.data();
    sim.run(21_000).check(&[
        "150 ping",
        "6150 ping",
        "12150 ping",
        "18150 ping",
        "20150 ping",
    ]);
}

#[test]
fn a_keep_alive_ping_without_answer_makes_a_peer_with_calls_suspect() {
    let mut sim = Sim::new(1);
    sim.calls(1).run(2_000).stop().run(10_000);
    sim.check(&["150 ping", "6150 ping", "6300 suspect", "9150 dead"]);
}

#[test]
fn an_idle_watch_is_kept_alive_every_6_s_and_dead_3_s_after_silence_to_it() {
    let mut sim = Sim::new(1);
    sim.watch().run(34_000).check(&[
        "6000 ping",
        "12000 ping",
        "18000 ping",
        "24000 ping",
        "30000 ping",
    ]);
    let mut sim = Sim::new(1);
    sim.watch()
        .stop()
        .run(34_000)
        .check(&["6000 ping", "9000 dead"]);
}

#[test]
fn without_a_stream_there_is_no_ping_and_a_call_after_it_is_not_late() {
    let mut sim = Sim::new(1);
    sim.run(3_600_000).check(&[]);
    sim.stop()
        .calls(1)
        .run(3_600_301)
        .check(&["3600150 ping", "3600300 suspect"]);
}

#[test]
fn calls_that_are_answered_are_pinged_every_6_s_only() {
    for gap in [5, 100] {
        let mut sim = Sim::new(1);
        while sim.now < 34_000 {
            let now = sim.now;
            sim.calls(1).run(now + gap - 1).data();
            sim.calls(0).run(now + gap);
        }
        assert_eq!(sim.log.len(), 5, "{:?}", sim.log);
        assert!(
            sim.log.iter().all(|line| line.ends_with("ping")),
            "{:?}",
            sim.log
        );
    }
}

#[test]
fn a_link_with_300_ms_round_trip_is_never_suspect() {
    // From the first call on, when the only sample is that of the connect.
    let mut sim = Sim::new(300);
    for _ in 0..100 {
        let now = sim.now;
        sim.calls(1).run(now + 300).data();
        sim.calls(0);
    }
    assert!(
        sim.log.iter().all(|line| line.ends_with("ping")),
        "{:?}",
        sim.log
    );
    let mut sim = Sim::new(300);
    sim.calls(1)
        .run(20_000)
        .check(&["1200 ping", "7200 ping", "13200 ping", "19200 ping"]);
}

#[test]
fn the_smoothed_round_trip_follows_the_link_but_not_one_stalled_answer() {
    let mut sim = Sim::new(1);
    sim.rtt = 100;
    sim.watch().run(300_000);
    assert!(
        sim.ping.rtt() > Duration::from_millis(90),
        "{:?}",
        sim.ping.rtt()
    );

    let mut sim = Sim::new(1);
    sim.rtt = 2_900;
    sim.watch().run(10_000).check(&["6000 ping"]);
    assert!(
        sim.ping.rtt() < Duration::from_millis(40),
        "{:?}",
        sim.ping.rtt()
    );
}

#[test]
fn an_answer_corrects_a_first_ping_that_was_answered_late() {
    let mut sim = Sim::new(900);
    sim.ping.on_answer(Duration::from_millis(2_000));
    assert_eq!(sim.ping.rtt(), Duration::from_millis(900));
    sim.ping.on_answer(Duration::from_millis(1));
    assert_eq!(sim.ping.rtt(), Duration::from_millis(2));
    sim.stop()
        .calls(1)
        .run(60_000)
        .check(&["150 ping", "300 suspect", "3150 dead"]);
}

#[test]
fn a_probed_idle_watch_is_asked_at_once() {
    let mut sim = Sim::new(1);
    sim.watch().stop().run(3_000).probe();
    sim.run(60_000)
        .check(&["3000 ping", "3150 suspect", "6000 dead"]);

    let mut sim = Sim::new(1);
    for at in [3_000, 4_000, 5_000] {
        sim.watch().run(at).probe();
    }
    // The second and third probe fall into the same silence; the keep-alive PING answers them.
    sim.run(10_000).check(&["3000 ping", "9000 ping"]);
}

#[test]
fn a_probe_finds_a_peer_that_stopped_in_a_silence_already_asked_about() {
    let mut sim = Sim::new(1);
    sim.watch().run(1_000).probe();
    sim.run(2_000).stop().probe();
    sim.run(60_000)
        .check(&["1000 ping", "7000 ping", "7150 suspect", "10000 dead"]);
}

#[test]
fn a_probe_while_a_keep_alive_ping_is_unanswered_waits_for_that() {
    let mut sim = Sim::new(1);
    sim.watch().stop().run(7_000).probe();
    sim.run(60_000)
        .check(&["6000 ping", "7150 suspect", "9000 dead"]);
}

#[test]
fn a_connection_without_streams_is_not_probed() {
    let mut sim = Sim::new(1);
    sim.probe();
    sim.run(60_000).check(&[]);
}

#[test]
fn calls_given_up_too_early_still_find_a_stopped_peer() {
    for (every, expected) in [
        (200, ["200 ping", "400 suspect"]),
        (1_000, ["1000 ping", "2000 suspect"]),
    ] {
        let mut sim = Sim::new(1);
        sim.stop();
        for call in 0..3 {
            let start = call * every;
            sim.calls(1).run(start + 100).calls(0).run(start + every);
        }
        sim.check(&expected);
    }
}

#[test]
fn after_an_idle_time_silence_starts_with_the_call() {
    // The last call was answered; and bytes came that no call waited for.
    for extra_bytes in [false, true] {
        let mut sim = Sim::new(1);
        sim.calls(1).run(10).data();
        sim.calls(0).run(20);
        if extra_bytes {
            sim.ping.on_bytes(sim.at(20));
        }
        sim.run(5_000).stop().calls(1).run(5_310);
        sim.check(&["5150 ping", "5300 suspect"]);
    }
}

#[test]
fn a_timer_that_ran_late_gives_no_verdict() {
    // Stopped before the PING, between PING and suspicion, and before the end.
    for (stopped_at, expected) in [
        (100, &["20000 ping", "20300 suspect", "23000 dead"][..]),
        (200, &["150 ping", "20300 suspect", "23000 dead"]),
        (1_000, &["150 ping", "300 suspect", "23000 dead"]),
    ] {
        let mut sim = Sim::new(1);
        sim.stop().calls(1).run(stopped_at);
        sim.now = 20_000;
        sim.tick();
        sim.run(60_000).check(expected);
    }
}

#[test]
fn a_timer_that_is_late_within_the_tolerance_does() {
    let mut sim = Sim::new(1);
    sim.stop().calls(1).run(299);
    sim.now = 399;
    sim.tick();
    sim.check(&["150 ping", "399 suspect"]);
}

#[test]
fn an_answer_that_waited_while_we_were_stopped_counts() {
    let mut sim = Sim::new(1);
    sim.calls(1).run(150);
    sim.pongs.clear();
    sim.now = 20_000;
    sim.ping.on_pong(sim.at(20_000));
    sim.tick();
    sim.run(20_149).check(&["150 ping", "20000 ping"]);
}

#[test]
fn too_many_pings_halves_them() {
    let mut options = PingOptions::default();
    options.too_many_pings();
    assert_eq!(options.keep_alive_interval, Duration::from_secs(12));
    for _ in 0..100 {
        options.too_many_pings();
    }
    assert_eq!(options.keep_alive_interval, Duration::from_secs(7_200));
}

#[test]
fn numbers_too_large_for_the_clock_mean_never() {
    let options = PingOptions {
        keep_alive_interval: Duration::MAX,
        keep_alive_timeout: Duration::MAX,
        suspect_after: Duration::MAX,
        suspect_rtt_factor: u32::MAX,
        dead_after: Duration::MAX,
        late_tolerance: Duration::MAX,
    };
    let mut sim = Sim::with(options, 1_000);
    sim.calls(1).probe().run(3_600_000).check(&["0 ping"]);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Calls(usize),
    Watches(usize),
    Data,
    Bytes,
    Probe,
    Stop,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0..200u64, 0..2_000u64, 0..10_000u64].prop_map(Step::Pass),
        3 => (0..3usize).prop_map(Step::Calls),
        2 => (0..2usize).prop_map(Step::Watches),
        2 => Just(Step::Data),
        1 => Just(Step::Bytes),
        2 => Just(Step::Probe),
        1 => Just(Step::Stop),
        2 => Just(Step::Resume),
    ]
}

proptest! {
    #[test]
    fn pings_stay_within_what_a_server_allows_and_verdicts_in_order(
        rtt in prop_oneof![Just(1u64), 1..600u64],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut sim = Sim::new(rtt);
        let (mut calls, mut watches) = (0, 0);
        for step in steps {
            let now = sim.at(sim.now);
            match step {
                Step::Pass(ms) => { sim.run(sim.now + ms); }
                Step::Calls(n) => calls = n,
                Step::Watches(n) => watches = n,
                Step::Data if sim.running && calls + watches > 0 => sim.data(),
                Step::Bytes if sim.running => sim.ping.on_bytes(now),
                Step::Data | Step::Bytes => {}
                Step::Probe => { sim.probe(); }
                Step::Stop => { sim.stop(); }
                Step::Resume => sim.running = true,
            }
            let now = sim.at(sim.now);
            sim.ping.streams(calls + watches, now);
            sim.ping.calls_in_flight(calls, now);
            prop_assert!(sim.server.early <= 1, "{:?}", sim.log);
        }
        let verdicts: Vec<_> = sim.log.iter().filter_map(|line| line.split(' ').nth(1)).filter(|what| *what != "ping").collect();
        for pair in verdicts.windows(2) {
            prop_assert!(matches!(pair, ["suspect", "alive" | "dead"] | ["alive", "suspect" | "dead"]), "{:?}", sim.log);
        }
    }
}
