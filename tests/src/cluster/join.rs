//! Members that join a cluster that runs.

use std::sync::Mutex;

use anyhow::Result;

use super::{Cluster, Member};
use crate::ports::Port;

impl Cluster {
    /// Makes ready another member, and returns its index. Add its [`peer_url`](Self::peer_url) to the cluster, then start it with
    /// [`restart`](Self::restart) and wait for it with [`wait_ready`](Self::wait_ready): it joins the members there are now, of
    /// which none may have been removed.
    ///
    /// # Errors
    /// When no port is free.
    pub fn prepare_member(&mut self) -> Result<usize> {
        let i = self.len();
        let (client, peer) = (Port::reserve()?, Port::reserve()?);
        let peers = self
            .members
            .iter()
            .map(|member| &member.peer)
            .chain([&peer]);
        let peers: Vec<_> = peers.map(Port::address).collect();
        let (dir, token) = (self.dir.path(), self.dir.path().to_string_lossy());
        let builder = &self.builder;
        let mut args = builder.flags(i, &client, &peer, &peers, &token, dir);
        args.push("--initial-cluster-state=existing".to_owned());
        let member = Member {
            args,
            log: dir.join(format!("m{i}.log")),
            binary: self.members[0].binary.clone(),
            tls: builder.tls,
            client,
            peer,
            process: Mutex::new(None),
        };
        self.members.push(member);
        Ok(i)
    }

    /// The peer URL of member `i`, `http://127.0.0.1:port`.
    ///
    /// # Panics
    /// When there is no member `i`.
    pub fn peer_url(&self, i: usize) -> String {
        format!("http://{}", self.members[i].peer.address())
    }
}
