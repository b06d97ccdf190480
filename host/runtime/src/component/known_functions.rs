//! The functions that the compiler's child knows from earlier compilations, and those that it
//! compiles anew.
//!
//! cranelift asks by a hash of a function's code before optimisation, of the settings and of its
//! own version, and gets what it compiled for that hash before. The server sends what it kept, in
//! packs; the child prints what is new after the component's machine code.
//!
//! ```text
//! to the child: (length (8), pack)…, 0 (8)
//! a pack: (hash (32) | length (4), compiled function)…
//! from the child: … machine code | pack of what is new | footer | length of the footer (4)
//! ```

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use wasmtime::CacheStore;

/// A hash that cranelift computes.
type Key = [u8; 32];

/// The most bytes of a footer: a number for each pack.
pub(crate) const FOOTER_BYTES: u64 = 4 * 1024;

/// How much of a compilation was known before.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reuse {
    /// Functions taken from each pack, in the order in which the packs were sent.
    pub(crate) reused: Vec<u64>,
    /// Functions that were compiled.
    pub(crate) compiled: u64,
    /// Bytes of the pack of what is new.
    pub(crate) new_bytes: u64,
}

/// The functions of a compilation.
#[derive(Debug, Default)]
pub(crate) struct KnownFunctions {
    packs: Vec<Vec<u8>>,
    /// In which pack a function is, and where.
    places: HashMap<Key, (usize, Range<usize>)>,
    reused: Vec<AtomicU64>,
    compiled: AtomicU64,
    new: Mutex<New>,
    /// The most bytes of the pack of what is new.
    room: usize,
}

#[derive(Debug, Default)]
struct New {
    keys: HashSet<Key>,
    pack: Vec<u8>,
}

impl KnownFunctions {
    /// Reads what the server sends before the component.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut known = Self::default();
        loop {
            let mut length = [0; 8];
            from.read_exact(&mut length)?;
            let length = u64::from_le_bytes(length);
            if length == 0 {
                return Ok(known);
            }
            let mut pack = Vec::new();
            if from.by_ref().take(length).read_to_end(&mut pack)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            known.add(pack);
        }
    }

    /// From now on what is new is noted, up to `room` bytes.
    #[must_use]
    pub(crate) fn noting(self, room: usize) -> Self {
        Self { room, ..self }
    }

    fn add(&mut self, pack: Vec<u8>) {
        let (mut at, number) = (0, self.packs.len());
        while let Some((key, range)) = entry(&pack, at) {
            at = range.end;
            // The pack that was used last comes first.
            self.places.entry(key).or_insert((number, range));
        }
        self.packs.push(pack);
        self.reused.push(AtomicU64::new(0));
    }

    /// What was reused and compiled, and the pack of what is new.
    pub(crate) fn finish(&self) -> (Vec<u8>, Reuse) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        let pack = std::mem::take(&mut new.pack);
        let reused = self.reused.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let compiled = self.compiled.load(Ordering::Relaxed);
        let reuse = Reuse { reused, compiled, new_bytes: pack.len() as u64 };
        (pack, reuse)
    }
}

impl CacheStore for KnownFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let place = Key::try_from(key).ok().and_then(|key| self.places.get(&key));
        match place {
            Some((number, range)) => {
                self.reused[*number].fetch_add(1, Ordering::Relaxed);
                Some(Cow::Borrowed(&self.packs[*number][range.clone()]))
            }
            None => {
                self.compiled.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = Key::try_from(key) else { return false };
        let Ok(length) = u32::try_from(value.len()) else { return false };
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.pack.len() + key.len() + 4 + value.len() > self.room {
            return false;
        }
        // A component may have the same function twice.
        if new.keys.insert(key) {
            new.pack.extend_from_slice(&key);
            new.pack.extend_from_slice(&length.to_le_bytes());
            new.pack.extend_from_slice(&value);
        }
        true
    }
}

/// The entry at `at`: its key, and where its value is. `None` at the end.
fn entry(pack: &[u8], at: usize) -> Option<(Key, Range<usize>)> {
    let (key, rest) = pack.get(at..)?.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let begin = at + key.len() + 4;
    (length <= rest.len()).then(|| (*key, begin..begin + length))
}

