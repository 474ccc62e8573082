//! The list of endpoints under a client that runs: changed by hand, or after the cluster's member list.

mod sync;

use std::sync::Arc;

use crate::client::Client;
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::net::endpoint::Endpoint;
use crate::pool::state::EndpointView;
use crate::tls::Context;

pub(crate) use self::sync::EndpointSync;

/// What must hold of every endpoint of a client, whoever names it.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) tls: Option<Arc<Context>>,
    credentials: Credentials,
}

impl Admission {
    pub(crate) fn new(tls: Option<Arc<Context>>, credentials: Credentials) -> Self {
        Self { tls, credentials }
    }

    /// Reads a list, normalised and without duplicates.
    ///
    /// # Errors
    /// `Error::Config` for the first bad item, for an empty list, and for endpoints to which a secret would go for everybody to
    /// read.
    pub(crate) fn list<E: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = E>,
    ) -> Result<Vec<Endpoint>> {
        let endpoints = Endpoint::parse_list(texts, self.tls.is_some())?;
        self.credentials.check(&endpoints)?;
        let nameless = |endpoint: &&Endpoint| {
            let tls = self.tls.as_ref();
            tls.is_some_and(|tls| tls.server_name(endpoint.host()).is_none())
        };
        match endpoints.iter().find(nameless) {
            Some(endpoint) => Err(Error::config(
                "endpoints",
                format!(
                    "`{endpoint}`: no certificate can be for that name; give `Tls::server_name` one"
                ),
            )),
            None => Ok(endpoints),
        }
    }
}

/// All clones and views of a client share its list. What is written is read as the builder's
/// [`endpoints`](crate::ClientBuilder::endpoints) are, with the same rules about encryption and about passwords.
///
/// An endpoint of another cluster than that of the connected ones is not used, and says so as the cause of its failure.
///
/// An endpoint that is no longer in the list is drained: nothing is begun there; calls under way end by themselves, as do streams
/// that wait for their reader (scans, snapshots, those of stubs); watches and lease renewals move at once, and lose nothing by it.
/// Its connections are closed when nothing is left on them. Calls, watches and renewals of a view of that endpoint
/// ([`Client::endpoint`]) end with `Error::Config`.
impl Client {
    /// Replaces the list. Endpoints in both keep their connections. Returns at once; new endpoints are connected in the
    /// background.
    ///
    /// # Errors
    /// `Error::Config` for a bad endpoint or an empty list, `Error::Closed`; the list is then as it was.
    ///
    /// ```no_run
    /// # fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// client.set_endpoints(["10.0.0.4:2379", "10.0.0.5:2379"])?;
    /// # Ok(()) }
    /// ```
    #[doc(alias("SetEndpoints", "update_endpoints"))]
    pub fn set_endpoints<E: AsRef<str>>(
        &self,
        endpoints: impl IntoIterator<Item = E>,
    ) -> Result<()> {
        let endpoints = self.shared.sync.admission.list(endpoints)?;
        self.change(|_| Ok(endpoints))
    }

    /// Adds an endpoint, or a comma-separated list of them, at the end. One that is in the list already stays where it is.
    ///
    /// # Errors
    /// `Error::Config` for a bad endpoint, `Error::Closed`; the list is then as it was.
    pub fn add_endpoint(&self, endpoint: impl AsRef<str>) -> Result<()> {
        let new = self.shared.sync.admission.list([endpoint])?;
        self.change(|mut list| {
            list.extend(
                new.iter()
                    .filter(|new| !list.contains(new))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            Ok(list)
        })
    }

    /// Removes an endpoint, in any spelling of its address.
    ///
    /// # Errors
    /// `Error::Config` when it is not in the list, or the last one in it; `Error::Closed`. The list is then as it was.
    pub fn remove_endpoint(&self, endpoint: impl AsRef<str>) -> Result<()> {
        let gone = Endpoint::parse(endpoint.as_ref(), self.shared.sync.admission.tls.is_some())?;
        let refused = |why| Err(Error::config("endpoints", format!("{gone} {why}")));
        self.change(|mut list| {
            let Some(at) = list.iter().position(|endpoint| *endpoint == gone) else {
                return refused("is not one of the client's endpoints");
            };
            if list.len() == 1 {
                return refused("is the last one and cannot be removed");
            }
            list.remove(at);
            Ok(list)
        })
    }

    /// What somebody wrote counts as given from then on, wherever it was from.
    fn change(&self, change: impl FnOnce(Vec<Endpoint>) -> Result<Vec<Endpoint>>) -> Result<()> {
        let list = |views: Vec<EndpointView>| views.into_iter().map(|view| view.endpoint).collect();
        self.pool().change_list(|views| {
            let (before, sync) = (list(views), &self.shared.sync);
            let after = change(before)?;
            sync.given(&after);
            Ok(after)
        })
    }
}
