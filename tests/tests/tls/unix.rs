//! Sockets in the file system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_core::{Client, Get, TlsError, Watch};
use etcd_tests::cluster::Target;
use etcd_tests::scripted::Scripted;
use etcd_tests::tls;
use etcd_tests::wait;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::AbortHandle;

use crate::{DIAL, LIMIT, authority, dial, explained, serve, serve_plaintext};

/// A socket file that leads to a server's port.
struct Bridge {
    path: PathBuf,
    task: AbortHandle,
    _dir: TempDir,
}

impl Bridge {
    /// The file has this name, in a directory of its own.
    fn new(name: &str, address: String) -> Bridge {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let task = carry(UnixListener::bind(&path).unwrap(), address);
        Bridge {
            path,
            task,
            _dir: dir,
        }
    }

    fn endpoint(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.path.display())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn carry(listener: UnixListener, address: String) -> AbortHandle {
    let accepting = async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&address).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
            );
        }
    };
    tokio::spawn(accepting).abort_handle()
}

/// The path as seen from the working directory.
fn relative(path: &Path) -> String {
    let ups = std::env::current_dir().unwrap().components().count() - 1;
    let down = path.strip_prefix("/").unwrap().display();
    format!("{}{down}", "../".repeat(ups))
}

#[tokio::test]
async fn keys_watches_and_leases_work_over_a_socket() {
    let target = Target::get().await.unwrap();
    let (scheme, address) = target.endpoints()[0].split_once("://").unwrap();
    let bridge = Bridge::new("localhost", address.to_owned());
    let scheme = if scheme == "https" { "unixs" } else { "unix" };
    let prefix = target.prefix();
    for endpoint in [
        bridge.endpoint(scheme),
        format!("{scheme}:{}", bridge.path.display()),
        format!("{scheme}:{}", relative(&bridge.path)),
        format!("{scheme}://{}", relative(&bridge.path)),
    ] {
        let client = tls::connect(&endpoint).await.unwrap();
        let mut watcher = client.watch(Watch::prefix(&*prefix)).await.unwrap();
        let lease = client.lease(Duration::from_secs(5)).await.unwrap();
        let value = vec![7; 1_000_000];
        client.put(prefix.key("k"), value.clone()).await.unwrap();
        let batch = watcher.try_next().await.unwrap().unwrap();
        assert_eq!(batch.events[0].kv.as_ref().unwrap().value, value);
        let read = client.get(Get::key(prefix.key("k"))).await.unwrap();
        assert_eq!(read.first().unwrap().value, value);
        assert!(lease.is_valid());
        lease.revoke().await.unwrap();
    }
}

#[tokio::test]
async fn the_last_part_of_the_path_is_the_servers_name() {
    let plain = serve_plaintext().await;
    let authority_of = async |server: &Scripted, client: Client| {
        client.get("k").await.unwrap();
        let request = &server.requests("/etcdserverpb.KV/Range")[0];
        let header = |name: &str| {
            let found = request.headers.iter().find(|(key, _)| key == name);
            found.unwrap().1.clone()
        };
        (header(":scheme"), header(":authority"))
    };
    let bridge = Bridge::new("m0:2379", plain.address());
    let client = Client::connect(bridge.endpoint("unix")).await.unwrap();
    let sent = authority_of(&plain, client).await;
    assert_eq!(sent, ("http".to_owned(), "m0:2379".to_owned()));

    let secure = serve(authority().identity().unwrap().server().unwrap()).await;
    let bridge = Bridge::new("localhost:m0", secure.address());
    let client = dial(&bridge.endpoint("unixs"), authority().trusted()).await;
    let sent = authority_of(&secure, client.unwrap()).await;
    assert_eq!(sent, ("https".to_owned(), "localhost:m0".to_owned()));
    let name = secure.handshakes()[0].clone().unwrap().server_name;
    assert_eq!(name.as_deref(), Some("localhost"));

    let bridge = Bridge::new("etcd.sock", secure.address());
    let endpoint = bridge.endpoint("unixs");
    let error = dial(&endpoint, authority().trusted()).await.unwrap_err();
    let TlsError::WrongName { expected, .. } = explained(&error, &endpoint) else {
        panic!("{error}");
    };
    assert_eq!(expected, "etcd.sock");
    let tls = authority().trusted().server_name("localhost");
    dial(&endpoint, tls).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_not_there_yet_is_connected_when_it_is() {
    let server = serve_plaintext().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.sock");
    let builder = Client::builder().endpoints([format!("unix:{}", path.display())]);
    let client = builder.dial_timeout(DIAL).build().unwrap();
    wait::until("the first attempt has failed", LIMIT, async || {
        let error = client.wait_ready(false).get("k").await.unwrap_err();
        error.to_string().contains("No such file")
    })
    .await
    .unwrap();
    let _bridge = carry(UnixListener::bind(&path).unwrap(), server.address());
    client.put("k", "v").await.unwrap();
}
