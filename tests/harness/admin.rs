//! What an operator does: guests in and out.

use anyhow::{Context, Result};
use reqwest::Method;

use crate::{Answer, Caller, send};

/// Nothing: the kind of section that tools put notes into.
const CUSTOM_SECTION: u8 = 0;

/// The same component with a note at its end, so that it has another digest.
pub fn noted(component: &[u8], note: &str) -> Vec<u8> {
    let name = b"note";
    let mut section = vec![name.len() as u8];
    section.extend_from_slice(name);
    section.extend_from_slice(note.as_bytes());
    assert!(section.len() < 128, "a length of one byte");
    let mut noted = component.to_vec();
    noted.extend_from_slice(&[CUSTOM_SECTION, section.len() as u8]);
    noted.extend(section);
    noted
}

/// `component` with `instances` more instances of a module that defines `items`.
pub fn with_parts(component: &[u8], items: &str, instances: usize) -> Result<Vec<u8>> {
    let text = wasmprinter::print_bytes(component)?;
    let text = text.trim_end().strip_suffix(')').context("a component ends with a parenthesis")?;
    let more = "(core instance (instantiate $more))".repeat(instances);
    Ok(wat::parse_str(format!("{text} (core module $more {items}) {more})"))?)
}

impl Caller {
    /// Installs an extension, with `parameters` such as `?order=1`.
    pub async fn install(
        &self,
        tenant: &str,
        name: &str,
        component: Vec<u8>,
        parameters: &str,
    ) -> Result<Answer> {
        let path = format!("/v1/admin/tenants/{tenant}/extensions/{name}{parameters}");
        send(self.request(Method::PUT, &path).body(component)).await
    }

    /// Puts a logic in place of the server's, or of a tenant's with `?tenant=`.
    pub async fn swap_logic(&self, component: Vec<u8>, parameters: &str) -> Result<Answer> {
        self.post_raw(&format!("/v1/admin/logic{parameters}"), component).await
    }
}
