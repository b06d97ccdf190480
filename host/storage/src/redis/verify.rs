//! Verifies what a Redis server holds. Facts have no checksums there, because other programs may
//! write them; what is verified is whether everything can be read, and is where it should be.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::Redis;
use super::keys::{Keys, OF_DOCUMENTS, TENANTS};
use super::pool::Size;
use super::{error, replies, timestamp};
use crate::limits::{BATCH, DOCUMENT_BYTES, PAGE};
use crate::report::{HALF_RESTORED, RESTORING, Report};
use crate::{
    DocumentStorage, FactId, FactStorage, Layout, OpenError, StorageError, StorageLimits, TenantId,
    TenantStorage, TlsFiles,
};

/// Verifies the server at `url`.
pub(crate) async fn verify(url: &str, layout: Layout, tls: &TlsFiles) -> Result<Report, OpenError> {
    let operation = Duration::from_secs(30);
    let limits = StorageLimits { operation, tls: tls.clone(), ..StorageLimits::default() };
    let redis = Redis::open_to_read(url, limits).await?;
    redis.answers().await?;
    let mut report = Report { subject: redis.servers.address().to_owned(), ..Report::default() };
    let mut verifier =
        Verifier { redis: &redis, layout, report: &mut report, facts: 0, vectors: 0 };
    let verified = verifier.run().await;
    verified.map_err(|error| OpenError::Refused(error.to_string()))?;
    Ok(report)
}

struct Verifier<'a> {
    redis: &'a Redis,
    layout: Layout,
    report: &'a mut Report,
    facts: u64,
    vectors: u64,
}

