use std::sync::Mutex;

use super::*;
use crate::client::Client;

/// A keeper whose clock a test moves, and whose cluster does not exist.
struct Bench {
    keeper: Arc<Keeper>,
    now: Arc<Mutex<BootInstant>>,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        // Port 1 refuses: the pool goes on trying.
        let client = Client::builder()
            .endpoints(["http://127.0.0.1:1"])
            .build()
            .unwrap();
        let now = Arc::new(Mutex::new(BootInstant::default()));
        let keeper = Keeper::new(
            client.pool().clone(),
            Tokens::none(),
            Clock::Manual(now.clone()),
        );
        Self {
            keeper,
            now,
            client,
        }
    }

    fn keep(&self, id: i64, ttl: u64) -> (Slot, watch::Receiver<Option<LostReason>>) {
        let (ttl, sent) = (Duration::from_secs(ttl), self.keeper.clock.now());
        let id = LeaseId(id);
        self.keeper.keep(&Renewed { id, ttl, sent })
    }

    fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = *now + by;
    }
}

async fn reason(mut lost: watch::Receiver<Option<LostReason>>) -> Option<LostReason> {
    let limit = Duration::from_secs(10);
    let reason = tokio::time::timeout(limit, lost.wait_for(Option::is_some)).await;
    *reason.expect("lost within 10 s").unwrap()
}

#[tokio::test]
async fn after_a_suspend_a_lease_is_invalid_before_any_task_has_run() {
    let bench = Bench::new();
    let (slot, lost) = bench.keep(1, 10);
    assert_eq!(bench.keeper.state(slot), Some(LeaseState::Healthy));
    bench.advance(Duration::from_secs(3600));
    // One thread and no await since: the task has not run.
    let deadline = LeaseState::Lost(LostReason::Deadline);
    assert_eq!(bench.keeper.state(slot), Some(deadline));
    assert_eq!(bench.keeper.remaining(slot), Duration::ZERO);
    assert_eq!(
        *lost.borrow(),
        Some(LostReason::Deadline),
        "and it is final"
    );
    *bench.now.lock().unwrap() = BootInstant::default();
    assert_eq!(bench.keeper.state(slot), None);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_unseen_by_timers_is_reported_within_a_tick() {
    let bench = Bench::new();
    let (_, lost) = bench.keep(1, 60);
    tokio::task::yield_now().await;
    let started = tokio::time::Instant::now();
    bench.advance(Duration::from_secs(3600));
    assert_eq!(reason(lost).await, Some(LostReason::Deadline));
    assert!(started.elapsed() <= TICK, "{:?}", started.elapsed());
}

#[tokio::test]
async fn halting_all_says_how_many_and_each_is_lost_once() {
    let bench = Bench::new();
    let kept: Vec<_> = (1..=3).map(|id| bench.keep(id, 60)).collect();
    bench.keeper.lose(kept[0].0, LostReason::Dropped);
    assert_eq!(bench.keeper.lose_all(LostReason::Halted), 2);
    assert_eq!(bench.keeper.lose_all(LostReason::Halted), 0);
    bench.keeper.lose(kept[1].0, LostReason::Dropped);
    for ((_, lost), expected) in kept.into_iter().zip(["Dropped", "Halted", "Halted"]) {
        assert_eq!(format!("{:?}", reason(lost).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn closing_the_client_ends_every_lease() {
    let bench = Bench::new();
    let keeper = &bench.client.shared.leases;
    let keep = || {
        keeper.keep(&Renewed {
            id: LeaseId(1),
            ttl: Duration::from_secs(60),
            sent: keeper.clock.now(),
        })
    };
    let (slot, lost) = keep();
    assert_eq!(keeper.state(slot), Some(LeaseState::Healthy));
    bench.client.close();
    assert_eq!(keeper.state(slot), None, "at once");
    assert_eq!(*lost.borrow(), Some(LostReason::Closed));
    let (_, late) = keep();
    assert_eq!(reason(late).await, Some(LostReason::Closed));
}

#[tokio::test]
async fn the_task_ends_with_the_last_lease_and_starts_again_with_the_next() {
    let bench = Bench::new();
    for id in 1..=3 {
        let (slot, _) = bench.keep(id, 60);
        let (other, _) = bench.keep(id + 10, 60);
        bench.keeper.lose(slot, LostReason::Dropped);
        tokio::task::yield_now().await;
        assert!(Arc::strong_count(&bench.keeper) > 1, "one is kept");
        bench.keeper.lose(other, LostReason::Dropped);
        let ended = async {
            while Arc::strong_count(&bench.keeper) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TICK / 2, ended)
            .await
            .expect("at once");
    }
}
