//! Loopback ports that no other test process on this machine takes.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Below the ranges from which Linux and macOS give out ports of outgoing connections, so that no client's socket gets in the way.
const RANGE: Range<u16> = 20_000..32_000;

/// A port on 127.0.0.1 that belongs to this value, whether or not anything listens on it at the moment.
///
/// The claim is a file lock: the kernel gives it up when the process ends, however it ends, so nothing goes stale.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    pub(crate) fn reserve() -> Result<Port> {
        let dir = claims_dir();
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let first = fastrand::u16(RANGE);
        for number in (first..RANGE.end).chain(RANGE.start..first) {
            // A claim that cannot be opened or locked is somebody else's.
            let Ok(claim) = OpenOptions::new()
                .create(true)
                .append(true)
                .open(dir.join(number.to_string()))
            else {
                continue;
            };
            if claim.try_lock().is_ok() && is_free(number) {
                return Ok(Port {
                    number,
                    _claim: claim,
                });
            }
        }
        bail!("no free port on 127.0.0.1 in {RANGE:?}")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// One directory for each user: files of another user could not be locked, and a claim of theirs is seen by [`is_free`].
fn claims_dir() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("etcd-tests-ports-{user}"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_out_twice_until_it_is_dropped() {
        let held: Vec<_> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let mut numbers: Vec<_> = held.iter().map(|port| port.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());

        let file = claims_dir().join(numbers[0].to_string());
        assert!(File::open(&file).unwrap().try_lock().is_err());
        drop(held);
        assert!(File::open(&file).unwrap().try_lock().is_ok());
    }
}
