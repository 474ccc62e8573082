//! What the examples share: an etcd to talk to.

use anyhow::Result;

use crate::cluster::{Builder, Cluster};

/// The etcd of an example: the one that it is pointed at, or one of its own for as long as this lives.
#[derive(Debug)]
pub struct Etcd {
    endpoints: String,
    _own: Option<Cluster>,
}

impl Etcd {
    /// The endpoints in the example's first argument; without one, a member that is started now.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn given_or_own() -> Result<Self> {
        match std::env::args().nth(1) {
            Some(endpoints) => Ok(Self {
                endpoints,
                _own: None,
            }),
            None => Self::own(Cluster::builder()).await,
        }
    }

    /// One that is started now: for examples that change a whole cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn own(builder: Builder) -> Result<Self> {
        let own = builder.start().await?;
        Ok(Self {
            endpoints: own.endpoints().join(","),
            _own: Some(own),
        })
    }

    /// A comma-separated list.
    pub fn endpoints(&self) -> &str {
        &self.endpoints
    }
}
