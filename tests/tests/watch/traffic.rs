//! Writers that go on in the background while something fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_core::{Client, Delete, Put, Txn};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::LIMIT;

/// So that histories stay readable.
const PAUSE: Duration = Duration::from_millis(1);

/// Puts, deletes and transactions on a few keys under a prefix, until it is stopped. Writes that fail are not repeated: the
/// history has what became of them.
pub(crate) struct Writer {
    client: Client,
    prefix: String,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn start(client: Client, prefix: &str) -> Self {
        let (prefix, stop) = (prefix.to_owned(), Arc::new(AtomicBool::new(false)));
        let (writer, keys, stopped) = (client.clone(), prefix.clone(), stop.clone());
        let task = tokio::spawn(async move {
            for n in 0_u64.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = write(&writer, &keys, n).await;
                sleep(PAUSE).await;
            }
        });
        Self {
            client,
            prefix,
            stop,
            task,
        }
    }

    /// Ends it, and gives the revision of its last write.
    pub(crate) async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::SeqCst);
        timeout(LIMIT, self.task).await.unwrap().unwrap();
        let client = self.client.timeout(LIMIT).idempotent();
        let end = client.put(format!("{}end", self.prefix), "").await;
        end.unwrap().revision()
    }
}

async fn write(client: &Client, prefix: &str, n: u64) -> etcd_core::Result<()> {
    let key = |i: u64| format!("{prefix}{}", i % 7);
    match n % 5 {
        3 => drop(client.delete(Delete::key(key(n))).await?),
        4 => {
            let puts = (0..3).map(|i| Put::new(key(n + i), n.to_string()));
            let txn = puts.fold(Txn::new(), Txn::then);
            client.txn(txn).await?;
        }
        _ => drop(client.put(key(n), n.to_string()).await?),
    }
    Ok(())
}
