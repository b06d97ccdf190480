//! Keeps web pages away from a server that anyone on the machine may use.
//!
//! A page that a browser on this machine shows can send requests here, and its author is not on
//! this machine. Without keys nothing else tells that page from the machine's own programs, so two
//! things must hold. The request's host is loopback or a listed one: a page whose name was pointed
//! at this machine (DNS rebinding) names its own host. And a request that says which page it comes
//! from, with `Origin` or `Sec-Fetch-Site`, comes from this server's own pages or a listed origin.
//!
//! With keys, a page knows no key, and no browser adds one by itself. Then only the list of hosts
//! applies, if there is one.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::origin::{Authority, Origin};
use kenning_core::error::{Code, Error};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Which hosts and origins may use this server.
pub struct OriginPolicy {
    /// Whether the server has no keys.
    pub is_open: bool,
    /// Hosts beside loopback.
    pub hosts: Vec<Authority>,
    /// Origins beside the server's own.
    pub origins: Vec<Origin>,
}

impl OriginPolicy {
    /// Refuses a request to one of `hosts` if the host or the page that it comes from is foreign.
    /// The first of them is the one that the caller named, over `scheme`.
    pub(super) fn check(
        &self,
        head: &Parts,
        hosts: &[Authority],
        scheme: &str,
    ) -> Result<(), Error> {
        if let Some(foreign) = hosts.iter().find(|host| !self.serves(host)) {
            return Err(self.foreign_host(foreign));
        }
        match self.is_open {
            true => self.check_page(head, hosts.first(), scheme),
            false => self.check_preflight(head),
        }
    }

    /// With keys, a page of any origin may send requests; only those of listed origins are told
    /// that they may read the answers.
    fn check_preflight(&self, head: &Parts) -> Result<(), Error> {
        let origin = head.headers.get(header::ORIGIN);
        let is_preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let is_listed = || origin.is_some_and(|origin| is_listed(origin, &self.origins));
        if !is_preflight || is_listed() {
            return Ok(());
        }
        let origin = origin.and_then(|origin| Origin::parse(origin.to_str().ok()?));
        let page = origin.map_or("another site".to_owned(), |origin| origin.to_string());
        let message = format!(
            "pages of {page} may not use this server; list the page's origin in --allowed-origins"
        );
        Err(Error::new(Code::Forbidden, message))
    }

    fn serves(&self, host: &Authority) -> bool {
        let unrestricted = !self.is_open && self.hosts.is_empty();
        unrestricted || host.is_loopback() || self.hosts.iter().any(|one| one.includes(host))
    }

    fn check_page(
        &self,
        head: &Parts,
        host: Option<&Authority>,
        scheme: &str,
    ) -> Result<(), Error> {
        let own = host.map(|host| Origin::new(scheme, host.clone()));
        let mut is_listed = false;
        for value in head.headers.get_all(header::ORIGIN) {
            let origin = value.to_str().ok().and_then(Origin::parse);
            let listed = origin.as_ref().is_some_and(|origin| self.origins.contains(origin));
            if !listed && (origin.is_none() || origin != own) {
                return Err(foreign_page(origin.as_ref()));
            }
            is_listed |= listed;
        }
        if is_of_another_site(&head.headers) && !is_listed && !opens_the_console(head) {
            return Err(foreign_page(None));
        }
        Ok(())
    }

    fn foreign_host(&self, host: &Authority) -> Error {
        let serves = if self.is_open {
            "without keys this server serves loopback hosts only, such as localhost"
        } else {
            "this server serves loopback hosts and those in --allowed-hosts only"
        };
        let message =
            format!("{serves}, and this request is for {host}; list it in --allowed-hosts");
        Error::new(Code::Forbidden, message)
    }
}

/// Whether an `Origin` header names one of `origins`.
pub(super) fn is_listed(origin: &HeaderValue, origins: &[Origin]) -> bool {
    let origin = origin.to_str().ok().and_then(Origin::parse);
    origin.is_some_and(|origin| origins.contains(&origin))
}

fn foreign_page(origin: Option<&Origin>) -> Error {
    let page = origin.map_or("another site".to_owned(), Origin::to_string);
    let message = format!(
        "this request comes from a page of {page}, and without keys this server serves only its \
         own pages; list the page's origin in --allowed-origins, or set KENNING_ADMIN_KEY"
    );
    Error::new(Code::Forbidden, message)
}

/// Whether a browser says that the request comes from another origin. `same-site` is one: another
/// port of this machine is the same site.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites.any(|site| site != "same-origin" && site != "none")
}

