//! A member that the others cannot reach, nor it them, while clients reach all.
//!
//! Before the peer port of every member stands a relay, whose address the members know each other by. Peers say in each request
//! who they are, so a relay knows between whom a connection goes.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ports::Port;

/// The request field in which a peer says who it is: its member id in hex.
const SENDER: &str = "x-server-from: ";

/// More than the head of any peer's request.
const HEAD_LIMIT: usize = 16 * 1024;

/// The relays of one cluster. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Relays {
    ports: Vec<Port>,
    isolated: Arc<watch::Sender<Option<Isolated>>>,
    acceptors: Vec<AbortHandle>,
}

/// The member that is cut off: its index, and its id in etcd.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isolated {
    pub(super) index: usize,
    pub(super) id: u64,
}

impl Relays {
    /// One for each of these peer addresses.
    pub(super) async fn start(peers: &[SocketAddr]) -> Result<Relays> {
        let mut relays = Relays {
            ports: Vec::new(),
            isolated: Arc::new(watch::Sender::new(None)),
            acceptors: Vec::new(),
        };
        for (to, peer) in peers.iter().enumerate() {
            let port = Port::reserve()?;
            let listener = TcpListener::bind(port.address()).await;
            let listener = listener.context("cannot listen for peers")?;
            let accept = accept(listener, relays.isolated.clone(), to, *peer);
            relays.acceptors.push(tokio::spawn(accept).abort_handle());
            relays.ports.push(port);
        }
        Ok(relays)
    }

    /// By what address member `i` is known to the others.
    pub(super) fn address(&self, i: usize) -> SocketAddr {
        self.ports[i].address()
    }

    /// Cuts one member off, or none.
    pub(super) fn isolate(&self, isolated: Option<Isolated>) {
        self.isolated.send_replace(isolated);
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(AbortHandle::abort);
    }
}

impl Isolated {
    /// Does it lie between these two? A member that is still unknown, `None`, is not cut off.
    fn separates(self, from: Option<u64>, to: usize) -> bool {
        (to == self.index) != (from == Some(self.id))
    }
}

async fn accept(
    listener: TcpListener,
    isolated: Arc<watch::Sender<Option<Isolated>>>,
    to: usize,
    peer: SocketAddr,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut isolated = isolated.subscribe();
        tokio::spawn(async move {
            let mut client = client;
            let Some(head) = read_head(&mut client).await else {
                return;
            };
            let from = sender(&head);
            let cut = |isolated: &Option<Isolated>| {
                isolated.is_some_and(|isolated| isolated.separates(from, to))
            };
            tokio::select! {
                biased;
                // Both ends are closed; so are the connections that follow.
                _ = isolated.wait_for(cut) => {}
                _ = carry(client, &head, peer) => {}
            }
        });
    }
}

async fn carry(mut client: TcpStream, head: &[u8], peer: SocketAddr) -> std::io::Result<()> {
    let mut server = TcpStream::connect(peer).await?;
    server.write_all(head).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The head of the first request, with whatever of its body came along.
async fn read_head(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_LIMIT || client.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Which member sends it, where it says so.
fn sender(head: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let id = head.lines().find_map(|line| line.strip_prefix(SENDER))?;
    u64::from_str_radix(id.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_what_its_request_says() {
        let head = b"GET /raft HTTP/1.1\r\nHost: a\r\nX-Server-From: 8e9e05c52164694d\r\n\r\nbody";
        assert_eq!(sender(head), Some(0x8e9e_05c5_2164_694d));
        assert_eq!(sender(b"GET /members HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    }

    #[test]
    fn a_member_is_cut_off_from_the_others_and_they_not_from_each_other() {
        let isolated = Isolated { index: 1, id: 11 };
        assert!(isolated.separates(Some(11), 0) && isolated.separates(Some(10), 1));
        assert!(!isolated.separates(Some(10), 2) && !isolated.separates(None, 0));
    }
}
