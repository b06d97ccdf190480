//! The time that the host leaves to a guest whose call waited for something.

use std::time::Duration;

/// The maximum of the time that an import leaves to the guest, so that it can return a result.
const RESERVE: Duration = Duration::from_millis(250);

/// The part of the remaining time that an import leaves to the guest: a tenth, up to [`RESERVE`].
pub(crate) fn reserve(left: Duration) -> Duration {
    RESERVE.min(left / 10)
}

/// The same for an import after which the guest still has to read from storage: a quarter of the
/// remaining time, up to what a storage operation may take.
pub(crate) fn reserve_to_read(left: Duration, storage_operation: Duration) -> Duration {
    (storage_operation + RESERVE).min(left / 4).max(reserve(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_guest_has_time_to_return_a_result_after_an_import() {
        assert_eq!(reserve(ms(10_000)), ms(250));
        assert_eq!(reserve(ms(100)), ms(10));
        assert_eq!(reserve(ms(0)), ms(0));
    }

    #[test]
    fn a_search_has_time_to_read_after_an_embedding_timed_out() {
        assert_eq!(reserve_to_read(ms(10_000), ms(2_000)), ms(2_250));
        assert_eq!(reserve_to_read(ms(1_000), ms(2_000)), ms(250));
        // Without time for reading, there is still time to return a result.
        assert_eq!(reserve_to_read(ms(10_000), ms(0)), ms(250));
    }
}
