//! `settings`: what the operator set for the extension that runs.

use kenning_bindings::settings::Host;
use wasmtime::Result;

use crate::state::State;

impl Host for State {
    async fn get(&mut self) -> Result<String> {
        self.enter()?;
        Ok(self.settings.as_deref().unwrap_or("{}").to_owned())
    }

    async fn secret(&mut self, name: String) -> Result<Option<String>> {
        self.enter()?;
        let secrets = &self.services.secrets;
        let secret = self.extension.as_deref().and_then(|extension| {
            secrets.of(&self.tenant, extension, &name).map(|secret| secret.reveal().to_owned())
        });
        if let Some(secret) = &secret {
            self.log.blot_out(secret);
        }
        Ok(secret)
    }
}
