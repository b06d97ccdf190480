//! Catches panics that damage in the file makes the library raise, without the message and the
//! backtrace that a panic prints: what is damaged is reported in words.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `step`, and prints nothing if it panics. Other threads' panics are printed as ever.
pub(super) fn catch<T>(step: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
    let was_quiet = IS_QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    IS_QUIET.set(was_quiet);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_caught_is_quiet() {
        let value = catch(|| {
            assert!(IS_QUIET.get());
            let inner = catch::<()>(|| panic!("of a damaged page"));
            assert!(inner.is_err() && IS_QUIET.get());
            7
        });
        assert_eq!(value.ok(), Some(7));
        assert!(!IS_QUIET.get());
    }
}
