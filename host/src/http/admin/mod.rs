//! `/v1/admin`: what an operator does. Each file holds one group of routes; every handler takes
//! an [`Admin`](super::who::Admin), which lets only the operator in.

pub(super) mod tenants;
