//! The server's own account of where its time went.

use anyhow::Result;
use kenning_tests::Caller;

/// A histogram's sum in seconds and how many it is of.
#[derive(Clone, Copy, Default)]
pub(crate) struct Total {
    pub(crate) seconds: f64,
    pub(crate) count: f64,
}

impl Total {
    /// The mean, in microseconds, of what came after `before`.
    pub(crate) fn mean_since(self, before: Self) -> f64 {
        (self.seconds - before.seconds) / (self.count - before.count) * 1e6
    }
}

/// The times of one verb: in HTTP's handler, in the guest, and in what the guest imports.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) handler: Total,
    pub(crate) guest: Total,
    pub(crate) imports: Total,
}

/// What the server has counted so far.
pub(crate) async fn account(server: &Caller, route: &str, operation: &str) -> Result<Account> {
    let text = server.get("/metrics").await?.text;
    Ok(Account {
        handler: total(&text, "kenning_http_seconds", route),
        guest: total(&text, "kenning_guest_seconds", operation),
        imports: total(&text, "kenning_import_seconds", operation),
    })
}

fn total(text: &str, name: &str, label: &str) -> Total {
    let label = format!("\"{label}\"}}");
    let value = |what: &str| {
        let start = format!("{name}_{what}{{");
        let mut lines = text.lines().filter(|line| line.starts_with(&start));
        let line = lines.find(|line| line.contains(&label))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    Total { seconds: value("sum").unwrap_or(0.0), count: value("count").unwrap_or(0.0) }
}
