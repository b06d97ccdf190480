//! Redacts personal data in facts before they are stored: e-mail addresses, bank accounts,
//! payment cards, IP addresses and telephone numbers, in the text and in the values of the
//! metadata.

mod digits;
mod kinds;
mod redact;
#[cfg(test)]
mod tests;

use kenning_extension::{Draft, OnStore, Refusal, log};

pub use kinds::Kind;
pub use redact::{Redacted, redact};

/// The kinds to redact. Where two kinds match, the earlier one is used.
pub const KINDS: &[Kind] = &[Kind::Email, Kind::Iban, Kind::Card, Kind::Ip, Kind::Phone];

/// The extension.
pub struct RedactPii;

impl OnStore for RedactPii {
    fn on_store(mut draft: Draft) -> Result<Vec<Draft>, Refusal> {
        let mut count = 0;
        let mut cleaned = |text: &str| {
            let redacted = redact(text, KINDS);
            count += redacted.count;
            (redacted.count > 0).then_some(redacted.text)
        };
        if let Some(text) = cleaned(&draft.text) {
            draft.text = text;
        }
        draft.metadata.map_texts(cleaned);
        if count > 0 {
            log::info(format!("redacted {count} items of personal data in a fact"));
        }
        Ok(vec![draft])
    }
}

kenning_extension::export!(RedactPii: OnStore);
