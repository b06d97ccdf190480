//! The commands, from their arguments to their output, against a fake server with scripted
//! responses.

mod changes;
mod exporting;
mod facts;
mod failing;
mod fake_server;
mod guests;
mod importing;
mod listing;
mod quotas;
mod searching;
mod stats;
mod usage;
