//! When guests run, and how they share the processors.
//!
//! A call waits for [`admission`]. While it computes, [`epoch`] makes it yield, and [`time_slice`]
//! keeps long computations from delaying short ones. Tenants share both the permits to run and the
//! time slices through a [`kenning_core::fair_semaphore`]. [`replay_share`] makes proofs pause.

pub(crate) mod admission;
pub(crate) mod epoch;
pub(crate) mod replay_share;
pub(crate) mod time_slice;
