//! What a request says to single extensions is checked before any of them runs.

use std::sync::Arc;

use kenning_core::error::Error;
use kenning_core::json_schema::{OptionsSchema, Violation};
use serde_json::Value;

use super::options::Options;
use crate::kb::errors::quarantine_error;
use crate::kb::pipeline::Pipeline;
use crate::registry::Extension;

impl Pipeline {
    /// Refuses options for an extension that the tenant does not have, which would have no effect,
    /// and those that the extension's own schema does not allow.
    pub(super) async fn check_extension_options(&mut self, options: &Options) -> Result<(), Error> {
        for (name, text) in options.extensions.iter() {
            let place =
                format!("/extension_options/{}", name.replace('~', "~0").replace('/', "~1"));
            let Some(extension) = self.snapshot.named(name) else {
                let message = format!("the tenant has no extension {name:?}");
                return Err(Error::invalid(&place, message));
            };
            if let Some(schema) = self.options_schema(&extension).await? {
                check(schema, name, &place, text)?;
            }
        }
        Ok(())
    }

    /// The schema of the extension's options, which a host reads once for each generation. One in
    /// quarantine does not run, so its options reach nobody.
    async fn options_schema<'a>(
        &mut self,
        extension: &'a Arc<Extension>,
    ) -> Result<Option<&'a OptionsSchema>, Error> {
        if extension.options.get().is_none() && quarantine_error(&extension.guest).is_none() {
            let schema = match self.session.options_schema(extension.hooks()).await {
                None => None,
                Some(Err(error)) => return Err(self.errors.guest_error(&error, false)),
                // It could be used when the generation was promoted.
                Some(Ok(text)) => Some(OptionsSchema::read(&text).map_err(Error::internal)?),
            };
            return Ok(extension.options.get_or_init(|| schema).as_ref());
        }
        Ok(extension.options.get().and_then(Option::as_ref))
    }
}

/// Whether `schema` allows these options of the extension `name`, which are at `place`.
fn check(schema: &OptionsSchema, name: &str, place: &str, text: &str) -> Result<(), Error> {
    let options: Value = serde_json::from_str(text)
        .map_err(|error| Error::invalid(place, format!("the options cannot be read: {error}")))?;
    schema.check(&options).map_err(|violation| match violation {
        Violation::TooMany { allowed, used } => {
            Error::too_large("extension_option_values", allowed, used)
        }
        Violation::At { pointer, message } => Error::invalid(
            &format!("{place}{pointer}"),
            format!("not as the schema of the extension {name} asks: {message}"),
        ),
    })
}