/// Whether a browser opens `/` in a tab, which gives no page what it shows.
fn opens_the_console(head: &Parts) -> bool {
    let says = |name, value| head.headers.get(name).is_some_and(|given| given == value);
    head.method == Method::GET
        && head.uri.path() == "/"
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn policy(is_open: bool, hosts: &[&str], origins: &[&str]) -> OriginPolicy {
        OriginPolicy {
            is_open,
            hosts: hosts.iter().map(|host| Authority::parse(host).unwrap()).collect(),
            origins: origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect(),
        }
    }

    fn answer(policy: &OriginPolicy, method: &str, uri: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let hosts = head.headers.get_all("host").iter();
        let hosts: Vec<_> =
            hosts.filter_map(|host| Authority::parse(host.to_str().unwrap())).collect();
        policy.check(&head, &hosts, "http").map_or_else(|error| error.code.status(), |()| 200)
    }

    /// The status for a POST to this host with these headers, on a server without keys.
    fn open(host: &str, fields: &[(&str, &str)]) -> u16 {
        let policy = policy(true, &["kb.internal"], &["https://app.example"]);
        answer(&policy, "POST", "/v1/facts", &[&[("host", host)], fields].concat())
    }

    #[test]
    fn without_keys_only_loopback_and_listed_hosts_are_served() {
        for host in ["localhost:7171", "127.0.0.1", "[::1]:7171", "kb.internal:8080"] {
            assert_eq!(open(host, &[]), 200, "{host}");
        }
        for host in ["attacker.example", "attacker.example:7171", "localhost.attacker.example"] {
            assert_eq!(open(host, &[]), 403, "{host}");
        }
    }

    #[test]
    fn a_foreign_origin_is_refused_and_the_own_and_listed_ones_are_not() {
        let host = "localhost:7171";
        for origin in ["http://localhost:7171", "HTTP://LOCALHOST:7171", "https://app.example:443"]
        {
            assert_eq!(open(host, &[("origin", origin)]), 200, "{origin}");
        }
        for origin in [
            "http://attacker.example",
            "null",
            "",
            "http://localhost:8000",
            "http://127.0.0.1:7171",
            "https://localhost:7171",
            "http://app.example",
            "http://localhost:7171/",
            "\u{e9}",
        ] {
            assert_eq!(open(host, &[("origin", origin)]), 403, "{origin}");
        }
        let both = [("origin", "http://localhost:7171"), ("origin", "http://attacker.example")];
        assert_eq!(open(host, &both), 403);
    }

    #[test]
    fn a_request_from_another_site_is_refused_unless_its_origin_is_listed() {
        for site in ["same-origin", "none"] {
            assert_eq!(open("localhost", &[("sec-fetch-site", site)]), 200, "{site}");
        }
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(open("localhost", &[("sec-fetch-site", site)]), 403, "{site}");
            let listed = [("sec-fetch-site", site), ("origin", "https://app.example")];
            assert_eq!(open("localhost", &listed), 200, "{site}");
            let own = [("sec-fetch-site", site), ("origin", "http://localhost")];
            assert_eq!(open("localhost", &own), 403, "{site}");
        }
    }

    #[test]
    fn only_opening_the_console_in_a_tab_may_come_from_another_site() {
        let policy = policy(true, &[], &[]);
        let fields = |mode, dest| {
            let site = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
            [&site[..], &[("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]].concat()
        };
        let tab = fields("navigate", "document");
        assert_eq!(answer(&policy, "GET", "/", &tab), 200);
        assert_eq!(answer(&policy, "POST", "/", &tab), 403);
        assert_eq!(answer(&policy, "GET", "/v1/export", &tab), 403);
        assert_eq!(answer(&policy, "GET", "/", &fields("navigate", "iframe")), 403);
        assert_eq!(answer(&policy, "GET", "/", &fields("no-cors", "image")), 403);
        let posted = [&tab[..], &[("origin", "http://attacker.example")]].concat();
        assert_eq!(answer(&policy, "GET", "/", &posted), 403);
    }

    #[test]
    fn with_keys_only_a_list_of_hosts_restricts_anything() {
        let foreign = [
            ("host", "kb.example"),
            ("origin", "http://attacker.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(answer(&policy(false, &[], &[]), "POST", "/v1/facts", &foreign), 200);
        assert_eq!(answer(&policy(false, &["kb.example"], &[]), "POST", "/", &foreign), 200);
        assert_eq!(answer(&policy(false, &["kb.internal"], &[]), "POST", "/", &foreign), 403);
    }

    #[test]
    fn over_tls_the_servers_own_pages_have_its_scheme() {
        let head = Request::builder().header("origin", "https://localhost:7171").body(()).unwrap();
        let (head, ()) = head.into_parts();
        let hosts = [Authority::parse("localhost:7171").unwrap()];
        assert!(policy(true, &[], &[]).check(&head, &hosts, "https").is_ok());
        assert!(policy(true, &[], &[]).check(&head, &hosts, "http").is_err());
    }

    #[test]
    fn a_preflight_with_keys_needs_a_listed_origin() {
        let policy = policy(false, &[], &["https://app.example"]);
        let asked = |origin| {
            let fields = [("origin", origin), ("access-control-request-method", "POST")];
            answer(&policy, "OPTIONS", "/v1/facts", &fields)
        };
        assert_eq!(asked("https://app.example"), 200);
        assert_eq!(asked("https://attacker.example"), 403);
        assert_eq!(asked("null"), 403);
    }
}
