//! What a storage holds of a fact.
//!
//! - Bytes that are taken for a fact or for a vector are the ones that it is written as; others
//!   are corrupt, and known as such.
//! - A fact of any texts is read as it was written.
//! - A time of another program is a place in the listing, or none.

use kenning_storage::fuzzing::{
    MAX_ORDER, order_of_timestamp, read_hash, read_vector, write_hash, write_values,
};
use kenning_storage::{Hash, StorageError};

use crate::Verdict;

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    let read = read_hash(bytes);
    match &read {
        Ok(hash) => assert_eq!(write_hash(hash).as_deref(), Ok(bytes)),
        Err(error) => assert!(matches!(error, StorageError::Corrupt(_))),
    }
    vector(bytes);
    let text = String::from_utf8_lossy(bytes);
    let texts: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (pairs, _) = texts.as_chunks::<2>();
    let hash: Hash = pairs.iter().map(|[name, value]| (name.clone(), value.clone())).collect();
    let written = write_hash(&hash).expect("no text is that long");
    assert_eq!(read_hash(&written), Ok(hash));
    assert!(texts.iter().filter_map(|text| order_of_timestamp(text)).all(|at| at <= MAX_ORDER));
    Verdict::taken_if(read.is_ok())
}

fn vector(bytes: &[u8]) {
    let (digest, values) = bytes.split_at(bytes.len().min(32));
    match read_vector("profile", digest, values) {
        Ok(vector) => {
            assert_eq!(vector.digest, digest);
            assert_eq!(write_values(&vector.values), values);
        }
        Err(error) => {
            assert!(digest.len() < 32 || values.len() % 4 != 0, "{error}");
            assert!(matches!(error, StorageError::Corrupt(_)));
        }
    }
}
