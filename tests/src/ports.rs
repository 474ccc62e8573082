//! Loopback ports that no other test process on this machine takes.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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
    /// Any free port.
    pub(crate) fn reserve() -> Result<Port> {
        let dir = claims_dir()?;
        let first = fastrand::u16(RANGE);
        let mut numbers = (first..RANGE.end).chain(RANGE.start..first);
        let found = numbers.find_map(|number| Port::claim(&dir, number));
        found.with_context(|| format!("no free port on 127.0.0.1 in {RANGE:?}"))
    }

    /// Port `number` where it is free, any other where not.
    pub(crate) fn prefer(number: u16) -> Result<Port> {
        Port::claim(&claims_dir()?, number).map_or_else(Port::reserve, Ok)
    }

    /// `None` when the port is taken: also by a claim that cannot be opened, which is another user's.
    fn claim(dir: &Path, number: u16) -> Option<Port> {
        let path = dir.join(number.to_string());
        let claim = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .ok()?;
        let free = claim.try_lock().is_ok() && is_free(number);
        free.then_some(Port {
            number,
            _claim: claim,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// One directory for each user: files of another user could not be locked, and a port of theirs is seen by [`is_free`].
fn claims_dir() -> Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("etcd-tests-ports-{user}"));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
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

        let file = claims_dir().unwrap().join(numbers[0].to_string());
        assert!(File::open(&file).unwrap().try_lock().is_err());
        drop(held);
        assert!(File::open(&file).unwrap().try_lock().is_ok());
    }

    #[test]
    fn a_preferred_port_is_given_out_once_and_not_while_somebody_listens() {
        let first = Port::reserve().unwrap().number;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(Port::prefer(first).unwrap().number, first);
        drop(listener);
        let held = Port::prefer(first).unwrap();
        assert_eq!(held.number, first);
        assert_ne!(Port::prefer(first).unwrap().number, first);
    }
}
