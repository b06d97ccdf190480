//! `settings`: what the operator set for the extension that runs.

use kenning_bindings::settings::Host;
use wasmtime::Result;

use super::answer;
use crate::recording::Witness;
use crate::state::State;

impl Host for State {
    async fn get(&mut self) -> Result<String> {
        answer!(self, "settings.get", () => self.settings.as_deref().unwrap_or("{}").to_owned())
    }

    async fn secret(&mut self, name: String) -> Result<Option<String>> {
        if let Some(recorded) = self.enter("settings.secret", &(&name,))? {
            return Ok(recorded);
        }
        let secrets = &self.services.secrets;
        let secret = self.extension.as_deref().and_then(|extension| {
            secrets.of(&self.tenant, extension, &name).map(|secret| secret.reveal().to_owned())
        });
        if let Some(secret) = &secret {
            self.log.blot_out(secret);
        }
        let shown = secret.as_deref().map(|secret| match &mut self.witness {
            Witness::Recorder(recorder) => recorder.secret(&name, secret),
            _ => String::new(),
        });
        self.note_answer(&shown);
        Ok(secret)
    }
}
