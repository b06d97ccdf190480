//! Verifies a file, which is opened without being changed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use kenning_backup::TORN;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableHandle, Value,
};

use super::migration::{self, CURRENT, Format};
use super::opening::is_damage;
use super::tables::{
    CHANGES, Counters, DOCUMENTS, DOCUMENTS_REVISION, EXPIRY, FACTS, ORDER, PENDING, SPACES, STATE,
    TENANTS, VECTORS, change_sum, counters_sum, document_sum, documents_revision_sum, expiry_sum,
    intact_fact, order_sum, pending_sum, space_sum, state_sum, table, vector_sum,
};
use super::{codec, overlay, quiet};
use crate::report::{HALF_RESTORED, RESTORING, Report};
use crate::{DocumentName, FactId, OpenError, TenantId, vector_bytes};

/// Verifies `dir/facts.redb`.
pub(crate) async fn verify(dir: &Path) -> Result<Report, OpenError> {
    let path = dir.join("facts.redb");
    let failed = |reason: &str| OpenError::File { path: path.clone(), reason: reason.into() };
    let file = path.clone();
    tokio::task::spawn_blocking(move || verify_file(file))
        .await
        .map_err(|_| failed("it could not be read to the end"))?
}

fn verify_file(path: PathBuf) -> Result<Report, OpenError> {
    let mut report = Report { subject: path.display().to_string(), ..Report::default() };
    let pages = Step::of(|| {
        let mut database = overlay::open(&path)?;
        let format = migration::format(&database)?;
        Ok((format, database.check_integrity()?))
    });
    let format = match pages {
        Step::Done((format, is_intact)) => {
            if !is_intact {
                report.found("the checksums of the file's pages do not match");
                report.notes.push(TORN.into());
            }
            format
        }
        Step::Failed(redb::Error::DatabaseAlreadyOpen) => return Err(OpenError::InUse(path)),
        Step::Failed(error @ redb::Error::Io(_)) if !is_damage(&error) => {
            return Err(OpenError::File { path, reason: error.to_string() });
        }
        Step::Failed(error) => {
            report.found(format!("the file cannot be read as a whole: {error}"));
            report.notes.push(TORN.into());
            Format::Version(CURRENT)
        }
        Step::Panicked => {
            report.found("the file cannot be read as a whole");
            report.notes.push(TORN.into());
            Format::Version(CURRENT)
        }
    };
    verify_format(&path, format, &mut report)?;
    Ok(report)
}

fn verify_format(path: &Path, format: Format, report: &mut Report) -> Result<(), OpenError> {
    match format {
        Format::Version(CURRENT) => {
            report.subject += &format!(", format {CURRENT}");
            let opened = Step::of(|| Ok(overlay::open(path)?));
            match opened {
                Step::Done(database) => verify_records(&database, report),
                _ => report.notes.push("no record could be read".into()),
            }
        }
        Format::Version(newer) => {
            return Err(OpenError::Refused(format!(
                "{} has format {newer}, which a newer Kenning wrote; this one knows formats up to \
                 {CURRENT}",
                path.display()
            )));
        }
        Format::First => report.notes.push(
            "the file has format 1, whose records have no checksums: only its pages were verified; \
             the server migrates it when it starts"
                .into(),
        ),
        Format::Empty if fs::metadata(path).is_ok_and(|file| file.len() == 0) => {
            report.found("the file has 0 bytes, which a database never has");
        }
        Format::Empty => report.notes.push("nothing was ever stored in the file".into()),
    }
    Ok(())
}

/// How reading something ended. Damage can make the library panic.
enum Step<T> {
    Done(T),
    Failed(redb::Error),
    Panicked,
}

impl<T> Step<T> {
    fn of(step: impl FnOnce() -> Result<T, redb::Error>) -> Self {
        match quiet::catch(step) {
            Ok(Ok(value)) => Self::Done(value),
            Ok(Err(error)) => Self::Failed(error),
            Err(_) => Self::Panicked,
        }
    }
}

