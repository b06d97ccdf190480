//! All tests use small files that they pin themselves, and none needs the network.

mod downloading;
mod fixture;
mod locating;
mod messages;
mod pip;
mod pulling;
mod server;
