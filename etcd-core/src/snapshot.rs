//! A member's whole database, as a stream and as a file.

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use etcd_proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use etcd_proto::rpc::SNAPSHOT_PATH;
use futures_core::Stream;
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions, rename};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::replies::Replies;

/// Bytes of the SHA-256 with which a snapshot ends.
const CHECKSUM: usize = 32;
/// The database is made of pages, whose size is a multiple of this.
const SECTOR: u64 = 512;

/// A member's database while it arrives: the database itself, then the SHA-256 of it, as `etcdutl snapshot restore` takes
/// them from one file.
///
/// The chunks are those of the server, some ten KiB each. What has come is checked at the end: an error takes the place of
/// the last `None` if the snapshot is not whole. The server waits for a reader that is slow, for as long as it takes; it
/// cannot reuse the pages of its database meanwhile.
///
/// Dropping it ends the call. It keeps the client's connections open, also when every [`Client`] is dropped.
#[must_use = "dropping a snapshot ends it"]
pub struct Snapshot {
    replies: Replies<SnapshotResponse>,
    checksum: Checksum,
    version: String,
    announced: u64,
    over: bool,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotProgress {
    /// Bytes that have come and, in [`Snapshot::save`], are written.
    pub received: u64,
    /// Bytes to come, as the server counts them; 0 at the end.
    pub remaining: u64,
}

impl Client {
    /// Takes a snapshot of a member's database. Of any member; of a certain one with [`endpoint`](Self::endpoint), which may
    /// be a learner. A member that lags behind gives a snapshot of what it has.
    ///
    /// Returns when the first bytes have come; until then other endpoints are tried, within the time limit of a call. After
    /// that only a [`timeout`](Self::timeout) of the view limits the time, of the whole snapshot.
    ///
    /// # Errors
    /// Those of a read ([`send`](Self::send)). Dropping the future ends the call.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let snapshot = client.endpoint("http://10.0.0.2:2379").snapshot().await?;
    /// let bytes = snapshot.save("backup.db", |now| println!("{} to come", now.remaining)).await?;
    /// # Ok(()) }
    /// ```
    pub fn snapshot(&self) -> impl Future<Output = Result<Snapshot>> + Send + use<> {
        let client = self.clone();
        async move {
            let replies: Replies<SnapshotResponse> =
                client.read(SNAPSHOT_PATH, SnapshotRequest {}).await?;
            let (version, announced) = match replies.first() {
                Some(first) => {
                    let first_bytes = (first.blob.len() + CHECKSUM) as u64;
                    let announced = first.remaining_bytes.saturating_add(first_bytes);
                    (first.version.clone(), announced)
                }
                None => (String::new(), 0),
            };
            Ok(Snapshot {
                replies,
                checksum: Checksum::default(),
                version,
                announced,
                over: false,
            })
        }
    }
}

impl Snapshot {
    /// The next chunk; `None` when all has come and its checksum is right.
    ///
    /// # Errors
    /// `Error::Connection`, `Error::Server` and `Error::Timeout` when it breaks off; `Error::Protocol` when what has come is
    /// not a whole database with its checksum. It cannot be continued; after an error, `Ok(None)`.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// How far it has come.
    pub fn progress(&self) -> SnapshotProgress {
        SnapshotProgress {
            received: self.checksum.bytes,
            remaining: self.announced.saturating_sub(self.checksum.bytes),
        }
    }