fn verify_records(database: &Database, report: &mut Report) {
    let Step::Done(tx) = Step::of(|| Ok(database.begin_read()?)) else {
        return report.found("no record can be read");
    };
    let found = verify_facts(&tx, report);
    verify_positions(&tx, report);
    verify_marks(&tx, report);
    verify_vectors(&tx, report);
    verify_counters(&tx, found, report);
    verify_changes(&tx, report);
    verify_state(&tx, report);
    verify_documents(&tx, report);
}

/// Runs `check` on each record of a table and counts them.
fn each<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    (definition, name): (TableDefinition<'_, K, V>, &'static str),
    report: &mut Report,
    mut check: impl for<'a> FnMut(
        &mut Report,
        K::SelfType<'a>,
        V::SelfType<'a>,
    ) -> Result<(), redb::Error>,
) {
    let mut read = 0;
    let done = Step::of(|| {
        let table = table(tx, definition)?;
        // A damaged page may lead back to an earlier one.
        let most = table.len()?;
        for row in table.iter()? {
            let (key, value) = row?;
            read += 1;
            if read > most {
                report.found(format!("there are more {name} than the {most} that were stored"));
                break;
            }
            check(report, key.value(), value.value())?;
        }
        if read < most {
            report.found(format!("of {most} {name} only {read} are there"));
        }
        Ok(())
    });
    report.records.push((name, read));
    match done {
        Step::Done(()) => {}
        Step::Failed(error) => {
            report.found(format!("{name} cannot be read beyond the first {read}: {error}"));
        }
        Step::Panicked => report.found(format!("{name} cannot be read beyond the first {read}")),
    }
}

/// Facts and bytes by tenant.
type Found = HashMap<String, (u64, u64)>;

fn verify_facts(tx: &ReadTransaction, report: &mut Report) -> Found {
    let mut found = Found::new();
    each(tx, (FACTS, "facts"), report, |report, key, row| {
        let (tenant, id) = key;
        let counted = found.entry(tenant.to_owned()).or_default();
        counted.0 += 1;
        counted.1 += codec::decode(row.2).map_or(0, |hash| codec::size(&hash)) as u64;
        match intact_fact(key, row) {
            Err(error) => report.found(error.to_string()),
            Ok((order, _, hash)) => {
                let is_listed = table(tx, ORDER)?.get((tenant, order, id))?.is_some();
                report.check(is_listed, || format!("the fact {id} of {tenant} is not listed"));
                report.check(codec::decode(hash).is_ok() && is_name(tenant, id), || {
                    format!("the fact {id} of {tenant} cannot be decoded")
                });
            }
        }
        Ok(())
    });
    found
}

fn is_name(tenant: &str, id: &str) -> bool {
    TenantId::parse(tenant).is_ok() && FactId::parse(id).is_ok()
}

fn verify_positions(tx: &ReadTransaction, report: &mut Report) {
    each(tx, (ORDER, "positions"), report, |report, key, sum| {
        let (tenant, order, id) = key;
        if order_sum(key) != sum {
            report.found(format!("the position {order} of {id} of {tenant} is damaged"));
        } else {
            let exists = table(tx, FACTS)?.get((tenant, id))?.is_some();
            report.check(exists, || format!("the fact {id} of {tenant} is listed and missing"));
        }
        Ok(())
    });
}

fn verify_marks(tx: &ReadTransaction, report: &mut Report) {
    each(tx, (PENDING, "pending marks"), report, |report, key, (id, sum)| {
        let is_intact = pending_sum(key, id) == sum;
        report.check(is_intact, || format!("a pending mark of {id} of {} is damaged", key.0));
        Ok(())
    });
}

fn verify_vectors(tx: &ReadTransaction, report: &mut Report) {
    each(tx, (VECTORS, "vectors"), report, |report, key, row| {
        let (revision, profile, digest, values, sum) = row;
        let is_intact = vector_sum(key, revision, profile, digest, values) == sum
            && vector_bytes::vector(profile, digest, values).is_ok();
        report.check(is_intact, || {
            format!("the vector of the fact {} of {} is damaged; it is made again", key.1, key.0)
        });
        Ok(())
    });
}