/// What the child prints after the machine code.
pub(crate) fn write_new(pack: &[u8], reuse: &Reuse, to: &mut impl Write) -> io::Result<()> {
    let footer = serde_json::to_vec(reuse)?;
    to.write_all(pack)?;
    to.write_all(&footer)?;
    to.write_all(&(footer.len() as u32).to_le_bytes())?;
    to.flush()
}

/// Cuts off what [`write_new`] wrote: the pack of what is new, and the footer. `None` if the output
/// is incomplete.
pub(crate) fn split_new(output: &mut Vec<u8>) -> Option<(Vec<u8>, Reuse)> {
    let (rest, length) = output.split_last_chunk::<4>()?;
    let begin = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    let reuse: Reuse = serde_json::from_slice(&rest[begin..]).ok()?;
    let end_of_code = begin.checked_sub(usize::try_from(reuse.new_bytes).ok()?)?;
    output.truncate(begin);
    Some((output.split_off(end_of_code), reuse))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    /// What the server sends of these packs.
    fn sent(packs: &[&[u8]]) -> Vec<u8> {
        let mut sent = Vec::new();
        for pack in packs {
            sent.extend_from_slice(&(pack.len() as u64).to_le_bytes());
            sent.extend_from_slice(pack);
        }
        sent.extend_from_slice(&[0; 8]);
        sent
    }

    fn known(packs: &[&[u8]], room: usize) -> KnownFunctions {
        KnownFunctions::read(&mut &sent(packs)[..]).unwrap().noting(room)
    }

    fn key(number: u8) -> Key {
        [number; 32]
    }

    #[test]
    fn what_was_inserted_is_known_to_the_next_compilation() {
        let first = known(&[], ROOM);
        assert_eq!(first.get(&key(1)), None);
        assert!(first.insert(&key(1), b"one".to_vec()));
        assert!(first.insert(&key(1), b"one".to_vec()), "the same function twice");
        assert!(first.insert(&key(2), Vec::new()));
        let (pack, reuse) = first.finish();
        assert_eq!((reuse.reused.len(), reuse.compiled), (0, 1));
        assert_eq!(pack.len(), 2 * 36 + 3, "each is there once");

        let second = known(&[&pack, &pack], ROOM);
        assert_eq!(second.get(&key(1)).as_deref(), Some(&b"one"[..]));
        assert_eq!(second.get(&key(2)).as_deref(), Some(&b""[..]));
        assert_eq!(second.get(&key(3)), None);
        let (pack, reuse) = second.finish();
        assert_eq!((reuse.reused, reuse.compiled, pack.len()), (vec![2, 0], 1, 0));
    }

    #[test]
    fn there_is_no_more_than_fits() {
        let known = known(&[], 36 + 3);
        assert!(!known.insert(&key(1), b"four".to_vec()));
        assert!(known.insert(&key(2), b"one".to_vec()));
        assert!(!known.insert(&key(3), Vec::new()));
        assert!(!known.insert(b"no key", Vec::new()));
        assert_eq!(known.finish().0.len(), 36 + 3);
    }

    #[test]
    fn a_pack_that_ends_early_gives_what_is_complete() {
        let first = known(&[], ROOM);
        first.insert(&key(1), b"one".to_vec());
        first.insert(&key(2), b"two".to_vec());
        let (pack, _) = first.finish();
        let cut = known(&[&pack[..pack.len() - 1]], ROOM);
        assert!(cut.get(&key(1)).is_some() && cut.get(&key(2)).is_none());
        assert!(KnownFunctions::read(&mut &sent(&[&pack])[..20]).is_err());
    }

    #[test]
    fn what_is_printed_is_cut_off_again() {
        let reuse = Reuse { reused: vec![3, 0], compiled: 7, new_bytes: 4 };
        let mut output = b"code".to_vec();
        write_new(b"pack", &reuse, &mut output).unwrap();
        let mut whole = output.clone();
        assert_eq!(split_new(&mut whole), Some((b"pack".to_vec(), reuse)));
        assert_eq!(whole, b"code");
        for length in 0..output.len() {
            assert_eq!(split_new(&mut output[..length].to_vec()), None, "{length} bytes");
        }
        let reuse = Reuse { new_bytes: 9, ..Reuse::default() };
        let mut output = b"code".to_vec();
        write_new(b"pack", &reuse, &mut output).unwrap();
        assert_eq!(split_new(&mut output), None, "more is announced than there is");
    }
}
