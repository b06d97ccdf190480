//! The encoding of a vector's values, the same in every backend: consecutive little-endian `f32`.

use crate::{StorageError, Vector};

/// Encodes a vector's values.
pub(crate) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Decodes a vector from its stored parts.
pub(crate) fn vector(profile: &str, digest: &[u8], values: &[u8]) -> Result<Vector, StorageError> {
    let corrupt = |what: &str| StorageError::Corrupt(format!("a vector {what}"));
    let digest = digest.try_into().map_err(|_| corrupt("whose digest is not 32 bytes long"))?;
    let (numbers, rest) = values.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(corrupt("that ends within a value"));
    }
    let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Vector { profile: profile.to_owned(), digest, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_values_decode_to_themselves() {
        let values = vec![0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, -1.5];
        let read = vector("p", &[7; 32], &to_bytes(&values)).unwrap();
        assert_eq!(read, Vector { profile: "p".into(), digest: [7; 32], values });
    }

    #[test]
    fn a_vector_of_the_wrong_length_is_corrupt() {
        assert!(matches!(vector("p", &[7; 31], &[0; 4]), Err(StorageError::Corrupt(_))));
        assert!(matches!(vector("p", &[7; 32], &[0; 5]), Err(StorageError::Corrupt(_))));
    }
}
