use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;
use crate::error::Code;

type Answer = fn(usize) -> Result<Option<String>>;

/// Tokens of a source that takes 100 ms, and how many times it was asked.
fn tokens(answer: Answer) -> (Arc<Tokens>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let fetch: Box<Fetch> = Box::new(move || {
        let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(Duration::from_millis(100)).await;
            answer(nth)
        }
        .boxed()
    });
    let user = Some("svc".into());
    let source = Arc::new(Source { user, fetch });
    (Tokens::new(Some(source), CurrentToken::default()), asked)
}

fn numbered(nth: usize) -> Result<Option<String>> {
    Ok(Some(format!("canary{nth}")))
}

fn wrong_password(_: usize) -> Result<Option<String>> {
    let message = "etcdserver: authentication failed, invalid user ID or password";
    let refusal = Error::from_status("http://a:2379", Code::InvalidArgument, message);
    Err(Error::login(Some("svc".into()), refusal))
}

fn stale() -> Error {
    let message = "etcdserver: invalid auth token";
    Error::from_status("http://a:2379", Code::Unauthenticated, message)
}

fn times(asked: &AtomicUsize) -> usize {
    asked.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn all_that_need_a_token_at_the_same_time_share_one_login() {
    let (tokens, asked) = tokens(numbered);
    let all = join_all((0..100).map(|_| tokens.get())).await;
    assert!(
        all.iter()
            .all(|token| token.as_ref().unwrap().generation() == 1)
    );
    let first = tokens.get().await.unwrap();
    assert_eq!(times(&asked), 1, "and it is kept");
    // A hundred calls are refused; late ones speak of a token that was replaced long ago.
    for _ in 0..100 {
        assert!(tokens.refused(&first, &stale()));
    }
    let all = join_all((0..100).map(|_| tokens.get())).await;
    assert!(
        all.iter()
            .all(|token| token.as_ref().unwrap().generation() == 2)
    );
    assert!(tokens.refused(&first, &stale()));
    assert_eq!(tokens.get().await.unwrap().generation(), 2);
    assert_eq!(times(&asked), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_survives_whoever_asked_for_it_first() {
    let (tokens, asked) = tokens(numbered);
    let short = timeout(Duration::from_millis(50), tokens.get()).await;
    assert!(short.is_err());
    sleep(Duration::from_millis(60)).await;
    assert_eq!(
        tokens.now().unwrap().generation(),
        1,
        "nobody waited for it"
    );
    assert_eq!(times(&asked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_not_tried_for_every_call() {
    let (tokens, asked) = tokens(wrong_password);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let error = tokens.get().await.map(drop).unwrap_err();
        assert_eq!(error.etcd(), Some(EtcdError::AuthFailed));
        sleep(Duration::from_millis(1)).await;
    }
    // After 0.5, 1, 2, 4, 8 and then every 10 s, each a fifth less at most.
    assert!((9..=13).contains(&times(&asked)), "{}", times(&asked));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_refused_at_once_are_replaced_with_growing_delays() {
    let (tokens, asked) = tokens(numbered);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let token = tokens.get().await.unwrap();
        tokens.refused(&token, &stale());
    }
    assert!((15..=30).contains(&times(&asked)), "{}", times(&asked));
    let token = tokens.get().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    tokens.refused(&token, &stale());
    let start = Instant::now();
    tokens.get().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(150),
        "at once after one that lasted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_refused_is_not_shown_again() {
    let (tokens, _) = tokens(|_| Ok(Some("canary".to_owned())));
    let token = tokens.get().await.unwrap();
    tokens.refused(&token, &stale());
    let error = tokens.get().await.unwrap_err().to_string();
    assert!(
        error.contains("came again") && error.contains("invalid auth token"),
        "{error}"
    );
    assert!(!error.contains("canary"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_wants_no_token_is_asked_again_only_when_it_wants_one() {
    let (tokens, asked) = tokens(|nth| if nth == 1 { Ok(None) } else { numbered(nth) });
    let none = tokens.get().await.unwrap();
    assert_eq!(tokens.get().await.unwrap().generation(), none.generation());
    assert_eq!(times(&asked), 1);
    tokens.refused(&none, &stale());
    assert!(!tokens.get().await.unwrap().is_same(&none));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_an_error_and_may_do_better_next_time() {
    let (tokens, _) = tokens(|nth| {
        if nth == 1 {
            panic!("planted")
        } else {
            numbered(nth)
        }
    });
    let error = tokens.get().await.unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    sleep(Duration::from_secs(1)).await;
    tokens.get().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_ends_with_the_client() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let gone = Arc::new(AtomicUsize::new(0));
    let witness = gone.clone();
    let fetch: Box<Fetch> = Box::new(move || {
        let witness = Gone(witness.clone());
        async move {
            let _witness = witness;
            std::future::pending().await
        }
        .boxed()
    });
    let tokens = Tokens::new(
        Some(Arc::new(Source { user: None, fetch })),
        CurrentToken::default(),
    );
    assert!(
        timeout(Duration::from_millis(50), tokens.get())
            .await
            .is_err()
    );
    assert_eq!(times(&gone), 0);
    drop(tokens);
    tokio::task::yield_now().await;
    assert_eq!(times(&gone), 1);
}

#[tokio::test(start_paused = true)]
async fn without_credentials_only_a_certificate_of_an_old_revision_is_worth_another_attempt() {
    let tokens = Tokens::none();
    let token = tokens.get().await.unwrap();
    let old = "etcdserver: revision of auth store is old";
    let old = Error::from_status("http://a:2379", Code::InvalidArgument, old);
    assert!(tokens.refused(&token, &old));
    assert!(!tokens.refused(&token, &stale()));
}
