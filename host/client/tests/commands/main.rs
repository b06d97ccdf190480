//! The commands, from their arguments to their output, against a fake server with scripted
//! responses.

mod exporting;
mod facts;
mod failing;
mod fake_server;
mod importing;
mod listing;
mod quotas;
mod searching;
mod stats;
mod usage;
