//! Who the client is: a user with a password, or whoever a token provider's tokens name.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use etcd_proto::rpc::Unary;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use prost::Message;

use crate::budget::Budget;
use crate::call::{Plan, run};
use crate::error::{Error, EtcdError, Outcome, Result};
use crate::net::endpoint::Endpoint;
use crate::net::grpc;
use crate::observe;
use crate::pool::Pool;
use crate::token::{Fetch, Source, Tokens};

/// What the builder was told, checked when the client is made. `Debug` shows neither password nor token.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) password: Option<Arc<str>>,
    provider: Option<Provider>,
    pub(crate) allow_plaintext: bool,
}

type Provider = Arc<dyn Fn() -> BoxFuture<'static, Result<String>> + Send + Sync>;

impl Credentials {
    pub(crate) fn provide<F, Fut, T, E>(&mut self, provider: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.provider = Some(Arc::new(move || {
            let provided = provider();
            let token = async move { provided.await.map(T::into) };
            token.map_err(|why| Error::login(None, why)).boxed()
        }));
    }

    /// # Errors
    /// `Error::Config` for half of a user and password, for two ways to get a token, and for endpoints to which the secret would
    /// go for everybody to read.
    pub(crate) fn check(&self, endpoints: &[Endpoint]) -> Result<()> {
        let wrong = |option, why: &str| Err(Error::config(option, why));
        match (self.user.as_deref(), self.password.as_deref()) {
            (None, None) => {}
            (Some(""), _) => return wrong("user", "must not be empty"),
            (_, Some("")) => return wrong("password", "must not be empty"),
            (Some(_), None) => return wrong("password", "the user needs one"),
            (None, Some(_)) => return wrong("user", "there is a password, but nobody's"),
            (Some(_), Some(_)) if self.provider.is_some() => {
                return wrong("token_provider", "excludes a user with a password");
            }
            (Some(_), Some(_)) => {}
        }
        let has_secret = self.password.is_some() || self.provider.is_some();
        let exposed = endpoints.iter().find(|endpoint| endpoint.is_exposed());
        match exposed {
            Some(endpoint) if has_secret && !self.allow_plaintext => Err(Error::config(
                "allow_plaintext_credentials",
                format!(
                    "not set, and whoever is between here and {endpoint} could read password and token: the connection is not encrypted"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Where the client's tokens come from, if it has credentials.
    pub(crate) fn source(
        &self,
        pool: &Arc<Pool>,
        attempt_timeout: Duration,
    ) -> Option<Arc<Source>> {
        let pool = pool.clone();
        let fetch: Box<Fetch> = match self.clone() {
            Self {
                provider: Some(provider),
                ..
            } => Box::new(move || provided(pool.clone(), provider.clone()).boxed()),
            Self {
                user: Some(name),
                password: Some(password),
                ..
            } => Box::new(move || {
                let (name, password) = (name.clone(), password.clone());
                authenticate(pool.clone(), name, password, attempt_timeout).boxed()
            }),
            _ => return None,
        };
        let user = self.user.clone();
        Some(Arc::new(Source { user, fetch }))
    }
}

/// Asks the provider, until the client is closed.
async fn provided(pool: Arc<Pool>, provider: Provider) -> Result<Option<String>> {
    tokio::select! {
        token = provider() => token.map(Some),
        () = pool.closed() => Err(Error::Closed { outcome: Outcome::NotApplied }),
    }
}

/// Asks etcd, for as long as it takes to reach a member that answers: those who wait have limits of their own.
async fn authenticate(
    pool: Arc<Pool>,
    name: Arc<str>,
    password: Arc<str>,
    attempt_timeout: Duration,
) -> Result<Option<String>> {
    let request = AuthenticateRequest {
        name: name.to_string(),
        password: password.to_string(),
    };
    let plan = Plan {
        path: AuthenticateRequest::PATH,
        body: grpc::frame(&request),
        require_leader: false,
        needs: None,
        anonymous: true,
        // Twice is two tokens, of which one is forgotten.
        repeatable: true,
        leader: true,
        serializable: false,
        at_least: 0,
        pinned: None,
        timeout: None,
        attempt_timeout: Some(attempt_timeout),
        wait_ready: true,
    };
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| Error::login(Some(name), cause);
    let mut seen = observe::Call::begin(plan.path);
    let (budget, tokens) = (Budget::default(), Tokens::none());
    let called = run(&pool, &budget, &tokens, &plan, &mut seen).await;
    match seen.end(called) {
        Ok((reply, from)) => {
            let reply = AuthenticateResponse::decode(reply).map_err(|wrong| {
                failed(format!("{}: undecodable reply: {wrong}", from.name).into())
            })?;
            Ok(Some(reply.token))
        }
        Err(error) if error.etcd() == Some(EtcdError::AuthNotEnabled) => Ok(None),
        Err(closed @ Error::Closed { .. }) => Err(closed),
        Err(Error::Server(mut refusal)) => {
            // A login, whatever became of it, is not the write that waits for it.
            Arc::make_mut(&mut refusal).outcome = Outcome::NotApplied;
            Err(failed(Error::Server(refusal).into()))
        }
        Err(error) => Err(failed(error.into())),
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |given: bool| given.then_some(format_args!("<redacted>"));
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &given(self.password.is_some()))
            .field("token_provider", &given(self.provider.is_some()))
            .field("allow_plaintext", &self.allow_plaintext)
            .finish()
    }
}

#[cfg(test)]
mod tests;
