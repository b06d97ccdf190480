//! `GET /` and `GET /console/{file}`: the console, a page that uses the public API alone.
//!
//! Its files are part of the binary. They need no key: whoever opens the page gives it one, and the
//! page keeps that in memory. What the page may load and whom it may ask is in its policy.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::admin::Path;
use super::answer::Refusal;
use kenning_core::error::{Code, Error};

/// Only this server's own scripts, styles and answers; nobody may frame the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The file that `/` is.
const PAGE: &str = "index.html";

/// One file of the page.
struct File {
    name: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(File::new($name, include_bytes!(concat!("../../console/", $name)))),*]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files![
        "index.html",
        "style.css",
        "parts.css",
        "pages.css",
        "api.mjs",
        "audit.mjs",
        "charts.mjs",
        "deletion.mjs",
        "dom.mjs",
        "editor.mjs",
        "extensions.mjs",
        "facets.mjs",
        "facts.mjs",
        "failures.mjs",
        "feedback.mjs",
        "format.mjs",
        "guest.mjs",
        "hits.mjs",
        "importing.mjs",
        "install.mjs",
        "logic.mjs",
        "logs.mjs",
        "main.mjs",
        "metrics.mjs",
        "router.mjs",
        "search.mjs",
        "server.mjs",
        "settings.mjs",
        "tenants.mjs",
        "virtual.mjs",
    ]
    .into()
});

/// The page itself.
pub(super) async fn page(headers: HeaderMap) -> Result<Response, Refusal> {
    answer(PAGE, &headers)
}

/// A file that the page loads.
pub(super) async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    answer(&name, &headers)
}

fn answer(name: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let file = FILES.iter().find(|file| file.name == name).ok_or_else(|| {
        Error::new(Code::NotFound, "the console has no such file; the page itself is at /")
    })?;
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.content_type())),
        (header::ETAG, file.etag.clone()),
        // Asked again each time, so that a page never mixes the files of two versions.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    Ok(match file.is_known(headers) {
        true => (StatusCode::NOT_MODIFIED, fields).into_response(),
        false => (fields, file.bytes).into_response(),
    })
}

impl File {
    fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        let etag = format!("\"{:x}\"", Sha256::digest(bytes));
        let etag = HeaderValue::from_str(&etag);
        Self { name, bytes, etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")) }
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        }
    }

    /// Whether the browser has this very file.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::IF_NONE_MATCH).and_then(|given| given.to_str().ok());
        let mut given = given.unwrap_or_default().split(',').map(str::trim);
        given.any(|etag| etag.trim_start_matches("W/").as_bytes() == self.etag.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Most bytes of all files together.
    const BYTES: usize = 300_000;

    /// Most lines of a module.
    const LINES: usize = 500;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.bytes).unwrap()
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let there = fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> =
            there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(FILES.iter().map(|file| file.name.to_owned()).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn the_page_is_small_and_so_is_each_module() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < BYTES, "{bytes} bytes");
        for file in FILES.iter().filter(|file| file.name.ends_with(".mjs")) {
            assert!(text(file).lines().count() < LINES, "{}", file.name);
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() {
        let refused = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "https://",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "indexedDB",
        ];
        for file in FILES.iter() {
            for word in refused {
                assert!(!text(file).contains(word), "{} has {word}", file.name);
            }
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        let page = text(FILES.iter().find(|file| file.name == PAGE).unwrap());
        assert!(!page.contains("<style") && !page.contains("style="));
        let listens = |word: &str| word.starts_with("on") && word.contains('=');
        assert!(!page.split_whitespace().any(listens));
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/console/"), "{script}");
            assert!(script.contains("></script>"), "{script}");
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let status = |etag: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, etag.parse().unwrap());
            answer("api.mjs", &headers).ok().unwrap().status().as_u16()
        };
        let file = FILES.iter().find(|file| file.name == "api.mjs").unwrap();
        let etag = file.etag.to_str().unwrap();
        assert_eq!(status(etag), 304);
        assert_eq!(status(&format!("\"other\", W/{etag}")), 304);
        assert_eq!(status("\"other\""), 200);
    }
}
