//! From an address to a storage.

use std::path::Path;
use std::sync::Arc;

use crate::embedded::Embedded;
use crate::redis::Redis;
use crate::{Layout, OpenError, Storage, StorageLimits};

/// What `--storage` may be, for error messages.
const SERVED: &str = "embedded:DIR or redis://[user:pass@]host:port[/db]";

/// Opens the storage that `url` names.
///
/// `embedded:DIR` opens or creates `DIR/facts.redb` and fails if another process holds it.
/// `redis://…` never fails because Redis is down: connections are made when they are needed, and
/// each operation says for itself whether it reached Redis. It speaks RESP3 (Redis 6 and later)
/// so as to learn at once of a closed connection; a `?protocol=resp2` at the end asks for less.
///
/// [`Layout::Flat`] is for Redis only. `rediss://` and `redis+cluster://` are not served yet.
pub async fn open(
    url: &str,
    layout: Layout,
    limits: StorageLimits,
) -> Result<Arc<dyn Storage>, OpenError> {
    let refuse = |message: String| Err(OpenError::Address(message));
    if let Some(dir) = url.strip_prefix("embedded:") {
        if layout == Layout::Flat {
            return refuse("the flat layout is for Redis; embedded storage has none".into());
        }
        if dir.is_empty() {
            return refuse("embedded: needs a directory, as in embedded:/var/lib/kenning".into());
        }
        return Ok(Arc::new(Embedded::open(Path::new(dir), limits).await?));
    }
    if url.starts_with("redis://") {
        return Ok(Arc::new(Redis::open(url, layout, limits)?));
    }
    if url.starts_with("rediss://") {
        return refuse("this build does not serve rediss:// (Redis over TLS) yet".into());
    }
    if url.starts_with("redis+cluster://") {
        return refuse("this build does not serve redis+cluster:// (Redis Cluster) yet".into());
    }
    refuse(format!("the storage is {SERVED}; this address is neither"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, layout: Layout) -> String {
        match open(url, layout, StorageLimits::default()).await {
            Ok(_) => panic!("{url} was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn what_is_not_served_is_said() {
        for (url, word) in [
            ("rediss://h:1", "rediss"),
            ("redis+cluster://h:1", "redis+cluster"),
            ("sqlite:x", "embedded:DIR"),
            ("", "embedded:DIR"),
            ("embedded:", "directory"),
        ] {
            let message = refusal(url, Layout::Tenant).await;
            assert!(message.contains(word), "{url}: {message}");
        }
        assert!(refusal("embedded:x", Layout::Flat).await.contains("flat"));
    }

    #[tokio::test]
    async fn a_refusal_holds_no_credential() {
        for url in ["redis://u:hunter2@h:port", "rediss://u:hunter2@h", "postgres://u:hunter2@h"] {
            let message = refusal(url, Layout::Tenant).await;
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
