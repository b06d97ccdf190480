//! Backups: made while everything is served, resumed, continued, verified, restored; and tenants
//! that move.

mod continuing;
mod earlier;
mod keeping;
mod moving;
mod restoring;
mod support;
