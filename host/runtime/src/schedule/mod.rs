//! When guests run, and how they share the processors.
//!
//! A call waits for [`admission`]; while it computes, [`epoch`] makes it yield and
//! [`time_slice`] keeps long computations out of the way of short ones. Both admission and time
//! slices are shared by tenants with a [`fair_semaphore`].

pub(crate) mod admission;
pub(crate) mod epoch;
pub(crate) mod fair_semaphore;
pub(crate) mod time_slice;