impl Verifier<'_> {
    async fn run(&mut self) -> Result<(), StorageError> {
        let tenants = match self.verify_types(&[(TENANTS.to_owned(), "set")]).await? {
            true => self.redis.tenants(soon()).await?,
            false => {
                self.report.notes.push("no fact could be read, because no tenant is known".into());
                Vec::new()
            }
        };
        for tenant in &tenants {
            self.verify_tenant(tenant).await?;
        }
        let documents = self.verify_documents().await?;
        self.report.records = vec![
            ("tenants", tenants.len() as u64),
            ("facts", self.facts),
            ("vectors", self.vectors),
            ("documents", documents),
        ];
        Ok(())
    }

    /// Reports those of `keys` that have another type; returns whether there are none.
    async fn verify_types(&mut self, keys: &[(String, &str)]) -> Result<bool, StorageError> {
        let found_before = self.report.found;
        let kinds = self.ask("TYPE", keys.iter().map(|(key, _)| key.clone()).collect()).await?;
        for ((key, expected), kind) in keys.iter().zip(kinds) {
            let kind: String = replies::parse(kind)?;
            let fits = match (*expected, kind.as_str()) {
                (_, "none") => true,
                ("number", "string") => self.is_number(key).await?,
                (expected, kind) => expected == kind,
            };
            self.report.check(fits, || error::wrong_type(key, &kind, expected));
        }
        Ok(self.report.found == found_before)
    }

    async fn is_number(&self, key: &str) -> Result<bool, StorageError> {
        let value = replies::one::<Option<Vec<u8>>>(self.ask("GET", vec![key.to_owned()]).await?)?;
        let text = value.as_deref().map(std::str::from_utf8);
        Ok(text.is_none_or(|text| text.is_ok_and(|text| text.parse::<i64>().is_ok())))
    }

    async fn verify_tenant(&mut self, tenant: &TenantId) -> Result<(), StorageError> {
        if !self.verify_types(&self.own_keys(tenant).await?).await? {
            let note = format!("the facts of {tenant} were not read, because of such a key");
            self.report.notes.push(note);
            return Ok(());
        }
        let mut cursor = None;
        loop {
            let page = self.redis.page(tenant, cursor.as_deref(), PAGE, soon()).await?;
            for ids in page.ids.chunks(BATCH) {
                self.verify_facts(tenant, ids).await?;
                self.verify_vectors(tenant, ids).await?;
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// The tenant's keys of fixed names, and those of its spaces.
    async fn own_keys(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(String, &'static str)>, StorageError> {
        let keys = self.keys(tenant);
        let mut own = keys.own();
        // If the set of spaces is none, that is what is found.
        let names = self.redis.names_of_spaces(tenant, soon()).await.unwrap_or_default();
        own.extend(names.iter().flat_map(|name| keys.space(name).own()));
        Ok(own)
    }

    fn keys(&self, tenant: &TenantId) -> Keys {
        match self.redis.servers.is_cluster() {
            true => Keys::of_cluster(tenant),
            false => Keys::new(self.layout, tenant),
        }
    }

    /// The replies to `command` for each of `keys`.
    async fn ask(
        &self,
        command: &str,
        keys: Vec<String>,
    ) -> Result<Vec<redis::Value>, StorageError> {
        let ask = |key: &String| {
            let mut ask = redis::cmd(command);
            ask.arg(key);
            ask
        };
        let commands: Vec<redis::Cmd> = keys.iter().map(ask).collect();
        self.redis.read_with(&commands, Size::Bulk, soon()).await
    }

    async fn verify_facts(
        &mut self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<(), StorageError> {
        let keys = self.keys(tenant);
        let replies = self.ask("HGETALL", ids.iter().map(|id| keys.fact(id)).collect()).await?;
        for (id, reply) in ids.iter().zip(replies) {
            let problem = match replies::parse::<Vec<(Vec<u8>, Vec<u8>)>>(reply) {
                Err(_) => Some("is listed, and its key is not a hash"),
                Ok(fields) if fields.is_empty() => Some("is listed and missing"),
                Ok(fields) => problem(&fields),
            };
            self.facts += 1;
            if let Some(problem) = problem {
                self.report.found(format!("the fact {id} of {tenant} {problem}"));
            }
        }
        Ok(())
    }

    async fn verify_vectors(
        &mut self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<(), StorageError> {
        let keys = self.keys(tenant);
        let replies = self.ask("EXISTS", ids.iter().map(|id| keys.vector(id)).collect()).await?;
        let vectors = crate::VectorStorage::read_vectors(self.redis, tenant, ids, soon()).await?;
        for ((id, exists), vector) in ids.iter().zip(replies).zip(vectors) {
            if replies::parse::<u64>(exists)? == 1 {
                self.vectors += 1;
                self.report.check(vector.is_some(), || {
                    format!("the vector of the fact {id} of {tenant} is damaged; it is made again")
                });
            }
        }
        Ok(())
    }

    async fn verify_documents(&mut self) -> Result<u64, StorageError> {
        if !self.verify_types(&OF_DOCUMENTS.map(|(key, kind)| (key.to_owned(), kind))).await? {
            self.report.notes.push("no document was read, because of such a key".into());
            return Ok(0);
        }
        let documents = self.redis.list_documents("", soon()).await?;
        for (name, version) in &documents {
            let read = self.redis.read_document(name, DOCUMENT_BYTES, soon()).await;
            let is_intact = match &read {
                // Its own key may have another type.
                Err(StorageError::Corrupt(_) | StorageError::Refused(_)) => false,
                Err(error) => return Err(error.clone()),
                Ok(document) => document.as_ref().is_some_and(|read| read.version >= *version),
            };
            self.report.check(is_intact, || format!("the document {name} is damaged or missing"));
            self.report.check(name.as_str() != RESTORING, || HALF_RESTORED.into());
        }
        Ok(documents.len() as u64)
    }
}

/// What is wrong with a fact's fields.
fn problem(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<&'static str> {
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    };
    let Some(content) = field("content") else { return Some("has no field `content`") };
    if std::str::from_utf8(content).is_err() {
        return Some("has a `content` that is not UTF-8");
    }
    let metadata = field("metadata").map(serde_json::from_slice::<Json>);
    if metadata.is_some_and(|parsed| !parsed.is_ok_and(|value| value.is_object())) {
        return Some("has `metadata` that is not a JSON object");
    }
    let written = field("timestamp").map(|text| std::str::from_utf8(text).unwrap_or_default());
    if written.is_some_and(|text| timestamp::order(text).is_none()) {
        return Some("has a `timestamp` that is not a time");
    }
    None
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
