//! Secrets of the environment. `NAME` holds one, or `NAME_FILE` names a file that does, as service
//! managers and orchestrators pass them.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The variables whose values are secrets, or may contain a password.
pub const SECRETS: [&str; 5] = [
    "KENNING_ADMIN_KEY",
    "KENNING_EMBEDDING_KEY",
    "KENNING_KEY",
    "KENNING_OTLP_HEADERS",
    "KENNING_STORAGE",
];

/// The most bytes of a file that holds a secret: more is another file than was meant.
const LONGEST: u64 = 64 * 1024;

/// Why a secret of the environment cannot be used. No message repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable and the file say different things.
    #[error("{0} and {0}_FILE are both set, and differ; unset one of them")]
    Differ(&'static str),
    /// The variable holds other bytes than text.
    #[error("{0} is not UTF-8 text")]
    NotText(&'static str),
    /// The file cannot be read.
    #[error("{0}_FILE: cannot read {path}: {2}", path = .1.display())]
    Unreadable(&'static str, PathBuf, #[source] io::Error),
    /// There is nothing in the file.
    #[error("{0}_FILE: {path} is empty; write the secret into it", path = .1.display())]
    Empty(&'static str, PathBuf),
    /// The file holds other bytes than text.
    #[error("{0}_FILE: {path} is not UTF-8 text", path = .1.display())]
    FileNotText(&'static str, PathBuf),
    /// The file holds more than a secret.
    #[error("{0}_FILE: {path} has more than {LONGEST} bytes", path = .1.display())]
    TooLong(&'static str, PathBuf),
}

/// The secret `name`: the value of the variable, or what is in the file that `name_FILE` names,
/// without the newline at its end. `None` if neither is set; a variable that is set to nothing
/// counts as unset.
///
/// # Errors
/// When both are set and differ, or the file cannot be read, is empty, or holds something else.
pub fn secret(name: &'static str) -> Result<Option<String>, SecretError> {
    let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let given = value(name).map(|value| value.into_string());
    let given = given.transpose().map_err(|_| SecretError::NotText(name))?;
    let Some(path) = value(&format!("{name}_FILE")) else { return Ok(given) };
    let held = read(name, Path::new(&path))?;
    match given {
        Some(given) if given != held => Err(SecretError::Differ(name)),
        _ => Ok(Some(held)),
    }
}

fn read(name: &'static str, path: &Path) -> Result<String, SecretError> {
    let unreadable = |error| SecretError::Unreadable(name, path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(SecretError::TooLong(name, path.to_owned()));
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| SecretError::FileNotText(name, path.to_owned()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretError::Empty(name, path.to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(bytes: &[u8]) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        read("KENNING_KEY", &path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_what_the_file_holds_without_the_newline_at_its_end() {
        for held in ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\n\n"] {
            assert_eq!(read_of(held.as_bytes()).as_deref(), Ok("hunter2"));
        }
        assert_eq!(read_of(b" two words \n").as_deref(), Ok(" two words "));
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_by_the_variables_name() {
        for (held, said) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\xff\xfe", "is not UTF-8 text"),
            (&[b'x'; LONGEST as usize + 1], "more than 65536 bytes"),
        ] {
            let error = read_of(held).unwrap_err();
            assert!(error.starts_with("KENNING_KEY_FILE: "), "{error}");
            assert!(error.contains(said), "{error}");
        }
        assert!(read_of(&[b'x'; LONGEST as usize]).is_ok());
        let error = read("KENNING_KEY", Path::new("/nowhere/key")).unwrap_err().to_string();
        assert!(error.starts_with("KENNING_KEY_FILE: cannot read /nowhere/key: "), "{error}");
        let error = read("KENNING_KEY", Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with("KENNING_KEY_FILE: cannot read /: "), "{error}");
    }
}