    /// The version of etcd whose storage format it has, such as `3.7.0`. Empty before etcd 3.6.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Writes it to a file, readable only by its owner, and returns the file's length in bytes. `progress` is called after
    /// each chunk, and must not block.
    ///
    /// The bytes go into a file beside it, whose name ends in `.part`. When all are there, checked and on the disk, it is
    /// renamed to `path`: a file of that name is replaced in one step, and stays as it is if the snapshot fails. The `.part`
    /// file is removed on failure; only the end of the process can leave one behind.
    ///
    /// # Errors
    /// Those of [`try_next`](Self::try_next); `Error::File` when the file cannot be written.
    ///
    /// Dropping the future ends the snapshot and removes the `.part` file.
    #[doc(alias("snapshot_save", "SaveWithVersion"))]
    pub async fn save(
        mut self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(SnapshotProgress),
    ) -> Result<u64> {
        let mut part = Part::create(path.as_ref()).await?;
        while let Some(chunk) = self.try_next().await? {
            part.write(&chunk).await?;
            progress(self.progress());
        }
        part.finish(path.as_ref()).await?;
        Ok(self.checksum.bytes)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        while !self.over {
            match ready!(self.replies.poll_next(cx)) {
                Ok(Some(reply)) if reply.blob.is_empty() => {}
                Ok(Some(reply)) => {
                    self.checksum.add(&reply.blob);
                    return Poll::Ready(Ok(Some(reply.blob)));
                }
                end => {
                    self.over = true;
                    return Poll::Ready(end.and_then(|_| self.check()).map(|()| None));
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn check(&mut self) -> Result<()> {
        let name = || self.replies.name().clone();
        let bytes = self.checksum.bytes;
        if bytes % SECTOR != CHECKSUM as u64 {
            let why = format!("{bytes} bytes are no database with a checksum");
            return Err(Error::protocol(name(), why));
        }
        if !self.checksum.holds() {
            let why = "the snapshot is damaged: its SHA-256 is another one";
            return Err(Error::protocol(name(), why));
        }
        Ok(())
    }
}

impl Stream for Snapshot {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_chunk(cx)).transpose())
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("endpoint", self.replies.name())
            .field("version", &self.version)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

/// Hashes all but the last bytes, which are the hash to compare with.
#[derive(Default)]
struct Checksum {
    hash: Sha256,
    last: Vec<u8>,
    bytes: u64,
}

impl Checksum {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        let ready = (self.last.len() + chunk.len()).saturating_sub(CHECKSUM);
        let of_last = ready.min(self.last.len());
        self.hash.update(&self.last[..of_last]);
        self.last.drain(..of_last);
        let (now, later) = chunk.split_at(ready - of_last);
        self.hash.update(now);
        self.last.extend_from_slice(later);
    }

    fn holds(&mut self) -> bool {
        self.hash.finalize_reset()[..] == self.last
    }
}

/// A file that is removed when it is dropped before it is finished.
struct Part {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Part {
    async fn create(path: &Path) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        // Of its own, so that two snapshots to one name do not write into each other.
        name.push(format!(".{:016x}.part", fastrand::u64(..)));
        let path = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // A snapshot holds every secret of the cluster.
        #[cfg(unix)]
        options.mode(0o600);
        match options.open(&path).await {
            Ok(file) => Ok(Self {
                path,
                file,
                finished: false,
            }),
            Err(error) => Err(Error::file(&path, "create", error)),
        }
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let written = self.file.write_all(chunk).await;
        written.map_err(|error| Error::file(&self.path, "write", error))
    }

    async fn finish(mut self, path: &Path) -> Result<()> {
        let written = match self.file.flush().await {
            Ok(()) => self.file.sync_all().await,
            failed => failed,
        };
        written.map_err(|error| Error::file(&self.path, "write", error))?;
        let renamed = rename(&self.path, path).await;
        renamed.map_err(|error| Error::file(path, "rename", error))?;
        self.finished = true;
        sync_parent(path).await
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the new name survive a loss of power.
async fn sync_parent(path: &Path) -> Result<()> {
    // Elsewhere a directory cannot be opened.
    if !cfg!(unix) {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let synced = match File::open(parent).await {
        Ok(parent) => parent.sync_all().await,
        Err(error) => Err(error),
    };
    synced.map_err(|error| Error::file(parent, "write", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_holds_however_the_bytes_are_cut() {
        let database: Vec<u8> = (0..1024u32).map(|i| (i * 7 % 251) as u8).collect();
        let whole = [&database[..], &Sha256::digest(&database)[..]].concat();
        for piece in [1, 7, 31, 32, 33, 64, 512, 1000, whole.len()] {
            let mut checksum = Checksum::default();
            whole.chunks(piece).for_each(|chunk| checksum.add(chunk));
            assert_eq!(checksum.bytes, 1056);
            assert!(checksum.holds(), "pieces of {piece}");
        }
    }

    #[test]
    fn a_checksum_does_not_hold_for_other_bytes() {
        let database = [7; 512];
        let whole = [&database[..], &Sha256::digest(database)[..]].concat();
        for at in [0, 511, 512, 543] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let mut checksum = Checksum::default();
            checksum.add(&damaged);
            assert!(!checksum.holds(), "byte {at}");
        }
        let mut short = Checksum::default();
        short.add(&whole[..20]);
        assert!(!short.holds());
    }
}
