//! Directories that do not hold the model are refused with a precise error.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kenning_minilm::{LoadError, MiniLm, Precision};
use safetensors::tensor::{Dtype, TensorView, serialize};
use tempfile::TempDir;

mod support;

/// A directory with the real tokenizer and `weights` as its weights.
fn directory(weights: &[u8]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let tokenizer = support::model_directory().join("tokenizer.json");
    fs::copy(tokenizer, directory.path().join("tokenizer.json")).unwrap();
    fs::write(directory.path().join("model.safetensors"), weights).unwrap();
    directory
}

fn load(directory: &Path) -> LoadError {
    MiniLm::load(directory, Precision::F32).expect_err("the directory is not the model")
}

const WORDS: &str = "embeddings.word_embeddings.weight";

/// The error for weights whose only tensor is `name`.
fn load_tensor(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> LoadError {
    let tensor = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let weights = serialize(HashMap::from([(name, tensor)]), None).unwrap();
    load(directory(&weights).path())
}

#[test]
fn a_missing_tokenizer_is_named() {
    let directory = TempDir::new().unwrap();
    let error = load(directory.path());
    assert!(matches!(&error, LoadError::MissingFile { path } if path.ends_with("tokenizer.json")));
}

#[test]
fn missing_weights_are_named() {
    let directory = directory(&[]);
    fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    let error = load(directory.path());
    let named = |path: &Path| path.ends_with("model.safetensors");
    assert!(matches!(&error, LoadError::MissingFile { path } if named(path)), "{error}");
}

#[test]
fn a_directory_instead_of_the_weights_is_a_read_error() {
    let directory = directory(&[]);
    let path = directory.path().join("model.safetensors");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = load(directory.path());
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
}

#[test]
fn a_broken_tokenizer_is_refused() {
    let directory = directory(&[]);
    for content in ["", "{}", "not json", "[1, 2"] {
        fs::write(directory.path().join("tokenizer.json"), content).unwrap();
        let error = load(directory.path());
        assert!(matches!(error, LoadError::BadTokenizer { .. }), "{content:?}: {error}");
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let directory = directory(&[]);
    let path = directory.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["kenning"] = 30_522.into();
    fs::write(&path, tokenizer.to_string()).unwrap();
    let error = load(directory.path());
    assert!(matches!(error, LoadError::BadTokenizer { .. }), "{error}");
}

#[test]
fn a_tokenizer_without_special_tokens_is_refused() {
    let directory = directory(&[]);
    let path = directory.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    tokenizer["post_processor"] = serde_json::Value::Null;
    fs::write(&path, tokenizer.to_string()).unwrap();
    let error = load(directory.path());
    assert!(matches!(error, LoadError::BadTokenizer { .. }), "{error}");
}

#[test]
fn truncated_weights_are_refused() {
    let whole = fs::read(support::model_directory().join("model.safetensors")).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        let error = load(directory(&whole[..length]).path());
        assert!(matches!(error, LoadError::BadWeights { .. }), "{length}: {error}");
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let error = load_tensor("other", Dtype::F32, &[1], &[0; 4]);
    assert!(matches!(&error, LoadError::MissingTensor { name } if name == WORDS), "{error}");
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    let error = load_tensor(WORDS, Dtype::F32, &[2, 384], &[0; 2 * 384 * 4]);
    let LoadError::WrongShape { name, expected, found } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), expected.as_slice()), (WORDS, [30_522, 384].as_slice()));
    assert_eq!(found, &[2, 384]);
}

#[test]
fn a_tensor_of_another_type_is_refused() {
    let error = load_tensor(WORDS, Dtype::F16, &[30_522, 384], &vec![0; 30_522 * 384 * 2]);
    assert!(matches!(&error, LoadError::WrongType { found, .. } if found == "F16"), "{error}");
}

#[test]
fn a_tensor_that_is_not_finite_is_refused() {
    let mut bytes = vec![0; 30_522 * 384 * 4];
    bytes[1000..1004].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = load_tensor(WORDS, Dtype::F32, &[30_522, 384], &bytes);
    assert!(matches!(&error, LoadError::NotFinite { name } if name == WORDS), "{error}");
}
