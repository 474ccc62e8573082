//! Where a unary call's caller and the connection task meet: one small allocation with the stage, the reply and both wakers.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::error::{Outcome, Result};

/// How far a call has come.
enum Stage {
    /// In the submit queue: can still be withdrawn.
    Queued,
    /// Handed to h2: whether the server saw it is only known from what happens next.
    Taken,
    Done(Result<Bytes>),
    /// The connection task has ended without an answer.
    Vanished(Outcome),
    /// The caller has left, or has its reply.
    Left,
}

struct State {
    stage: Stage,
    /// The connection is suspect and the caller was not told yet.
    suspect: bool,
    caller: Option<Waker>,
    /// Makes the connection task look at this call's stream.
    task: Option<Waker>,
}

struct Cell(Mutex<State>);

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller that waits hears.
#[derive(Debug)]
pub(crate) enum Step {
    /// The call has ended with this reply message.
    Done(Result<Bytes>),
    /// The connection's task has ended without an answer, as it does when its runtime is shut down.
    Vanished(Outcome),
    /// The server has gone silent; the call goes on, but a read may try elsewhere.
    Suspect,
}

/// The caller's side. Dropping it withdraws the call, or resets its stream.
pub(crate) struct Call(Arc<Cell>);

/// The connection task's side.
pub(crate) struct Answer(Arc<Cell>);

/// A new call, still queued.
pub(crate) fn call() -> (Call, Answer) {
    let cell = Arc::new(Cell(Mutex::new(State {
        stage: Stage::Queued,
        suspect: false,
        caller: None,
        task: None,
    })));
    (Call(cell.clone()), Answer(cell))
}

impl Call {
    /// Waits for the next thing that happens. Cancel safe: nothing is lost, the call goes on.
    pub(crate) fn step(&mut self) -> impl Future<Output = Step> + '_ {
        NextStep(self)
    }

    /// Gives up: is it certain that the server never saw, and never will see, the request?
    pub(crate) fn give_up(self) -> Outcome {
        // One look under the lock: a request judged "not sent" must not be taken by the task a moment later.
        match std::mem::replace(&mut self.0.lock().stage, Stage::Left) {
            Stage::Queued => Outcome::NotApplied,
            Stage::Taken | Stage::Done(_) | Stage::Vanished(_) | Stage::Left => Outcome::Unknown,
        }
    }
}

struct NextStep<'a>(&'a mut Call);

impl Future for NextStep<'_> {
    type Output = Step;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step> {
        let mut state = self.0.0.lock();
        match std::mem::replace(&mut state.stage, Stage::Left) {
            Stage::Done(reply) => return Poll::Ready(Step::Done(reply)),
            Stage::Vanished(outcome) => return Poll::Ready(Step::Vanished(outcome)),
            Stage::Left => return Poll::Ready(Step::Vanished(Outcome::Unknown)),
            waiting @ (Stage::Queued | Stage::Taken) => state.stage = waiting,
        }
        if std::mem::take(&mut state.suspect) {
            return Poll::Ready(Step::Suspect);
        }
        if !state
            .caller
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            state.caller = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let task = {
            let mut state = self.0.lock();
            state.stage = Stage::Left;
            state.caller = None;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Answer {
    /// The task is about to hand the request to h2; false if the caller has withdrawn it.
    pub(crate) fn take(&self, task: Waker) -> bool {
        let mut state = self.0.lock();
        match state.stage {
            Stage::Queued => {
                state.stage = Stage::Taken;
                state.task = Some(task);
                true
            }
            Stage::Taken | Stage::Done(_) | Stage::Vanished(_) | Stage::Left => false,
        }
    }

    /// Has the caller left?
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.0.lock().stage, Stage::Left)
    }

    /// Tells the caller that the server has gone silent.
    pub(crate) fn suspect(&self) {
        let mut state = self.0.lock();
        state.suspect = true;
        wake_caller(state);
    }

    /// Ends the call.
    pub(crate) fn finish(self, reply: Result<Bytes>) {
        self.end(|_| Stage::Done(reply));
    }

    fn end(&self, how: impl FnOnce(Outcome) -> Stage) {
        let mut state = self.0.lock();
        state.task = None;
        let known = match state.stage {
            Stage::Queued => Outcome::NotApplied,
            Stage::Taken => Outcome::Unknown,
            Stage::Done(_) | Stage::Vanished(_) | Stage::Left => return,
        };
        state.stage = how(known);
        wake_caller(state);
    }
}

impl Drop for Answer {
    /// A connection task that goes away (its runtime was shut down) still ends every call.
    fn drop(&mut self) {
        self.end(Stage::Vanished);
    }
}

fn wake_caller(mut state: MutexGuard<'_, State>) {
    let caller = state.caller.take();
    drop(state);
    if let Some(caller) = caller {
        caller.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_queued_call_that_is_given_up_is_never_sent() {
        let (call, answer) = call();
        assert_eq!(call.give_up(), Outcome::NotApplied);
        assert!(!answer.take(Waker::noop().clone()));
    }

    #[tokio::test]
    async fn a_taken_call_that_is_given_up_is_unknown_and_wakes_the_task() {
        let (call, answer) = call();
        let woken = Arc::new(Count::default());
        assert!(answer.take(Waker::from(woken.clone())));
        assert_eq!(call.give_up(), Outcome::Unknown);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(answer.is_abandoned());
    }

    #[tokio::test]
    async fn suspicion_is_told_once_and_the_reply_still_comes() {
        let (mut call, answer) = call();
        assert!(answer.take(Waker::noop().clone()));
        answer.suspect();
        assert!(matches!(call.step().await, Step::Suspect));
        answer.finish(Ok(Bytes::from_static(b"reply")));
        match call.step().await {
            Step::Done(Ok(reply)) => assert_eq!(reply, "reply"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_connection_task_that_vanishes_ends_the_call() {
        let (mut queued, answer) = call();
        drop(answer);
        assert!(matches!(
            queued.step().await,
            Step::Vanished(Outcome::NotApplied)
        ));
        let (mut taken, answer) = call();
        assert!(answer.take(Waker::noop().clone()));
        drop(answer);
        assert!(matches!(
            taken.step().await,
            Step::Vanished(Outcome::Unknown)
        ));
    }
}
