//! What loops in the background.

pub mod follow_registry;
pub mod heartbeat;
pub mod indexer;
pub mod purge_tenants;
