//! The one loop that sends a unary call, and sends it again where that is safe.
//!
//! Pick an endpoint, show a token, send, look at what came back, decide. A call whose request may have been processed is repeated only
//! if processing it twice is the same as once (reads, or the caller's word for it); one that certainly was not processed is
//! always repeated while the condition may pass.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use etcd_proto::etcdserverpb::ResponseHeader;
use prost::Message;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::error::{Decision, Error, Outcome, Result, decide};
use crate::net::{Call, Metadata, Step, Token};
use crate::observe;
use crate::pool::state::Want;
use crate::pool::{EndpointId, Picked, Pool, Version};
use crate::token::{MAX_REFUSALS, Tokens};

/// Between attempts after an answer such as `too many requests`, or when every endpoint was tried.
const FIRST_DELAY: Duration = Duration::from_millis(25);
const MAX_DELAY: Duration = Duration::from_secs(1);

/// One call, ready to be sent.
pub(crate) struct Plan {
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    /// Refuse rather than answer without a leader.
    pub(crate) require_leader: bool,
    /// Goes without a token, unless etcd refuses that.
    pub(crate) anonymous: bool,
    /// Sending it twice does no harm.
    pub(crate) repeatable: bool,
    /// The leader answers it without a hop.
    pub(crate) leader: bool,
    /// Any member can answer it by itself.
    pub(crate) serializable: bool,
    /// An answer of an earlier revision is none.
    pub(crate) at_least: i64,
    /// What an older etcd would pass over without a word.
    pub(crate) needs: Option<Needs>,
    pub(crate) pinned: Option<EndpointId>,
    /// Of the whole call, with queueing, connecting and retries.
    pub(crate) timeout: Option<Duration>,
    /// Of one attempt, when another endpoint may be tried.
    pub(crate) attempt_timeout: Option<Duration>,
    /// Wait for an endpoint when none is active.
    pub(crate) wait_ready: bool,
}

/// Something in the request that servers before some version do not know, or cannot do: they would do something else than they
/// were asked for, and not say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) what: &'static str,
    pub(crate) since: Version,
}

/// How an attempt ended without a reply.
enum Unanswered {
    Failed(Error),
    /// The endpoint went silent, or the attempt took too long: a read goes elsewhere.
    Silent,
    /// The member has yet to catch up with what the client has seen.
    Behind,
    /// The whole call's time is over.
    Deadline(Outcome),
}

/// The beginning of etcd's replies.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

/// A call under way.
struct Run<'a> {
    pool: &'a Pool,
    tokens: &'a Tokens,
    plan: &'a Plan,
    seen: &'a mut observe::Call,
    deadline: Option<Instant>,
    /// What is known from the attempts so far.
    known: Outcome,
    tried: Vec<EndpointId>,
    last: Option<Error>,
    /// An endpoint was asked again at once; that happens once.
    stayed: bool,
    /// A member was behind.
    behind: bool,
    /// How many times etcd refused the token, or that there was none.
    refusals: usize,
}

/// Runs the call; returns the reply message and where it came from.
///
/// Cancel safe in the sense that nothing is left behind; a write dropped half-way has an unknown outcome.
pub(crate) async fn run(
    pool: &Pool,
    budget: &Budget,
    tokens: &Tokens,
    plan: &Plan,
    seen: &mut observe::Call,
) -> Result<(Bytes, Picked)> {
    budget.call();
    let deadline = plan.timeout.map(|timeout| seen.started() + timeout);
    let mut run = Run {
        pool,
        tokens,
        plan,
        seen,
        deadline,
        known: Outcome::NotApplied,
        tried: Vec::new(),
        last: None,
        stayed: false,
        behind: false,
        refusals: 0,
    };
    let mut backoff = Backoff::new(FIRST_DELAY, 2.0, MAX_DELAY);
    loop {
        let picked = run.pick().await?;
        // Waiting for a token may have cost the endpoint.
        let Some(token) = run.token().await? else {
            continue;
        };
        run.seen.attempt(&picked.name);
        let error = match run.attempt(&picked, &token).await {
            Ok(reply) => return Ok((reply, picked)),
            Err(Unanswered::Deadline(known)) => {
                run.seen.failed_on(&picked.name);
                return Err(run.out_of_time(known, "the reply", Some(&picked)));
            }
            Err(Unanswered::Silent) => None,
            Err(Unanswered::Behind) => {
                run.behind = true;
                None
            }
            Err(Unanswered::Failed(Error::Connection(lost))) if pool.is_closed() => {
                let outcome = run.known.or(lost.outcome);
                return Err(Error::Closed { outcome });
            }
            Err(Unanswered::Failed(error)) => Some(error),
        };
        run.seen.failed_on(&picked.name);
        if run.failed(&picked, &token, error)? {
            let delay = backoff.next().unwrap_or(MAX_DELAY);
            run.sleep(if budget.retry() { delay } else { MAX_DELAY })
                .await?;
        }
    }
}

