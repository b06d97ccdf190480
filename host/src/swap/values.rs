//! What an operator sets for an extension, `kenning:settings`: checked by the component's own
//! schema, and kept with each generation. A change is a new generation of the same component,
//! proven like any other.

use std::sync::Arc;

use bytes::Bytes;
use jsonschema::PatternOptions;
use kenning_storage::TenantId;
use serde_json::{Map, Value};

use super::report::Report;
use super::rollback::installed;
use super::{ExtensionTarget, Proposal, Swapper, verify};
use crate::registry::{Extension, ExtensionRecord, Owner};
use kenning_core::error::Error;
use kenning_runtime::LoadError;

/// The maximum size of an extension's settings, as JSON.
const SETTINGS_BYTES: usize = 16 * 1024;

/// The maximum size of a schema.
const SCHEMA_BYTES: usize = 64 * 1024;

/// How many violations a report names.
const VIOLATIONS: usize = 5;

impl ExtensionTarget {
    /// What the extension is to read as its settings; those of `before`, if the target leaves them
    /// as they are.
    pub(super) fn values(
        &self,
        before: &ExtensionRecord,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let Some(values) = &self.values else {
            return Ok(before.guest.active().and_then(|active| active.values.clone()));
        };
        let used = serde_json::to_string(values).map_err(Error::internal)?.len();
        if used > SETTINGS_BYTES {
            let allowed = SETTINGS_BYTES as u64;
            return Err(Error::too_large("extension_settings_bytes", allowed, used as u64));
        }
        Ok(Some(values.clone()).filter(|values| !values.is_empty()))
    }
}

impl Swapper {
    /// Sets what an installed extension reads as its settings: a new generation of its component,
    /// which is checked and proven, and promoted if it is no worse.
    ///
    /// # Errors
    /// When it is not installed, and as [`Self::promote_extension`].
    pub async fn configure_extension(
        &self,
        tenant: &TenantId,
        name: &str,
        values: Map<String, Value>,
        proposal: impl FnOnce(Bytes) -> Proposal,
    ) -> Result<Report, Error> {
        let archive = &self.registry().archive;
        let mut records = self.storage(archive.extensions(tenant).await)?.value;
        let record = installed(&mut records, name)?;
        let Some(active) = record.guest.active() else {
            return Err(super::no_such_extension(name));
        };
        let owner = Owner::Tenant(tenant.clone());
        let bytes = self.storage(archive.component(&owner, &active.digest).await)?;
        let bytes = bytes.ok_or_else(|| LoadError::Missing(active.digest.clone()));
        let target = ExtensionTarget {
            tenant: tenant.clone(),
            name: name.to_owned(),
            order: None,
            policy: None,
            grants: active.grants.clone(),
            values: Some(values),
        };
        self.promote_extension(target, proposal(self.load(bytes)?.into())).await
    }

    /// Checks the settings by the candidate's own schema, if it exports one.
    pub(super) async fn check_values(
        &self,
        tenant: &TenantId,
        candidate: &Arc<Extension>,
        values: Option<&Map<String, Value>>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let (extension, time) = (candidate.clone(), self.limits().call);
        let schema = self.kb().dry_run(tenant.clone(), time, move |mut session| async move {
            session.settings_schema(extension.hooks()).await
        });
        let detail = match schema.await? {
            None if values.is_none() => return Ok(()),
            None => "taken as they are: the component exports no schema".to_owned(),
            Some(Err(error)) => {
                let message = format!("its schema cannot be read: {:?}", error.cause);
                return Err(verify::refuse("settings", message, report));
            }
            Some(Ok(schema)) => {
                let values = Value::Object(values.cloned().unwrap_or_default());
                if let Err(message) = check(&schema, &values) {
                    return Err(verify::refuse("settings", message, report));
                }
                "valid by the component's schema".to_owned()
            }
        };
        report.pass("settings", detail);
        Ok(())
    }
}

/// Whether the schema allows the settings; if not, why.
fn check(schema: &str, values: &Value) -> Result<(), String> {
    if schema.len() > SCHEMA_BYTES {
        let used = schema.len();
        return Err(format!("its schema has {used} bytes; {SCHEMA_BYTES} are allowed"));
    }
    let schema: Value =
        serde_json::from_str(schema).map_err(|error| format!("its schema is not JSON: {error}"))?;
    // Patterns come from strangers: by this engine they take linear time.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    let validator = options.build(&schema);
    let validator = validator.map_err(|error| format!("its schema is not valid: {error}"))?;
    let violations = validator.iter_errors(values).map(|error| {
        let place = error.instance_path().to_string();
        format!("{}: {error}", if place.is_empty() { "/" } else { &place })
    });
    let violations: Vec<String> = violations.take(VIOLATIONS).collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(format!("not as its schema asks: {}", violations.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "level": { "type": "integer", "minimum": 1 },
            "name": { "pattern": "^a+$" }
        },
        "required": ["level"],
        "additionalProperties": false
    }"#;

    #[test]
    fn settings_are_checked_and_each_violation_names_its_place() {
        assert_eq!(check(SCHEMA, &json!({ "level": 2, "name": "aa" })), Ok(()));
        let wrong = check(SCHEMA, &json!({ "level": 0, "more": true })).unwrap_err();
        assert!(wrong.contains("/level: 0 is less than"), "{wrong}");
        assert!(wrong.contains("more"), "{wrong}");
        assert!(check(SCHEMA, &json!({})).unwrap_err().contains("level"));
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let refused = |schema: &str| check(schema, &json!({})).unwrap_err();
        assert!(refused("{").contains("not JSON"));
        assert!(refused(r#"{"type": 7}"#).contains("not valid"));
        assert!(refused(r#"{"pattern": "("}"#).contains("not valid"));
        let remote = refused(r#"{"$ref": "https://example.com/schema.json"}"#);
        assert!(remote.contains("not valid"), "nothing is fetched: {remote}");
        assert!(refused(&" ".repeat(SCHEMA_BYTES + 1)).contains("65537 bytes"));
    }

    /// By a backtracking engine this takes longer than anybody waits.
    #[test]
    fn a_pattern_takes_linear_time() {
        let schema = r#"{ "properties": { "a": { "pattern": "^(a+)+$" } } }"#;
        assert!(check(schema, &json!({ "a": "a".repeat(5_000) + "b" })).is_err());
    }
}
