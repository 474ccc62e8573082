//! The current revision, for watches that begin now: read once for all that ask at the same time.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::Shared;

type Reading = Shared<Pin<Box<dyn Future<Output = Option<i64>> + Send>>>;

/// Shares a read among those who asked for it before it began. Who asks later must not get it: it may be older than what
/// they have written meanwhile.
#[derive(Default)]
pub(super) struct CurrentRevision {
    /// The read that began or will begin last. Kept alive by those who wait for it.
    last: Mutex<Weak<Read>>,
}

struct Read {
    begun: Arc<AtomicBool>,
    reading: Reading,
}

impl CurrentRevision {
    /// A revision that is not older than this call; `None` if the read failed, which may have been another caller's.
    pub(super) async fn get<F>(&self, read: impl FnOnce() -> F + Send + 'static) -> Option<i64>
    where
        F: Future<Output = Option<i64>> + Send + 'static,
    {
        let read = self.join(read);
        read.reading.clone().await
    }

    fn join<F>(&self, read: impl FnOnce() -> F + Send + 'static) -> Arc<Read>
    where
        F: Future<Output = Option<i64>> + Send + 'static,
    {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.upgrade();
        if let Some(read) = before
            .as_ref()
            .filter(|read| !read.begun.load(Ordering::SeqCst))
        {
            return read.clone();
        }
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        let reading = async move {
            if let Some(before) = before {
                before.reading.clone().await;
            }
            begins.store(true, Ordering::SeqCst);
            read().await
        };
        let read = Arc::new(Read {
            begun,
            reading: reading.boxed().shared(),
        });
        *last = Arc::downgrade(&read);
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    /// Reads that answer with their number, when they are allowed to.
    #[derive(Clone)]
    struct Reads {
        begun: Arc<AtomicI64>,
        allowed: Arc<Semaphore>,
    }

    impl Reads {
        fn new() -> Self {
            Self {
                begun: Arc::default(),
                allowed: Arc::new(Semaphore::new(0)),
            }
        }

        async fn read(self) -> Option<i64> {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.allowed.acquire().await.ok()?.forget();
            Some(number)
        }
    }

    #[tokio::test]
    async fn calls_during_a_read_share_the_next_one() {
        let (current, reads) = (CurrentRevision::default(), Reads::new());
        let ask = || {
            let reads = reads.clone();
            current.get(move || reads.read())
        };
        let mut first = Box::pin(ask());
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(
            reads.begun.load(Ordering::SeqCst),
            1,
            "the first one waits for nobody"
        );
        let mut rest = Box::pin(join_all((0..10).map(|_| ask())));
        assert!(rest.as_mut().now_or_never().is_none());
        reads.allowed.add_permits(2);
        let both = futures_util::future::join(first, rest);
        let (first, rest) = timeout(Duration::from_secs(5), both).await.unwrap();
        assert_eq!((first, rest), (Some(1), vec![Some(2); 10]));
    }

    #[tokio::test]
    async fn a_read_whose_callers_are_gone_is_forgotten() {
        let (current, reads) = (CurrentRevision::default(), Reads::new());
        let ask = || {
            let reads = reads.clone();
            current.get(move || reads.read())
        };
        let mut first = Box::pin(ask());
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        reads.allowed.add_permits(1);
        assert_eq!(ask().await, Some(2));
    }
}
