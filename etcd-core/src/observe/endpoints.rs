//! The endpoints of a client, as they change.

use std::collections::HashMap;
use std::sync::Arc;

use super::meter;
use crate::error::EndpointReport;

/// What was last told of each endpoint. When it is dropped, the client has none any more.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(HashMap<Arc<str>, &'static str>);

impl Endpoints {
    /// Tells what has changed since the last look.
    pub(crate) fn look(&mut self, now: &[EndpointReport]) {
        self.0.retain(|name, state| {
            let kept = now.iter().any(|report| report.endpoint == *name);
            if !kept {
                meter::endpoint(Some(state), None);
                tell(name, state, "Removed", None);
            }
            kept
        });
        for report in now {
            let to = report.state;
            let from = self.0.insert(report.endpoint.clone(), to);
            if from != Some(to) {
                meter::endpoint(from, Some(to));
                tell(
                    &report.endpoint,
                    from.unwrap_or("New"),
                    to,
                    report.cause.as_deref(),
                );
            }
        }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        for state in self.0.values() {
            meter::endpoint(Some(state), None);
        }
    }
}

fn tell(endpoint: &str, from: &'static str, to: &'static str, cause: Option<&str>) {
    macro_rules! tell {
        ($level:expr) => {
            tracing::event!(
                target: "etcd_core::endpoint",
                $level,
                endpoint,
                from,
                to,
                cause,
                "endpoint state"
            )
        };
    }
    match (from, to) {
        (_, "Active") => tell!(tracing::Level::INFO),
        ("Active" | "Suspect", "Suspect" | "Frozen") => tell!(tracing::Level::WARN),
        _ => tell!(tracing::Level::DEBUG),
    }
}
