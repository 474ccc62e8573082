//! Options of TCP.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Options of the TCP connections to the endpoints. They say nothing about encryption, which is [`Tls`](crate::Tls)'s, and sockets
/// (`unix:`) have none.
///
/// ```
/// use std::time::Duration;
/// use etcd_core::{Client, Tcp};
/// let tcp = Tcp::new().user_timeout(Duration::from_secs(10)).bind_address("10.0.0.7");
/// let builder = Client::builder().endpoints(["10.0.0.1:2379"]).tcp(tcp);
/// ```
#[derive(Clone, Debug)]
pub struct Tcp {
    nodelay: bool,
    keepalive: Duration,
    user_timeout: Duration,
    bind_address: Option<Arc<str>>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Duration::ZERO,
            user_timeout: Duration::from_secs(20),
            bind_address: None,
        }
    }
}

impl Tcp {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends at once what there is to send (`TCP_NODELAY`). The client collects what belongs together by itself: waiting for
    /// more only delays it. Default: on.
    #[doc(alias = "with_tcp_nodelay")]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// How long a connection may be idle before TCP asks whether the other side still lives, and then as often. Finds out what
    /// the client's own PINGs do not ask, on connections that nothing uses, and keeps firewalls from forgetting those. At
    /// least a second; 0 = never, the default.
    #[doc(alias("SO_KEEPALIVE", "with_tcp_keepalive"))]
    pub fn keepalive(mut self, idle: Duration) -> Self {
        self.keepalive = idle;
        self
    }

    /// How long what was sent may stay unacknowledged before TCP gives up the connection (`TCP_USER_TIMEOUT`, on Linux; without
    /// effect elsewhere). 0 = as long as the system thinks right, often a quarter of an hour. Default: 20 s.
    #[doc(alias = "TCP_USER_TIMEOUT")]
    pub fn user_timeout(mut self, timeout: Duration) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// The address of this machine that connections come from, an IP address; checked when the client is made. Endpoints of the
    /// other kind (IPv4, IPv6) cannot be reached then. Default: the system chooses.
    #[doc(alias = "local_address")]
    pub fn bind_address(mut self, address: impl ToString) -> Self {
        self.bind_address = Some(address.to_string().into());
        self
    }

    /// What is wrong, and of which option.
    pub(crate) fn wrong(&self) -> Option<(&'static str, String)> {
        let second = Duration::from_secs(1);
        let longest = Duration::from_secs(32_767);
        if !self.keepalive.is_zero() && !(second..=longest).contains(&self.keepalive) {
            return Some((
                "tcp_keepalive",
                "must be 0, or from 1 s to 32767 s".to_owned(),
            ));
        }
        if self.user_timeout > longest {
            return Some((
                "tcp_user_timeout",
                "must not be longer than 32767 s".to_owned(),
            ));
        }
        let text = self.bind_address.as_ref()?;
        let why = || ("tcp_bind_address", format!("`{text}` is no IP address"));
        text.parse::<IpAddr>().is_err().then(why)
    }

    pub(super) fn source(&self) -> Option<IpAddr> {
        self.bind_address.as_ref()?.parse().ok()
    }

    pub(super) fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        use rustix::net::sockopt;
        sockopt::set_tcp_nodelay(socket, self.nodelay)?;
        if !self.keepalive.is_zero() {
            sockopt::set_socket_keepalive(socket, true)?;
            sockopt::set_tcp_keepidle(socket, self.keepalive)?;
            sockopt::set_tcp_keepintvl(socket, self.keepalive)?;
        }
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            let millis = u32::try_from(self.user_timeout.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(socket, millis.max(1))?;
        }
        Ok(())
    }
}
