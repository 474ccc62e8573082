//! Endpoints that are unix sockets.

use std::os::unix::net::SocketAddr;
use std::path::Path;

use http::uri::Authority;

use super::{Endpoint, Place, Wrong};

/// What follows `unix:` or `unix://`: an absolute path, or one relative to the working directory.
pub(super) fn read(path: &str, tls: bool) -> Result<Endpoint, Wrong> {
    // `unix:///run/etcd.sock` has been cut after its first two slashes, `unix:/run/etcd.sock` after the colon.
    if path.is_empty() || path.ends_with('/') {
        return Err("the path of the socket is missing");
    }
    if SocketAddr::from_pathname(path).is_err() {
        return Err("the path is too long for a socket");
    }
    let scheme = if tls { "unixs" } else { "unix" };
    let slashes = if path.starts_with('/') { "//" } else { "" };
    let last = path.rsplit('/').next().unwrap_or(path);
    // A file can have a name that no host can; then the server gets a name that says as much.
    let authority = last.parse::<Authority>();
    let authority = authority.unwrap_or(Authority::from_static("localhost"));
    Ok(Endpoint {
        url: format!("{scheme}:{slashes}{path}").into(),
        tls,
        place: Place::Unix {
            path: Path::new(path).into(),
        },
        authority,
    })
}

/// The last part of the path, without a colon and what follows: etcd's own client looks for it in the certificate.
pub(super) fn host(path: &Path) -> &str {
    let last = path.file_name().and_then(|name| name.to_str());
    let last = last.unwrap_or_default();
    last.split_once(':').map_or(last, |(host, _)| host)
}
