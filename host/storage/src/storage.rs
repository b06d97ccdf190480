//! What every backend promises, whatever the concern.

use crate::{
    ChangeStorage, CopyStorage, DocumentStorage, FactStorage, Lifecycle, QuotaStorage,
    RegistryStorage, StateStorage, TenantStorage, VectorStorage,
};

/// A backend: everything that the server keeps, behind one value.
///
/// The operations stand in one trait per concern: [`FactStorage`], [`VectorStorage`],
/// [`ChangeStorage`], [`DocumentStorage`], [`RegistryStorage`], [`QuotaStorage`], [`StateStorage`],
/// [`TenantStorage`], [`CopyStorage`] and [`Lifecycle`]. Whatever implements all of them is a
/// `Storage`, so a host holds a single `Arc<dyn Storage>`. Its methods can be called without
/// importing any of the traits, and `&dyn Storage` coerces to `&dyn FactStorage` (and the others)
/// where a function needs only one concern.
///
/// The following holds for every operation; the traits state what is particular to theirs.
///
/// **Deadlines.** Each operation ends by its `deadline` or by [`StorageLimits::operation`]
/// (2 s by default), whichever is earlier, with [`Timeout`] if it has not completed. One whose
/// deadline has already passed does not start.
///
/// **Timeouts.** A read that timed out had no effect. A write that timed out reports whether it may
/// have taken effect (`outcome_unknown`). If so, it may also take effect after the call has
/// returned, but at most once. Repeating it is safe, because every write is conditional or
/// idempotent: if the first attempt did succeed, the condition no longer holds.
///
/// **Ordering.** A read sees every write that was acknowledged before the read started. Nothing is
/// cached between the caller and the backend.
///
/// **Atomicity.** A single write, deletion or vector takes effect completely or not at all, also
/// across a crash and for concurrent readers and writers. Several in one call are not a
/// transaction: each is atomic, the batch is not.
///
/// **Durability.** Embedded: an acknowledged write is on disk (fsync). Redis: it is as durable as
/// the server's `appendfsync` makes it; with `always` it is on disk.
///
/// **Failures** are never remembered: the next operation tries again. Every operation can fail with
/// [`Unavailable`], [`Timeout`] or [`Corrupt`]; further errors are listed at the operation.
///
/// [`StorageLimits::operation`]: crate::StorageLimits::operation
/// [`Timeout`]: crate::StorageError::Timeout
/// [`Unavailable`]: crate::StorageError::Unavailable
/// [`Corrupt`]: crate::StorageError::Corrupt
pub trait Storage:
    FactStorage
    + VectorStorage
    + ChangeStorage
    + DocumentStorage
    + RegistryStorage
    + QuotaStorage
    + StateStorage
    + TenantStorage
    + CopyStorage
    + Lifecycle
{
}

impl<T> Storage for T where
    T: FactStorage
        + VectorStorage
        + ChangeStorage
        + DocumentStorage
        + RegistryStorage
        + QuotaStorage
        + StateStorage
        + TenantStorage
        + CopyStorage
        + Lifecycle
{
}
