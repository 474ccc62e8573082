//! What the pool's users ask about the endpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(test)]
use super::Generation;
use super::{EndpointId, Member, Phase, PoolState, Slot};
use crate::error::{EndpointReport, TlsError};
use crate::net::endpoint::Endpoint;

/// One endpoint at one moment.
#[derive(Clone, Debug)]
pub(crate) struct EndpointView {
    pub(crate) id: EndpointId,
    pub(crate) endpoint: Endpoint,
    pub(crate) phase: Phase,
    /// Of the connections in use; `None` when there are none.
    #[cfg(test)]
    pub(crate) generation: Option<Generation>,
    /// Why it failed last; `None` once it is connected again.
    pub(crate) cause: Option<Arc<str>>,
    /// For a frozen endpoint, the time until it is tried again.
    pub(crate) retry_in: Option<Duration>,
    pub(crate) member: Member,
    /// It says that it does not serve, or did not answer when it was asked.
    pub(crate) withheld: bool,
    /// It is connected only when another one is lost.
    pub(crate) spare: bool,
}

/// How the endpoints stand, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) endpoints: usize,
    pub(crate) connected: usize,
    pub(crate) hopeless: usize,
}

impl PoolState {
    /// All endpoints, in the order of the list.
    pub(crate) fn snapshot(&self, now: Instant) -> Vec<EndpointView> {
        let view = |slot: &Slot| {
            let until = self
                .frozen()
                .find(|(frozen, _)| frozen.id == slot.id)
                .map(|(_, until)| until);
            EndpointView {
                id: slot.id,
                endpoint: slot.endpoint.clone(),
                phase: until.map_or(slot.phase, |until| Phase::Frozen { until }),
                #[cfg(test)]
                generation: slot.generation,
                cause: slot.cause.as_ref().map(|cause| cause.text.clone()),
                retry_in: until.map(|until| until.saturating_duration_since(now)),
                member: slot.member,
                withheld: slot.withheld && slot.phase == Phase::Active,
                spare: self.is_spare(slot),
            }
        };
        self.slots.iter().map(view).collect()
    }

    /// For the error of a call that found no endpoint: where each stands, and why it does not serve.
    pub(crate) fn reports(&self) -> Vec<EndpointReport> {
        let report = |slot: &Slot| {
            let cause = slot.cause.as_ref();
            let text = cause.map(|cause| &*cause.text).or(slot.reservation());
            EndpointReport {
                endpoint: slot.endpoint.url().clone(),
                state: slot.phase.name(),
                cause: text.map(str::to_owned),
                tls: cause.and_then(|cause| cause.tls.clone()),
            }
        };
        self.slots.iter().map(report).collect()
    }

    /// The address behind an id; `None` once it was removed.
    pub(crate) fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.slots
            .iter()
            .find(|slot| slot.id == id)
            .map(|slot| &slot.endpoint)
    }

    /// The id of an address in the list.
    pub(crate) fn find(&self, endpoint: &Endpoint) -> Option<EndpointId> {
        self.slots
            .iter()
            .find(|slot| slot.endpoint == *endpoint)
            .map(|slot| slot.id)
    }

    /// How many endpoints there are, are connected, and have failed in a way that trying again does not mend.
    pub(crate) fn tally(&self) -> Tally {
        let count = |is: &dyn Fn(&Slot) -> bool| self.slots.iter().filter(|slot| is(slot)).count();
        Tally {
            endpoints: self.slots.len(),
            connected: count(&|slot| slot.generation.is_some()),
            hopeless: count(&|slot| {
                let cause = slot.cause.as_ref();
                let wrong = cause.and_then(|cause| cause.tls.as_ref());
                wrong.is_some_and(TlsError::lasts)
            }),
        }
    }

    pub(crate) fn any_active(&self) -> bool {
        self.slots.iter().any(|slot| slot.phase == Phase::Active)
    }

    /// Is there another endpoint that can take over everything from this one? Suspect ones and learners cannot.
    pub(crate) fn has_other(&self, than: EndpointId) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.id != than && slot.serves())
    }
}

impl Slot {
    /// Why it is connected and yet does not serve every call.
    fn reservation(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Active if self.withheld => Some("it says that it does not serve"),
            Phase::Suspect => Some("silent, a PING is not answered"),
            _ if self.member.learner => Some("a learner, serves only serializable reads"),
            _ => None,
        }
    }
}

impl Phase {
    /// As in the tables and errors for operators.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "Connecting",
            Phase::Active => "Active",
            Phase::Suspect => "Suspect",
            Phase::Frozen { .. } => "Frozen",
        }
    }
}
