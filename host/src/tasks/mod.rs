//! Background tasks: each loops until it is aborted.

pub mod follow_registry;
pub mod heartbeat;
pub mod indexer;
pub mod keep_journals;
pub mod purge_tenants;
pub mod tell_changes;
