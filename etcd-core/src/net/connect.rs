//! Opens sockets; the only file that does.

use std::io;

use tokio::net::{TcpStream, lookup_host};

use super::endpoint::Endpoint;

/// Resolves the endpoint's name and connects to the first of its addresses that accepts.
///
/// The caller bounds the time. Names are resolved anew at each call, so a member that moved is found.
pub(crate) async fn dial(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let addresses = lookup_host((endpoint.host(), endpoint.port())).await?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Requests are collected and written once per poll: waiting for more (Nagle) only delays them.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}
