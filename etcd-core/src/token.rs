//! The token that the client's requests show: got once for all that need it, and got anew when etcd refuses it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::error::{Error, EtcdError, Result};
use crate::net::{CurrentToken, Token};
use crate::observe;

/// Where tokens come from.
pub(crate) struct Source {
    /// Whose they are; `None` if a provider knows.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) fetch: Box<Fetch>,
}

/// Gets a token; `None` where the cluster wants none.
pub(crate) type Fetch = dyn Fn() -> BoxFuture<'static, Result<Option<String>>> + Send + Sync;

/// How many tokens of one call may be refused: more than roles that are being changed make stale.
pub(crate) const MAX_REFUSALS: usize = 8;

/// A token that is refused sooner than this after it was got is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The tokens of one client. When it is dropped, a login that is under way ends.
pub(crate) struct Tokens {
    /// For the task of a login.
    this: Weak<Self>,
    /// `None`: the client has no credentials.
    source: Option<Arc<Source>>,
    current: CurrentToken,
    state: Mutex<State>,
    /// Bumped when a login has ended; its end tells the login under way that nobody is left.
    ended: watch::Sender<()>,
}

struct State {
    /// Whether the current token may be shown.
    valid: bool,
    generation: u64,
    got: Option<Instant>,
    /// Why etcd refused the last token.
    refusal: Option<Error>,
    /// A login is under way.
    busy: bool,
    /// What the last login ended in, and until when that is the answer to all who want a token.
    failure: Option<(Error, Instant)>,
    /// How long failures are the answer: a password that is wrong is not tried for every call.
    failing: Backoff,
    /// Before a token that was refused at once is replaced.
    refused: Backoff,
}

impl Tokens {
    pub(crate) fn new(source: Option<Arc<Source>>, current: CurrentToken) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            source,
            current,
            state: Mutex::new(State {
                valid: false,
                generation: 0,
                got: None,
                refusal: None,
                busy: false,
                failure: None,
                failing: Backoff::new(Duration::from_millis(500), 2.0, Duration::from_secs(10)),
                refused: Backoff::new(Duration::from_millis(25), 2.0, SHORT_LIFE),
            }),
            ended: watch::Sender::new(()),
        })
    }

    /// For a client without credentials, and for the request that gets a token.
    pub(crate) fn none() -> Arc<Self> {
        Self::new(None, CurrentToken::default())
    }

    /// The token to show now; `None` if it must be [waited for](Self::get).
    pub(crate) fn now(&self) -> Option<Token> {
        if self.source.is_none() {
            return Some(Token::default());
        }
        self.lock().valid.then(|| self.current.get())
    }

    /// The token to show, once there is one. Whoever is dropped meanwhile leaves the login to the others, and to those who come
    /// later. Without a limit of its own. Cancel safe.
    ///
    /// # Errors
    /// Why the last login failed, if that was just now; `Error::Closed`.
    pub(crate) async fn get(&self) -> Result<Token> {
        let mut ended = self.ended.subscribe();
        loop {
            ended.borrow_and_update();
            if let Some(token) = self.now() {
                return Ok(token);
            }
            if let Some(error) = self.start() {
                return Err(error);
            }
            // The sender lives as long as this does.
            let _ = ended.changed().await;
        }
    }

    /// etcd refused a request that showed this token. Was it for the token, so that the request may be sent again with another?
    pub(crate) fn refused(&self, token: &Token, error: &Error) -> bool {
        if self.source.is_none() {
            // Whom a certificate names is found out for each request: at a revision that may be over when it is applied.
            return error.etcd() == Some(EtcdError::AuthOldRevision);
        }
        // Without a token, users are taken for those whom their certificates name.
        let for_another = token.is_waived() && error.is_permission_denied();
        if !for_another && !error.wants_token() {
            return false;
        }
        let mut state = self.lock();
        if state.valid && state.generation == token.generation() {
            tracing::debug!(%error, "token refused");
            state.valid = false;
            state.refusal = Some(error.clone());
            if state.got.is_some_and(|got| got.elapsed() >= SHORT_LIFE) {
                state.refused.reset();
            }
        }
        true
    }

    /// Starts a login unless one is under way, or has failed just now: then gives the failure.
    fn start(&self) -> Option<Error> {
        let source = self.source.clone()?;
        let mut state = self.lock();
        if state.busy || state.valid {
            return None;
        }
        if let Some((error, until)) = &state.failure
            && Instant::now() < *until
        {
            return Some(error.clone());
        }
        let hasty = state.got.is_some_and(|got| got.elapsed() < SHORT_LIFE);
        let delay = state.refused.by_ref().take(hasty.into()).next();
        state.busy = true;
        // A runtime that is shut down drops the task at once, which ends the login.
        drop(state);
        let (tokens, mut client) = (self.this.clone(), self.ended.subscribe());
        let login = Login {
            tokens,
            seen: observe::Login::begin(),
        };
        tokio::spawn(async move {
            let got = async {
                sleep(delay.unwrap_or_default()).await;
                (source.fetch)().await
            };
            tokio::select! {
                got = got => login.end(got),
                () = async { while client.changed().await.is_ok() {} } => {}
            }
        });
        None
    }

    fn end(&self, got: Result<Option<String>>, seen: &observe::Login) {
        let mut state = self.lock();
        state.busy = false;
        match got.and_then(|text| self.check(&state, text.as_deref())) {
            Ok(token) => {
                seen.end(Ok(token.generation()));
                (state.generation, state.valid) = (token.generation(), true);
                (state.got, state.failure) = (Some(Instant::now()), None);
                state.failing.reset();
                self.current.set(token);
            }
            Err(error) => {
                seen.end(Err(&error));
                let pause = state.failing.next().unwrap_or_default();
                state.failure = Some((error, Instant::now() + pause));
            }
        }
        drop(state);
        self.ended.send_replace(());
    }

    /// Is it a token, and another one than the one that was refused?
    fn check(&self, state: &State, text: Option<&str>) -> Result<Token> {
        let wrong = |why: String| Error::login(self.user(), why);
        let token = Token::new(text, state.generation + 1)
            .map_err(|why| wrong(format!("what came is no token: {why}")))?;
        match &state.refusal {
            Some(refusal) if token.is_same(&self.current.get()) => Err(wrong(format!(
                "the one came again that was refused: {refusal}"
            ))),
            _ => Ok(token),
        }
    }

    fn user(&self) -> Option<Arc<str>> {
        self.source.as_ref()?.user.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A login under way. Also ends when its task is dropped half-way: by a provider's panic, or with the runtime.
struct Login {
    tokens: Weak<Tokens>,
    seen: observe::Login,
}

impl Login {
    fn end(mut self, got: Result<Option<String>>) {
        if let Some(tokens) = std::mem::take(&mut self.tokens).upgrade() {
            tokens.end(got, &self.seen);
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        if let Some(tokens) = self.tokens.upgrade() {
            let interrupted = Error::login(tokens.user(), "it was interrupted");
            tokens.end(Err(interrupted), &self.seen);
        }
    }
}

#[cfg(test)]
mod tests;
