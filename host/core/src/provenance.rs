//! Which guests, in which generations, served a call.

use std::sync::Arc;

/// One generation of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRef {
    /// Counts from 1 for each guest.
    pub number: u64,
    /// `sha256:` and the digest of the component's bytes, in hexadecimal.
    pub digest: Arc<str>,
}

/// The guests that served a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The logic's generation.
    pub logic: GenerationRef,
    /// `name=generation` for each extension that ran, in their order, separated by commas.
    pub extensions: Option<Arc<str>>,
    /// `name=hook` for each hook that failed and was left out, separated by commas.
    pub left_out: Option<Arc<str>>,
}

impl ServedBy {
    /// The guests of this call and of `later`, where one answer is made of several calls: the
    /// logic is that of the later one.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            logic: later.logic,
            extensions: joined(self.extensions, later.extensions),
            left_out: joined(self.left_out, later.left_out),
        }
    }
}

/// The names of both lists, each once.
fn joined(first: Option<Arc<str>>, second: Option<Arc<str>>) -> Option<Arc<str>> {
    let (Some(first), Some(second)) = (&first, &second) else { return first.or(second) };
    let mut names: Vec<&str> = first.split(',').collect();
    let new = second.split(',').filter(|name| !first.split(',').any(|known| known == *name));
    names.extend(new);
    Some(names.join(",").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_several_calls_names_what_ran_in_any_of_them() {
        let of = |number, extensions: &str, left_out: Option<&str>| ServedBy {
            logic: GenerationRef { number, digest: "sha256:0".into() },
            extensions: Some(extensions.into()),
            left_out: left_out.map(Arc::from),
        };
        let both = of(1, "a=1,b=2", Some("a=on-read")).and(of(2, "b=2,c=1", None));
        assert_eq!(both, of(2, "a=1,b=2,c=1", Some("a=on-read")));
    }
}
