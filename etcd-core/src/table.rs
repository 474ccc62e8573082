//! `client.endpoints()`: what the client knows of its endpoints, as data and as two tables.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::pool::Usage;
use crate::pool::state::{EndpointView, Phase};

impl Client {
    /// What the client knows of its endpoints now. It prints as two tables: the connected endpoints with what is on them, and
    /// the others with the cause and the time to the next attempt.
    ///
    /// ```no_run
    /// # fn run(client: etcd_core::Client) {
    /// println!("{}", client.endpoints());
    /// # }
    /// ```
    #[doc(alias = "info")]
    pub fn endpoints(&self) -> Endpoints {
        let row = |(view, usage): (EndpointView, Usage)| Row {
            endpoint: view.endpoint.url().clone(),
            state: state(&view),
            leases: self.shared.leases.kept_on(view.id),
            watchers: self.shared.watches.watchers_on(view.id),
            connections: usage.connections,
            in_flight: usage.in_flight,
            member_id: view.member.id,
            learner: view.member.learner,
        };
        Endpoints {
            name: self.name().into(),
            rows: self.pool().snapshot().into_iter().map(row).collect(),
        }
    }
}

/// All endpoints of a client at one moment.
#[derive(Clone, Debug)]
pub struct Endpoints {
    name: Arc<str>,
    rows: Vec<Row>,
}

/// One endpoint at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// Where it stands.
    pub state: EndpointState,
    /// Open connections.
    pub connections: usize,
    /// Calls sent and not yet answered.
    pub in_flight: usize,
    /// Leases that are kept alive through it.
    pub leases: usize,
    /// Watchers that are fed by it.
    pub watchers: usize,
    /// The id of the member that answers there; 0 if it is not known.
    pub member_id: u64,
    /// The member is a learner, as far as it said: it serves serializable reads only.
    pub learner: bool,
}

/// Where an endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointState {
    /// It has not answered yet.
    Connecting {
        /// Why the last attempt failed, if there was one.
        cause: Option<Arc<str>>,
    },
    /// It serves.
    Active,
    /// It is connected and says that it does not serve, as while it is defragmented, or did not answer when it was asked; calls go
    /// to others while there are any.
    NotServing,
    /// It is connected but silent; calls go to others.
    Suspect,
    /// It is not connected, and will be when the endpoint in use is lost ([`Balance::Pinned`](crate::Balance::Pinned)).
    Spare {
        /// Why it failed when it was tried last, if it did.
        cause: Option<Arc<str>>,
    },
    /// It failed and is tried again later.
    Frozen {
        /// Why it failed.
        cause: Option<Arc<str>>,
        /// Time to the next attempt.
        retry_in: Duration,
    },
}

impl Endpoints {
    /// One row per endpoint, in the order in which they were given.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many serve.
    pub fn active(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.state == EndpointState::Active)
            .count()
    }
}

fn state(view: &EndpointView) -> EndpointState {
    match view.phase {
        _ if view.withheld => EndpointState::NotServing,
        _ if view.spare => EndpointState::Spare {
            cause: view.cause.clone(),
        },
        Phase::Connecting => EndpointState::Connecting {
            cause: view.cause.clone(),
        },
        Phase::Active => EndpointState::Active,
        Phase::Suspect => EndpointState::Suspect,
        Phase::Frozen { .. } => EndpointState::Frozen {
            cause: view.cause.clone(),
            retry_in: view.retry_in.unwrap_or_default(),
        },
    }
}

impl EndpointState {
    fn name(&self) -> &'static str {
        match self {
            EndpointState::Connecting { .. } => "Connecting",
            EndpointState::Active => "Active",
            EndpointState::NotServing => "NotServing",
            EndpointState::Suspect => "Suspect",
            EndpointState::Spare { .. } => "Spare",
            EndpointState::Frozen { .. } => "Frozen",
        }
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            |columns: &[&str]| vec![columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()];
        let mut up = head(&[
            "name",
            "state",
            "endpoint",
            "connections",
            "in flight",
            "leases kept",
            "watchers",
        ]);
        let mut down = head(&["name", "state", "endpoint", "cause", "retry in s"]);
        for row in &self.rows {
            let mut cells = vec![
                self.name.to_string(),
                row.state.name().to_owned(),
                row.endpoint.to_string(),
            ];
            match &row.state {
                EndpointState::Active | EndpointState::NotServing | EndpointState::Suspect => {
                    let counts = [row.connections, row.in_flight, row.leases, row.watchers];
                    cells.extend(counts.map(|count| count.to_string()));
                    up.push(cells);
                }
                EndpointState::Connecting { cause } => {
                    cells.extend([cause.as_deref().unwrap_or("-").to_owned(), "0.0".to_owned()]);
                    down.push(cells);
                }
                EndpointState::Spare { cause } => {
                    cells.extend([cause.as_deref().unwrap_or("-").to_owned(), "-".to_owned()]);
                    down.push(cells);
                }
                EndpointState::Frozen { cause, retry_in } => {
                    let retry_in = format!("{:.1}", retry_in.as_secs_f64());
                    cells.extend([cause.as_deref().unwrap_or("-").to_owned(), retry_in]);
                    down.push(cells);
                }
            }
        }
        write_table(f, &up)?;
        writeln!(f)?;
        write_table(f, &down)
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
