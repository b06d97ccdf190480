//! What is kept is read back, and what was altered is missed.

use super::*;

const NAME: &str = "0123-4567";
const CODE: &[u8] = b"machine code";

struct Fixture {
    directory: tempfile::TempDir,
    cache: CodeCache,
}

fn open(directory: &Path, most: u64) -> CodeCache {
    CodeCache::open(directory, most, 1 << 20).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path(), 1 << 20);
        Self { directory, cache }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cache.path(name)
    }

    fn write(&self, name: &str, code: &[u8]) {
        let compiled = compiled(&self.cache, name, code);
        self.cache.write(name, &compiled).unwrap();
    }

    fn is_missed(&self) -> bool {
        self.cache.read(NAME).is_none()
    }
}

fn compiled(cache: &CodeCache, name: &str, code: &[u8]) -> Compiled {
    let mut bytes = CodeCache::begin(name);
    write_output(&Inspection::default(), code, &mut bytes).unwrap();
    cache.seal(bytes, name).unwrap()
}

#[test]
fn what_was_written_is_read_back_also_after_a_restart() {
    let fixture = Fixture::new();
    fixture.write(NAME, CODE);
    for cache in [&fixture.cache, &open(fixture.directory.path(), 1 << 20)] {
        let compiled = cache.read(NAME).unwrap();
        assert_eq!(compiled.code(), CODE);
        assert_eq!(compiled.outline(), Some(Inspection::default()));
    }
    assert!(fixture.cache.read("other").is_none());
}

#[test]
fn a_file_with_any_byte_flipped_is_missed() {
    let fixture = Fixture::new();
    fixture.write(NAME, CODE);
    let whole = fs::read(fixture.file(NAME)).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(fixture.file(NAME), flipped).unwrap();
        assert!(fixture.is_missed(), "byte {at}");
    }
}

#[test]
fn a_truncated_or_extended_file_is_missed() {
    let fixture = Fixture::new();
    fixture.write(NAME, CODE);
    let whole = fs::read(fixture.file(NAME)).unwrap();
    for length in 0..whole.len() {
        fs::write(fixture.file(NAME), &whole[..length]).unwrap();
        assert!(fixture.is_missed(), "{length} bytes");
    }
    fs::write(fixture.file(NAME), [&whole[..], b"x"].concat()).unwrap();
    assert!(fixture.is_missed());
}

#[test]
fn a_file_under_another_name_or_of_another_key_is_missed() {
    let fixture = Fixture::new();
    fixture.write("other", CODE);
    fs::rename(fixture.file("other"), fixture.file(NAME)).unwrap();
    assert!(fixture.is_missed());
    fixture.write(NAME, CODE);
    fs::remove_file(fixture.directory.path().join(KEY_FILE)).unwrap();
    assert!(open(fixture.directory.path(), 1 << 20).read(NAME).is_none());
}

#[test]
fn a_file_that_others_may_change_is_missed() {
    let fixture = Fixture::new();
    for mode in [0o644, 0o660, 0o606] {
        fixture.write(NAME, CODE);
        fs::set_permissions(fixture.file(NAME), Permissions::from_mode(mode)).unwrap();
        assert!(fixture.is_missed(), "{mode:o}");
    }
}

#[test]
fn what_is_no_file_of_this_user_is_missed() {
    let fixture = Fixture::new();
    fixture.write("other", CODE);
    std::os::unix::fs::symlink(fixture.file("other"), fixture.file(NAME)).unwrap();
    assert!(fixture.is_missed(), "a link");
    fs::remove_file(fixture.file(NAME)).unwrap();
    fs::create_dir(fixture.file(NAME)).unwrap();
    assert!(fixture.is_missed(), "a directory");
    fs::remove_dir(fixture.file(NAME)).unwrap();
    fixture.write(NAME, CODE);
    // Only root may give a file away.
    if std::os::unix::fs::chown(fixture.file(NAME), Some(65_534), None).is_ok() {
        assert!(fixture.is_missed(), "another user's");
    }
}

#[test]
fn a_folder_behind_a_link_keeps_its_mode() {
    let (data_dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), data_dir.path().join(FOLDER)).unwrap();
    open(data_dir.path(), 1);
    assert_eq!(fs::metadata(elsewhere.path()).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_key_that_others_could_read_or_that_is_damaged_is_replaced() {
    let fixture = Fixture::new();
    let key = fixture.directory.path().join(KEY_FILE);
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    assert!(!key.starts_with(&fixture.cache.folder), "the key is beside the folder");
    let before = fs::read(&key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    open(fixture.directory.path(), 1);
    let after = fs::read(&key).unwrap();
    assert_ne!(before, after);
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    fs::write(&key, b"short").unwrap();
    open(fixture.directory.path(), 1);
    assert_eq!(fs::read(&key).unwrap().len(), KEY_BYTES);
}

#[test]
fn the_files_that_were_not_used_for_longest_go_first() {
    let fixture = Fixture::new();
    let long_ago = SystemTime::now() - std::time::Duration::from_secs(3_600);
    for name in ["a", "b", "c"] {
        fixture.write(name, CODE);
        File::open(fixture.file(name)).unwrap().set_modified(long_ago).unwrap();
    }
    assert!(fixture.cache.read("a").is_some(), "used now");
    let of_one = fs::metadata(fixture.file("a")).unwrap().len();
    let cache = open(fixture.directory.path(), 2 * of_one);
    cache.write("d", &compiled(&cache, "d", CODE)).unwrap();
    let kept = ["a", "b", "c", "d"].map(|name| cache.read(name).is_some());
    assert_eq!(kept, [true, false, false, true]);
    // What is larger than the whole cache is not kept.
    cache.write("e", &compiled(&cache, "e", &[0; 1_000])).unwrap();
    assert!(cache.read("e").is_none() && cache.read("d").is_some());
}

#[test]
fn files_of_interrupted_writes_are_deleted_at_a_start() {
    let fixture = Fixture::new();
    fixture.write(NAME, CODE);
    let temporary = fixture.cache.folder.join(".tmpAbCdEf");
    let outline = fixture.file(NAME).with_extension(OUTLINE_OF_0_1);
    for path in [&temporary, &outline] {
        fs::write(path, b"{}").unwrap();
    }
    let cache = open(fixture.directory.path(), 1 << 20);
    assert!(!temporary.exists() && !outline.exists());
    assert!(cache.read(NAME).is_some());
}
