//! Tenants on a server with keys: who gets in, what each may use, and that nothing of a deleted
//! one is left.

mod audit;
mod cli;
mod deleting;
mod following;
mod isolation;
mod issuer;
mod keys;
mod quotas;
mod scopes;
mod support;
mod tokens;