fn verify_counters(tx: &ReadTransaction, mut found: Found, report: &mut Report) {
    each(tx, (TENANTS, "tenants"), report, |report, tenant, (revision, facts, bytes, sum)| {
        let there = found.remove(tenant).unwrap_or_default();
        if counters_sum(tenant, Counters { revision, facts, bytes }) != sum {
            report.found(format!("the counters of {tenant} are damaged"));
        } else {
            report.check((facts, bytes) == there, || {
                format!(
                    "{tenant} should have {facts} facts of {bytes} bytes, and has {} of {}",
                    there.0, there.1
                )
            });
        }
        Ok(())
    });
    for (tenant, (facts, _)) in found {
        report.found(format!("{tenant} has {facts} facts and is not registered"));
    }
}

fn verify_changes(tx: &ReadTransaction, report: &mut Report) {
    // A file that only older versions have opened has no streams.
    if lacks(tx, CHANGES.name()) {
        return;
    }
    each(tx, (CHANGES, "changes"), report, |report, key, row| {
        let (kind, id, of, by, at, sum) = row;
        report.check(change_sum(key, (kind, id, of, by, at)) == sum, || {
            format!("the change {} in the stream of {} is damaged; it becomes a gap", key.1, key.0)
        });
        Ok(())
    });
}

fn lacks(tx: &ReadTransaction, name: &str) -> bool {
    let has = Step::of(|| Ok(tx.list_tables()?.any(|table| table.name() == name)));
    matches!(has, Step::Done(false))
}

fn verify_state(tx: &ReadTransaction, report: &mut Report) {
    // A file that only older versions have written to has none.
    if lacks(tx, SPACES.name()) {
        return;
    }
    let mut found = HashMap::<(String, String), (u64, u64)>::new();
    each(
        tx,
        (STATE, "keys of extensions"),
        report,
        |report, at, (version, expires, value, sum)| {
            let (tenant, extension, key) = at;
            let counted = found.entry((tenant.to_owned(), extension.to_owned())).or_default();
            counted.0 += 1;
            counted.1 += (key.len() + value.len()) as u64;
            report.check(state_sum(at, (version, expires, value)) == sum, || {
                format!("a key in the state of {extension} of {tenant} is damaged")
            });
            Ok(())
        },
    );
    each(tx, (EXPIRY, "times of such keys"), report, |report, at, sum| {
        let is_intact = expiry_sum(at) == sum;
        report
            .check(is_intact, || format!("a time in the state of {} of {} is damaged", at.1, at.0));
        Ok(())
    });
    each(
        tx,
        (SPACES, "extensions' states"),
        report,
        |report, space, (version, keys, bytes, sum)| {
            let (tenant, extension) = space;
            let there =
                found.remove(&(tenant.to_owned(), extension.to_owned())).unwrap_or_default();
            let is_intact =
                space_sum(space, (version, keys, bytes)) == sum && (keys, bytes) == there;
            report.check(is_intact, || {
                format!("the counters of the state of {extension} of {tenant} are damaged")
            });
            Ok(())
        },
    );
    for (tenant, extension) in found.into_keys() {
        report.found(format!("the state of {extension} of {tenant} is not counted"));
    }
}

fn verify_documents(tx: &ReadTransaction, report: &mut Report) {
    each(tx, (DOCUMENTS, "documents"), report, |report, name, (version, bytes, sum)| {
        let is_intact = document_sum(name, version, bytes) == sum;
        report.check(is_intact && DocumentName::parse(name).is_ok(), || {
            format!("the document {name} is damaged")
        });
        report.check(name != RESTORING, || HALF_RESTORED.into());
        Ok(())
    });
    each(tx, (DOCUMENTS_REVISION, "revisions"), report, |report, (), (revision, sum)| {
        let is_intact = documents_revision_sum(revision) == sum;
        report.check(is_intact, || "the revision of the documents is damaged".into());
        Ok(())
    });
}
