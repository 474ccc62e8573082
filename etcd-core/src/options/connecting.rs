//! Options about how an endpoint is connected.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::ClientBuilder;
use crate::net::Tcp;
use crate::net::connect::Dialler;

/// An attempt to connect goes through phases, each with a time limit: the addresses of the name
/// ([`dns_timeout`](Self::dns_timeout)), TCP ([`connect_timeout`](Self::connect_timeout)), TLS
/// ([`tls_handshake_timeout`](Self::tls_handshake_timeout)), HTTP/2 and the first reply (the `connect_timeout` each); and one for
/// all together ([`dial_timeout`](Self::dial_timeout)). The error of an attempt names its phase. It is repeated in the background.
impl ClientBuilder {
    /// Time limit for finding the addresses of an endpoint's name. They are looked up for each attempt, and all of them are
    /// tried; while the lookup fails, those found last are. Default: 1 s.
    pub fn dns_timeout(mut self, timeout: Duration) -> Self {
        self.options.dns_timeout = timeout;
        self
    }

    /// Time limit of TCP: connecting to the first of an endpoint's addresses that accepts. Each of them is tried within half of
    /// it, the next one when one has failed or is slow. Also that of HTTP/2, and of the first reply. Default: 1 s.
    #[doc(alias = "with_connect_timeout")]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Time limit of the TLS handshake. Default: 3 s.
    pub fn tls_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.options.tls_handshake_timeout = timeout;
        self
    }

    /// Options of TCP, apart from those of TLS.
    #[doc(alias("socket_options", "tcp_nodelay"))]
    pub fn tcp(mut self, tcp: Tcp) -> Self {
        self.options.tcp = tcp;
        self
    }

    /// Opens connections in its own way, in place of DNS and TCP: through a proxy, over simulated networks, in tests. It is
    /// given host and port of an endpoint, and has the time of [`connect_timeout`](Self::connect_timeout). TLS and HTTP/2 go
    /// over what it returns. Sockets (`unix:`) are none of its business. Default: none.
    ///
    /// ```no_run
    /// # async fn run() -> etcd_core::Result<()> {
    /// let client = etcd_core::Client::builder()
    ///     .endpoints(["etcd-1.internal:2379"])
    ///     .connector(|host, port| {
    ///         println!("to {host}:{port}");
    ///         tokio::net::TcpStream::connect("127.0.0.1:12379")
    ///     })
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias("WithContextDialer", "connect_with_connector"))]
    pub fn connector<F, Fut, S>(mut self, connect: F) -> Self
    where
        F: Fn(&str, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.options.dialler = Some(Dialler::new(connect));
        self
    }
}