impl Run<'_> {
    fn want(&self) -> Want<'_> {
        Want {
            leader: self.plan.leader,
            serializable: self.plan.serializable,
            avoid: &self.tried,
            pinned: self.plan.pinned,
        }
    }

    fn has_untried(&self) -> bool {
        self.pool.has_untried(&self.want())
    }

    async fn pick(&self) -> Result<Picked> {
        let (plan, want) = (self.plan, self.want());
        if !plan.wait_ready {
            let none = || Error::no_active_endpoint(self.pool.reports()).after(self.known);
            return if self.pool.is_closed() {
                Err(Error::Closed {
                    outcome: self.known,
                })
            } else {
                self.pool.pick(&want).ok_or_else(none)
            };
        }
        match before(self.deadline, self.pool.acquire(&want)).await {
            Some(picked) => picked.map_err(|error| error.after(self.known)),
            None => Err(self.out_of_time(self.known, "an active endpoint", None)),
        }
    }

    /// The token to show, unless it had to be waited for.
    async fn token(&self) -> Result<Option<Token>> {
        if self.plan.anonymous && self.refusals == 0 {
            return Ok(Some(Token::default()));
        }
        if let Some(token) = self.tokens.now() {
            return Ok(Some(token));
        }
        match before(self.deadline, self.tokens.get()).await {
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(error.after(self.known)),
            None => Err(self.out_of_time(self.known, "a token", None)),
        }
    }

    /// An attempt has failed; `None`: it was given up. Is there to be a delay before the next one?
    ///
    /// # Errors
    /// What the call ends in, if there is no next one.
    fn failed(&mut self, picked: &Picked, token: &Token, error: Option<Error>) -> Result<bool> {
        let mut wait = self.tried.contains(&picked.id);
        self.tried.push(picked.id);
        let Some(error) = error else {
            self.known = Outcome::Unknown;
            return Ok(wait);
        };
        self.pool
            .report_answer(picked.id, picked.generation, &error);
        let may_repeat = self.plan.repeatable || error.outcome() == Outcome::NotApplied;
        match decide(&error, may_repeat) {
            _ if may_repeat && self.may_log_in(token, &error) => {
                // A second refusal may be the endpoint's fault.
                wait = self.refusals > 1;
                if !wait {
                    self.tried.pop();
                }
            }
            Decision::Fail | Decision::Reauthenticate => return Err(error.after(self.known)),
            Decision::SameEndpoint => {
                self.tried.pop();
                wait |= std::mem::replace(&mut self.stayed, true);
            }
            Decision::NextEndpoint => {}
            Decision::Elsewhere if self.has_untried() => {}
            Decision::Elsewhere => return Err(error.after(self.known)),
            Decision::AfterDelay => wait = true,
        }
        let (path, endpoint) = (self.plan.path, &picked.name);
        tracing::debug!(path, %endpoint, %error, "call is tried again");
        self.learn(error);
        Ok(wait)
    }

    /// Was it the token that was refused, and may the call go on with another one?
    fn may_log_in(&mut self, token: &Token, error: &Error) -> bool {
        let refused = self.tokens.refused(token, error);
        self.refusals += usize::from(refused);
        refused && self.refusals < MAX_REFUSALS
    }

    async fn attempt(&self, picked: &Picked, token: &Token) -> Result<Bytes, Unanswered> {
        let plan = self.plan;
        match before(self.deadline, self.check_version(picked)).await {
            Some(checked) => checked?,
            None => return Err(Unanswered::Deadline(self.known)),
        }
        let metadata = Metadata {
            require_leader: plan.require_leader,
            token: token.clone(),
        };
        let submitted = picked
            .connection
            .unary(plan.path, metadata, plan.body.clone());
        let mut call = match before(self.deadline, submitted).await {
            Some(call) => call.map_err(Unanswered::Failed)?,
            None => return Err(Unanswered::Deadline(self.known)),
        };
        match before(self.deadline, self.reply(&mut call, picked)).await {
            Some(result) => result,
            None => Err(Unanswered::Deadline(self.known.or(call.give_up()))),
        }
    }

    /// An endpoint that tells no version is trusted to be new enough.
    async fn check_version(&self, picked: &Picked) -> Result<(), Unanswered> {
        let Some(Needs { what, since }) = self.plan.needs else {
            return Ok(());
        };
        let version = self.pool.version_of(picked).await;
        match version.as_deref().and_then(Version::parse) {
            Some(told) if told < since => {
                let endpoint = picked.name.clone();
                let reason = format!("`{what}` needs etcd {since} or newer");
                let error = Error::unsupported(endpoint, self.plan.path, version, reason);
                Err(Unanswered::Failed(error))
            }
            _ => Ok(()),
        }
    }

    async fn reply(&self, call: &mut Call, picked: &Picked) -> Result<Bytes, Unanswered> {
        let now = Instant::now();
        // From when on another endpoint is preferred; a suspect one was taken for want of a better one.
        let mut patience = match self.plan.attempt_timeout {
            _ if picked.connection.is_suspect() => Some(now),
            limit => limit.map(|limit| now + limit),
        };
        loop {
            let step = match before(patience.filter(|_| self.may_move()), call.step()).await {
                Some(step) => step,
                None => tokio::select! {
                    biased;
                    step = call.step() => step,
                    () = self.pool.other(picked.id) => return Err(Unanswered::Silent),
                },
            };
            match step {
                Step::Done(reply) => {
                    let named =
                        |error: Error| error.of_rpc(self.plan.path, picked.version.as_ref());
                    let reply = reply.map_err(|error| Unanswered::Failed(named(error)))?;
                    return if self.is_behind(&reply) {
                        Err(Unanswered::Behind)
                    } else {
                        Ok(reply)
                    };
                }
                Step::Vanished(known) => {
                    let cause = picked.connection.cause();
                    return Err(Unanswered::Failed(Error::connection(
                        picked.name.clone(),
                        known,
                        cause,
                    )));
                }
                Step::Suspect => patience = Some(Instant::now()),
            }
        }
    }

    /// Was it answered by a member that has not seen what the client has seen?
    fn is_behind(&self, reply: &Bytes) -> bool {
        let floor = self.plan.at_least;
        let revision = || Some(Head::decode(reply.clone()).ok()?.header?.revision);
        // What cannot be decoded is told where it is decoded as a whole.
        floor > 0 && revision().is_some_and(|revision| revision < floor)
    }

    /// A pending write waits: it can neither be taken back nor sent twice.
    fn may_move(&self) -> bool {
        self.plan.repeatable && self.plan.pinned.is_none()
    }

    fn learn(&mut self, error: Error) {
        self.known = self.known.or(error.outcome());
        self.last = Some(error);
    }

    async fn sleep(&self, delay: Duration) -> Result<()> {
        match before(self.deadline, tokio::time::sleep(delay)).await {
            Some(()) => Ok(()),
            None => Err(self.out_of_time(self.known, "an active endpoint", None)),
        }
    }

    /// The error of a call whose time is over. What a server said last says more than that time has passed, unless no
    /// server is left to say it.
    fn out_of_time(
        &self,
        known: Outcome,
        waiting_for: &'static str,
        picked: Option<&Picked>,
    ) -> Error {
        if let Some(error @ (Error::Server(_) | Error::Unsupported(_))) = &self.last
            && picked.is_none()
            && self.pool.any_active()
        {
            return error.clone().after(known);
        }
        let endpoint = picked.map(|picked| picked.name.clone());
        let waiting_for = match self.behind {
            true => "a member that has caught up with what was seen before",
            false => waiting_for,
        };
        Error::timeout(
            self.seen.started().elapsed(),
            waiting_for,
            known,
            endpoint,
            self.pool.reports(),
        )
    }
}

/// Runs `task` until `deadline`; `None` when that comes first.
pub(crate) async fn before<T>(
    deadline: Option<Instant>,
    task: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        None => Some(task.await),
        Some(deadline) => {
            tokio::select! {
                biased;
                result = task => Some(result),
                () = sleep_until(deadline) => None,
            }
        }
    }
}
