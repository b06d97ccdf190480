//! Everything against small files, pinned by the tests themselves; no test leaves this machine.

mod downloading;
mod fixture;
mod locating;
mod pip;
mod pulling;
mod server;
mod words;
