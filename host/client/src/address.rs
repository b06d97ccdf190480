//! Where a server is: `https://HOST`, `http://HOST`, `HOST:PORT`, or `unix:PATH`; and which
//! certificates are trusted there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Url};

use crate::Error;
use crate::text::sanitize;

const UNIX: &str = "unix:";

/// The way to a server.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    base: Url,
    /// The socket in the file system over which the server is reached.
    socket: Option<PathBuf>,
    /// The file with the certificates that are trusted besides the system's.
    ca: Option<PathBuf>,
}

impl ServerAddress {
    /// Reads what was typed. Without a scheme, it is `http` for this machine, unless `ca` names a
    /// file, and `https` for others.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is no address of a server.
    pub fn parse(typed: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let ca = ca.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned);
        if let Some(path) = typed.strip_prefix(UNIX) {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(invalid(typed, "names no socket, as unix:/run/kenning.sock does"));
            }
            let base =
                Url::parse("http://localhost/").map_err(|_| invalid(typed, "is unusable"))?;
            return Ok(Self { base, socket: Some(path.into()), ca });
        }
        let base = base(typed, ca.is_some())?;
        Ok(Self { base, socket: None, ca })
    }

    /// The URL that paths are added to.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The address for messages, without a trailing slash.
    pub fn shown(&self) -> String {
        match &self.socket {
            Some(path) => format!("{UNIX}{}", path.display()),
            None => self.base.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// A client that reaches the server, and trusts the system's certificates and those named.
    ///
    /// # Errors
    /// [`Error::Usage`] if the certificates that are named cannot be read.
    pub fn reached_by(&self, mut client: ClientBuilder) -> Result<ClientBuilder, Error> {
        if self.base.scheme() == "http" {
            // Without the system's certificates, which need not be there.
            client = client.tls_certs_only([]);
        } else if let Some(path) = &self.ca {
            client = client.tls_certs_merge(certificates(path)?);
        }
        if let Some(path) = &self.socket {
            return Ok(client.no_proxy().unix_socket(path.clone()));
        }
        // For the proxy in HTTP_PROXY, loopback is another machine.
        Ok(if is_loopback(&self.base) { client.no_proxy() } else { client })
    }
}

/// What to do about a connection that failed with `cause`, if that can be said.
pub(crate) fn advice(cause: &str) -> Option<&'static str> {
    let is = |part: &str| cause.contains(part);
    // An authority of the same name has another key.
    if is("UnknownIssuer") || is("BadSignature") {
        Some(
            "Nobody whom this machine trusts has signed the server's certificate. Name the file \
             of the authority that did with --ca or KENNING_CA.",
        )
    } else if is("NotValidForName") {
        Some("The server's certificate is for other names. Use one of them with --server.")
    } else if is("InvalidContentType") {
        Some("It does not speak TLS. Say http:// if the network in between can be trusted.")
    } else if is("Expired") || is("NotValidYet") {
        Some("Renew the server's certificate, and look at the clocks of both machines.")
    } else if is("No CA certificates") {
        Some("Install the system's certificates, or name a file with --ca or KENNING_CA.")
    } else {
        None
    }
}

fn invalid(typed: &str, why: &str) -> Error {
    Error::Usage(format!("the server's address `{}` {why}", sanitize(typed)))
}

fn base(typed: &str, has_ca: bool) -> Result<Url, Error> {
    let url = match typed.contains("://") {
        true => Url::parse(typed).ok(),
        false => without_scheme(typed, has_ca),
    };
    let url = url.filter(Url::has_host);
    let url = url.ok_or_else(|| invalid(typed, "is not a URL such as http://127.0.0.1:7171"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(typed, "does not start with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated, because it may contain a password.
        return Err(Error::Usage(
            "the server's address contains a user or password; set KENNING_KEY instead".to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(typed, "must not contain a `?` or `#` part"));
    }
    Ok(url)
}

/// A key must not leave this machine unencrypted only because nobody wrote `https`.
fn without_scheme(typed: &str, has_ca: bool) -> Option<Url> {
    let plain = Url::parse(&format!("http://{typed}")).ok()?;
    match is_loopback(&plain) && !has_ca {
        true => Some(plain),
        false => Url::parse(&format!("https://{typed}")).ok(),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let unusable = |why: String| Error::Usage(format!("--ca {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unusable(format!("cannot read it: {error}")))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable("it holds no certificate in PEM".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> String {
        ServerAddress::parse(typed, None).unwrap().base().to_string()
    }

    fn rejection(typed: &str) -> String {
        ServerAddress::parse(typed, None).unwrap_err().to_string()
    }

    #[test]
    fn an_address_without_a_scheme_is_http_on_this_machine_and_https_elsewhere() {
        assert_eq!(parsed("127.0.0.1:7171"), "http://127.0.0.1:7171/");
        assert_eq!(parsed("localhost:7171"), "http://localhost:7171/");
        assert_eq!(parsed("[::1]:7171"), "http://[::1]:7171/");
        assert_eq!(parsed("kb.example:7171"), "https://kb.example:7171/");
        assert_eq!(parsed("10.0.0.1/base"), "https://10.0.0.1/base");
        let with_ca = ServerAddress::parse("localhost:7171", Some(Path::new("ca.pem"))).unwrap();
        assert_eq!(with_ca.base().scheme(), "https");
        let empty = ServerAddress::parse("localhost:7171", Some(Path::new(""))).unwrap();
        assert_eq!(empty.base().scheme(), "http");
    }

    #[test]
    fn a_socket_in_the_file_system_is_an_address() {
        for typed in ["unix:/run/kb.sock", "unix:///run/kb.sock"] {
            let address = ServerAddress::parse(typed, None).unwrap();
            assert_eq!(address.shown(), "unix:/run/kb.sock");
            assert_eq!(address.base().as_str(), "http://localhost/");
        }
        assert!(rejection("unix:").contains("names no socket"));
    }

    #[test]
    fn an_unusable_address_is_rejected_with_a_reason() {
        assert!(rejection("ftp://kb.example").contains("start with http://"));
        assert!(rejection("http://kb.example/?x").contains("`?`"));
        assert!(rejection("http://").contains("such as http://"));
        assert!(rejection("a b").contains("such as http://"));
        assert!(rejection("").contains("such as http://"));
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for typed in ["http://ada:hunter2@kb.example", "ada:hunter2@kb.example"] {
            let message = rejection(typed);
            assert!(message.contains("KENNING_KEY") && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn loopback_is_recognised_by_name_and_by_ipv4_and_ipv6_address() {
        for (url, loopback) in [
            ("http://localhost:1", true),
            ("http://127.3.2.1", true),
            ("http://[::1]:7171", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&base(url, false).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let said = || certificates(&path).unwrap_err().to_string();
        assert!(said().contains("cannot read it"));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(said().contains("holds no certificate"));
    }
}
