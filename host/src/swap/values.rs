//! What an operator sets for an extension, `kenning:settings`: checked by the component's own
//! schema, and kept with each generation. A change is a new generation of the same component,
//! proven like any other. Beside it, the schema of an extension's options in requests.

use std::sync::Arc;

use bytes::Bytes;
use kenning_storage::TenantId;
use serde_json::{Map, Value};

use super::report::Report;
use super::rollback::installed;
use super::{ExtensionTarget, Proposal, Swapper, verify};
use crate::registry::{Extension, ExtensionRecord, Owner};
use kenning_core::error::Error;
use kenning_core::json_schema::{self, OptionsSchema};
use kenning_runtime::LoadError;

/// The maximum size of an extension's settings, as JSON.
const SETTINGS_BYTES: usize = 16 * 1024;

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
                if let Err(message) = json_schema::check(&schema, &values) {
                    return Err(verify::refuse("settings", message, report));
                }
                "valid by the component's schema".to_owned()
            }
        };
        report.pass("settings", detail);
        Ok(())
    }

    /// Checks that the schema of the candidate's options can be used, if it exports one.
    pub(super) async fn check_options_schema(
        &self,
        tenant: &TenantId,
        candidate: &Arc<Extension>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let (extension, time) = (candidate.clone(), self.limits().call);
        let schema = self.kb().dry_run(tenant.clone(), time, move |mut session| async move {
            session.options_schema(extension.hooks()).await
        });
        let schema = match schema.await? {
            None => None,
            Some(Err(error)) => {
                let message = format!("its schema cannot be read: {:?}", error.cause);
                return Err(verify::refuse("options", message, report));
            }
            Some(Ok(text)) => match OptionsSchema::read(&text) {
                Ok(schema) => Some(schema),
                Err(message) => return Err(verify::refuse("options", message, report)),
            },
        };
        if schema.is_some() {
            report.pass("options", "options in requests are checked by the component's schema");
        }
        // What it says does not change, so no request need ask it again.
        let _ = candidate.options.set(schema);
        Ok(())
    }
}
