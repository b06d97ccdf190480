//! Keeps compiled functions in a folder, so that of a component that changed little, little is
//! compiled.
//!
//! What one compilation compiled anew is one file, a pack, with a MAC like that of compiled
//! components: the child is given no byte that did not come from this server's own compiler. A
//! pack belongs to a tenant. Otherwise the time of a compilation would tell one tenant which code
//! another has; and whoever found two functions with one hash could do harm to others.
//!
//! A compilation is given the packs of its tenant that were used last, of components of about its
//! size. Those that it used stay; the others are deleted once there are too many.

use std::fs::File;
use std::io;
use std::path::Path;

use kenning_core::limits::Limits;
use kenning_storage::TenantId;
use sha2::{Digest, Sha256};

use crate::component::code_cache::{CodeCache, Compiled, touch};
use crate::component::known_functions::Reuse;

/// The folder of packs, in the data directory.
const FOLDER: &str = "functions";

/// The most packs that one compilation is given.
const PACKS: usize = 8;

/// The most bytes of a pack, relative to the component.
const PACK_FACTOR: u64 = 16;

/// Bytes of a pack's file in addition to the pack: its name, and the MAC.
const FRAME: u64 = 1024;

/// The packs that one compilation may use, and how that of what is new is named: after the compiler
/// and its settings, the tenant, and the component.
#[derive(Clone)]
pub(crate) struct Series {
    prefix: String,
    /// Bytes of the component that is compiled now.
    bytes: u64,
    /// How the name of the pack of what is new begins.
    new: String,
}

impl Series {
    /// For the component with `digest`, compiled for `tenant` by what `fingerprint` stands for.
    pub(crate) fn new(fingerprint: &str, tenant: &TenantId, digest: &str, bytes: u64) -> Self {
        let prefix = format!("functions-{fingerprint}-{}-", short(tenant.as_str()));
        let new = format!("{prefix}{bytes}-{}", short(digest));
        Self { prefix, bytes, new }
    }

    /// Whether a pack is of a component of about the same size.
    fn has(&self, name: &str) -> bool {
        let bytes = name.strip_prefix(&self.prefix).and_then(|rest| rest.split_once('-'));
        let bytes = bytes.and_then(|(bytes, _)| bytes.parse::<u64>().ok());
        bytes.is_some_and(|bytes| bytes / 2 <= self.bytes && self.bytes / 2 <= bytes)
    }
}

/// The beginning of a hash, in hexadecimal.
fn short(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The most bytes of the pack of what is new in a component of `input` bytes; 0 if nothing is kept.
pub(crate) fn room(limits: &Limits, input: u64) -> u64 {
    most_at_once(limits).saturating_sub(FRAME).min((1 << 20) + input * PACK_FACTOR)
}

/// The most bytes that one compilation is given, and the most of one pack: half of all, and what
/// leaves the compiler enough of its own memory.
fn most_at_once(limits: &Limits) -> u64 {
    (limits.compile_reuse_bytes / 2).min(limits.compile_memory_bytes / 8) as u64
}

/// A pack whose MAC was verified.
pub(crate) struct Pack(Compiled);

impl Pack {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.code()
    }
}

/// The folder of packs.
pub(crate) struct FunctionCache {
    packs: CodeCache,
    /// The most bytes that one compilation is given; 0 if nothing is kept.
    most_given: u64,
}

impl FunctionCache {
    /// The cache in `data_dir`.
    ///
    /// # Errors
    /// As [`CodeCache::open`].
    pub(crate) fn open(data_dir: &Path, limits: &Limits) -> io::Result<Self> {
        let (most, most_given) = (limits.compile_reuse_bytes as u64, most_at_once(limits));
        let packs = CodeCache::open_in(data_dir, FOLDER, most, most_given)?;
        Ok(Self { packs, most_given })
    }

    /// The packs of this series, that which was used last first.
    pub(crate) fn names(&self, series: &Series) -> Vec<String> {
        if self.most_given == 0 {
            return Vec::new();
        }
        let names = self.packs.names().into_iter().filter(|name| series.has(name));
        names.take(PACKS).collect()
    }

    /// A pack, and its file. `None` if anything about it is in doubt, or if it is too much beside
    /// the bytes that were given already.
    pub(crate) fn read(&self, name: &str, given: u64) -> Option<(File, Pack)> {
        let (file, pack) = self.packs.peek(name)?;
        let bytes = pack.code().len() as u64;
        (bytes > 0 && given + bytes <= self.most_given).then_some((file, Pack(pack)))
    }

