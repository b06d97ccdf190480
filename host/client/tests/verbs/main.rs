//! The verbs, from the command line they are typed on to what they print, against a server that
//! answers what each test tells it to.

mod exporting;
mod facts;
mod failing;
mod fake;
mod importing;
mod listing;
mod searching;
mod stats;
mod usage;
