//! What is stored, when it is not as it should be: records that cannot be read, facts that Redis
//! evicts, a disk that is full, bytes that were altered, and data that an earlier version wrote.

mod damage;
mod earlier;
mod eviction;
mod full;
mod unreadable;