    /// Notes which packs were used, and keeps that of what is new.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(
        &self,
        series: &Series,
        given: &[File],
        reuse: &Reuse,
        new: &[u8],
    ) -> io::Result<()> {
        let reused: u64 = reuse.reused.iter().sum();
        metrics::counter!("kenning_functions_reused_total").increment(reused);
        metrics::counter!("kenning_functions_compiled_total").increment(reuse.compiled);
        let mut used: Vec<_> = reuse.reused.iter().zip(given).filter(|(n, _)| **n > 0).collect();
        // That of which most was used is the last to be deleted.
        used.sort_by_key(|(reused, _)| **reused);
        used.iter().for_each(|(_, file)| touch(file));
        if new.is_empty() {
            return Ok(());
        }
        // Not the name of one that was given, of the same component.
        let name = format!("{}-{}", series.new, given.len());
        let mut bytes = CodeCache::begin(&name);
        // In the place of the outline.
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(new);
        match self.packs.seal(bytes, &name) {
            Some(pack) => self.packs.write(&name, &pack),
            None => Err(io::Error::other("a pack is incomplete")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PACK: &[u8] = b"functions";

    struct Fixture {
        directory: tempfile::TempDir,
        cache: FunctionCache,
    }

    fn open(directory: &Path, most: usize) -> FunctionCache {
        let limits = Limits { compile_reuse_bytes: most, ..Limits::default() };
        FunctionCache::open(directory, &limits).unwrap()
    }

    fn series(tenant: &str, digest: &str, bytes: u64) -> Series {
        Series::new("f", &TenantId::parse(tenant).unwrap(), digest, bytes)
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let cache = open(directory.path(), 1 << 20);
            Self { directory, cache }
        }

        fn keep(&self, series: &Series) {
            self.cache.keep(series, &[], &Reuse::default(), PACK).unwrap();
        }

        fn files(&self) -> Vec<std::path::PathBuf> {
            let files = fs::read_dir(self.directory.path().join(FOLDER)).unwrap();
            files.map(|file| file.unwrap().path()).collect()
        }
    }

    #[test]
    fn a_compilation_is_given_what_its_tenant_has_of_components_of_about_its_size() {
        let fixture = Fixture::new();
        fixture.keep(&series("a", "first", 1_000));
        let cache = open(fixture.directory.path(), 1 << 20);
        for (tenant, bytes, found) in
            [("a", 1_001, 1), ("a", 2_000, 1), ("a", 500, 1), ("a", 5_000, 0), ("b", 1_000, 0)]
        {
            let names = cache.names(&series(tenant, "second", bytes));
            assert_eq!(names.len(), found, "{tenant} with {bytes} bytes: {names:?}");
            for name in names {
                assert_eq!(cache.read(&name, 0).unwrap().1.bytes(), PACK);
                assert!(cache.read(&name, 1 << 19).is_none(), "too much beside others");
            }
        }
        let other = Series::new("g", &TenantId::parse("a").unwrap(), "first", 1_000);
        assert!(cache.names(&other).is_empty(), "another compiler's");
    }

    #[test]
    fn a_pack_that_was_altered_or_renamed_is_not_given() {
        let fixture = Fixture::new();
        let (mine, theirs) = (series("a", "first", 1_000), series("b", "first", 1_000));
        fixture.keep(&mine);
        let file = fixture.files().remove(0);
        let whole = fs::read(&file).unwrap();
        let name = fixture.cache.names(&mine).remove(0);
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            fs::write(&file, altered).unwrap();
            assert!(fixture.cache.read(&name, 0).is_none(), "byte {at}");
        }
        fs::write(&file, &whole).unwrap();
        assert!(fixture.cache.read(&name, 0).is_some());
        let stem = format!("{}-0.cwasm", theirs.new);
        fs::rename(&file, file.with_file_name(stem)).unwrap();
        let name = fixture.cache.names(&theirs).remove(0);
        assert!(fixture.cache.read(&name, 0).is_none(), "another tenant's");
    }

    #[test]
    fn packs_that_are_used_stay_and_others_go() {
        let fixture = Fixture::new();
        let [first, second, third] =
            ["first", "second", "third"].map(|digest| series("a", digest, 1_000));
        fixture.keep(&first);
        fixture.keep(&second);
        let names = fixture.cache.names(&third);
        let given: Vec<File> =
            names.iter().map(|name| fixture.cache.read(name, 0).unwrap().0).collect();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
        given.iter().for_each(|file| file.set_modified(long_ago).unwrap());
        let used = names.iter().map(|name| u64::from(name.starts_with(&first.new))).collect();
        let reuse = Reuse { reused: used, ..Reuse::default() };
        let size: u64 = fixture.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        let cache = open(fixture.directory.path(), size as usize + 8);
        cache.keep(&third, &given, &reuse, PACK).unwrap();
        let names = cache.names(&third);
        assert!(names.iter().any(|name| name.starts_with(&first.new)), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with(&second.new)), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with(&third.new)), "{names:?}");
    }

    #[test]
    fn nothing_is_kept_where_the_operator_says_so() {
        let fixture = Fixture::new();
        fixture.keep(&series("a", "first", 1_000));
        let limits = Limits { compile_reuse_bytes: 0, ..Limits::default() };
        let cache = FunctionCache::open(fixture.directory.path(), &limits).unwrap();
        assert!(cache.names(&series("a", "second", 1_000)).is_empty());
        assert!(fixture.files().is_empty(), "what was kept before is deleted");
        assert_eq!(room(&limits, 1_000), 0);
    }
}
