//! Takes personal data out of facts before they are stored: e-mail addresses, bank
//! accounts, payment cards, IP addresses and telephone numbers, in the text and in the
//! metadata's values.

mod digits;
mod kinds;
mod redact;
#[cfg(test)]
mod tests;

use kenning_extension::{Draft, OnStore, Refusal, log};

pub use kinds::Kind;
pub use redact::{Redacted, redact};

/// What is taken out. Where two kinds fit, the earlier one names it.
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
            log::info(format!("took {count} pieces of personal data out of a fact"));
        }
        Ok(vec![draft])
    }
}

kenning_extension::export!(RedactPii: OnStore);
