//! Files that are replaced while a client runs.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use etcd_core::{Client, Tls};
use etcd_tests::scripted::{Handshake, Reply, Scripted};
use etcd_tests::tls::{Authority, Identity};
use etcd_tests::wait;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tracing::subscriber::DefaultGuard;

use crate::{LIMIT, authority, dial, serve};

/// The files of one client.
struct Files(TempDir);

impl Files {
    fn new(identity: &Identity) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.write("ca.pem", authority().pem());
        files.write("cert.pem", &identity.cert);
        files.write("key.pem", &identity.key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn tls(&self) -> Tls {
        let tls = Tls::new().ca_file(self.path("ca.pem"));
        tls.identity_files(self.path("cert.pem"), self.path("key.pem"))
    }
}

async fn asking(identity: &Identity, clients: &Authority) -> Scripted {
    serve(identity.server_for(&[&TLS13], Some(clients)).unwrap()).await
}

/// Ends the newest connection, and waits for the one after it. Returns the certificate that the client showed then.
async fn reconnect(server: &Scripted, client: &Client) -> CertificateDer<'static> {
    let before = server.handshakes().len();
    server.push(server.connections() - 1, Reply::close()).await;
    let again = async || server.handshakes().len() > before && client.endpoints().active() == 1;
    wait::until("the client is connected again", LIMIT, again)
        .await
        .unwrap();
    client.put("k", "v").await.unwrap();
    shown(server)
}

/// The certificate that the client showed last.
fn shown(server: &Scripted) -> CertificateDer<'static> {
    let last = server.handshakes().pop().unwrap();
    last.unwrap().client.unwrap()
}

#[tokio::test]
async fn a_new_identity_is_used_from_the_next_connection_on() {
    let (old, new) = (
        authority().identity().unwrap(),
        authority().identity().unwrap(),
    );
    let files = Files::new(&old);
    let server = asking(&old, authority()).await;
    let client = dial(&server.endpoint(), files.tls()).await.unwrap();
    assert_eq!(shown(&server), old.der().unwrap());

    files.write("cert.pem", &new.cert);
    files.write("key.pem", &new.key);
    for _ in 0..100 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!(server.handshakes().len(), 1, "the open connection goes on");
    assert_eq!(reconnect(&server, &client).await, new.der().unwrap());
}

#[tokio::test]
async fn a_pair_that_is_half_written_is_not_used_until_it_is_whole() {
    let (old, new) = (
        authority().identity().unwrap(),
        authority().identity().unwrap(),
    );
    let files = Files::new(&old);
    let server = asking(&old, authority()).await;
    let client = dial(&server.endpoint(), files.tls()).await.unwrap();

    let half = |text: &str| text[..text.len() / 2].to_owned();
    let steps = [
        ("cert.pem", half(&new.cert)),
        ("cert.pem", new.cert.clone()),
        ("key.pem", String::new()),
        ("key.pem", half(&new.key)),
    ];
    for (file, text) in steps {
        files.write(file, text);
        assert_eq!(
            reconnect(&server, &client).await,
            old.der().unwrap(),
            "{file}"
        );
    }
    fs::remove_file(files.path("key.pem")).unwrap();
    assert_eq!(reconnect(&server, &client).await, old.der().unwrap());
    files.write("key.pem", &new.key);
    assert_eq!(reconnect(&server, &client).await, new.der().unwrap());
}

#[tokio::test]
async fn a_new_authority_is_trusted_from_the_next_connection_on() {
    let identity = authority().identity().unwrap();
    let files = Files::new(&identity);
    let server = asking(&identity, authority()).await;
    let client = dial(&server.endpoint(), files.tls()).await.unwrap();

    let next = Authority::new("next").unwrap();
    let (theirs, ours) = (next.identity().unwrap(), next.identity().unwrap());
    files.write("ca.pem", next.pem());
    files.write("cert.pem", &ours.cert);
    files.write("key.pem", &ours.key);
    server.set_tls(theirs.server_for(&[&TLS13], Some(&next)).unwrap());
    assert_eq!(reconnect(&server, &client).await, ours.der().unwrap());

    // The old one is trusted no more.
    server.set_tls(identity.server().unwrap());
    server.push(server.connections() - 1, Reply::close()).await;
    let failed = async || {
        let error = client.wait_ready(false).get("k").await.err();
        error.is_some_and(|error| error.tls().is_some())
    };
    wait::until("the server is refused", LIMIT, failed)
        .await
        .unwrap();
}

#[tokio::test]
async fn both_ends_are_made_sure_of_on_every_connection() {
    let identity = authority().identity().unwrap();
    for version in [&TLS12, &TLS13] {
        let server = serve(identity.server_for(&[version], Some(authority())).unwrap()).await;
        let files = Files::new(&identity);
        let client = dial(&server.endpoint(), files.tls()).await.unwrap();
        reconnect(&server, &client).await;
        let resumed = |done: Result<Handshake, String>| done.unwrap().resumed;
        assert!(!server.handshakes().into_iter().any(resumed));
    }
}

#[tokio::test]
async fn a_server_may_come_back_with_another_certificate_of_its_authority() {
    let identity = authority().identity().unwrap();
    let server = asking(&identity, authority()).await;
    let files = Files::new(&identity);
    let client = dial(&server.endpoint(), files.tls()).await.unwrap();
    let other = authority().identity().unwrap();
    server.set_tls(other.server_for(&[&TLS13], Some(authority())).unwrap());
    reconnect(&server, &client).await;
}

/// What is logged by this thread, which runs the whole test.
fn log() -> (Arc<Mutex<Vec<u8>>>, DefaultGuard) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Writer(writer.clone()))
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How many lines have all of these words.
fn count(log: &Mutex<Vec<u8>>, words: &[&str]) -> usize {
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let lines = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    lines.count()
}

#[tokio::test]
async fn what_cannot_be_used_is_in_the_log_once_and_keys_never_are() {
    let (log, _guard) = log();
    let identity = authority().identity().unwrap();
    let files = Files::new(&identity);
    let server = asking(&identity, authority()).await;
    let client = dial(&server.endpoint(), files.tls()).await.unwrap();
    let other = authority().identity().unwrap();
    files.write("key.pem", &other.key);
    for _ in 0..3 {
        reconnect(&server, &client).await;
    }
    let said = [
        count(
            &log,
            &["WARN", "cannot be used", "key.pem", "does not belong"],
        ),
        count(&log, &["takes any certificate"]),
    ];
    assert_eq!(said, [1, 0]);
    for key in [&identity.key, &other.key] {
        assert_eq!(count(&log, &[key.lines().nth(1).unwrap()]), 0);
    }
}

#[tokio::test]
async fn a_client_that_takes_any_certificate_says_so_in_the_log_once() {
    let (log, _guard) = log();
    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    let tls = Tls::new().danger_accept_invalid_certs();
    let client = dial(&server.endpoint(), tls).await.unwrap();
    server.push(0, Reply::close()).await;
    let again = async || server.handshakes().len() == 2 && client.endpoints().active() == 1;
    wait::until("the client is connected again", LIMIT, again)
        .await
        .unwrap();
    assert_eq!(count(&log, &["WARN", "takes any certificate"]), 1);
}
