//! Which guests are being loaded, for those who ask why a call has to wait.

use std::sync::{Mutex, PoisonError};

use super::Owner;

/// The guests that are read or compiled now.
#[derive(Default)]
pub(super) struct Awaited(Mutex<Vec<(Owner, String)>>);

/// One of them, until it is dropped.
pub(super) struct Awaiting<'a> {
    all: &'a Awaited,
    guest: (Owner, String),
}

impl Awaited {
    pub(super) fn add(&self, owner: &Owner, name: &str) -> Awaiting<'_> {
        let guest = (owner.clone(), name.to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(guest.clone());
        Awaiting { all: self, guest }
    }

    /// The first guest of `owner` that is being loaded.
    pub(super) fn of(&self, owner: &Owner) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(whose, _)| whose == owner).map(|(_, name)| name.clone())
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|guest| *guest == self.guest) {
            all.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_awaited_until_its_load_ends() {
        let awaited = Awaited::default();
        let (one, two) = (awaited.add(&Owner::Server, "a"), awaited.add(&Owner::Server, "a"));
        drop(one);
        assert_eq!(awaited.of(&Owner::Server), Some("a".into()));
        drop(two);
        assert_eq!(awaited.of(&Owner::Server), None);
    }
}
