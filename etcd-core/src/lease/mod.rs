//! lease
mod state;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(crate) i64);
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseState { Healthy, AtRisk, Lost(LostReason) }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostReason { Deadline, NotFound, Halted }
