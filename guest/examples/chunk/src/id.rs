//! Deterministic ids for the parts, so that the same draft always gets the same ids.

use kenning_extension::Refusal;

/// Maximum length of an id, from the contract.
const ID_BYTES: usize = 128;

/// The id of part `number`. The first part keeps the id of the draft.
pub(crate) fn of_part(first: &str, number: usize) -> Result<String, Refusal> {
    let id = match number {
        1 => first.to_string(),
        _ => format!("{first}.{number}"),
    };
    if id.len() > ID_BYTES {
        return Err(Refusal::new(format!(
            "the id of part {number} would have {} bytes, but at most {ID_BYTES} are allowed; \
             choose a shorter id",
            id.len()
        )));
    }
    Ok(id)
}

/// An id for a draft without one, derived from its text.
pub(crate) fn of_text(text: &str) -> String {
    // FNV-1a with 128 bits: stable everywhere, and collisions are very unlikely.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mixed = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    format!("text-{:032x}", text.bytes().fold(OFFSET, mixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_published_fnv_hash() {
        assert_eq!(of_text(""), "text-6c62272e07bb014262b821756295c58d");
        assert_eq!(of_text("a"), "text-d228cb696f1a8caf78912b704e4a8964");
    }

    #[test]
    fn an_id_of_the_maximum_length_is_accepted_and_a_longer_one_rejected() {
        let first = "a".repeat(126);
        assert_eq!(of_part(&first, 2).unwrap().len(), 128);
        assert!(of_part(&first, 10).is_err());
    }
}
