//! Which web pages may connect (RFC 6455 section 10.2, RFC 6454).
//!
//! A browser opens a WebSocket to any server for any page, and sends the user's cookies with
//! it; that the server listens on the loopback address only is no defence. The one thing that
//! a page cannot forge is the `Origin` header.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::client::uri::{parse_port, split_authority, split_scheme};
use crate::websocket::handshake::{Request, Response};

/// The origins whose pages may open a WebSocket; all others are answered with 403.
///
/// An origin is compared as a whole: scheme, host and port, where the default ports of `http`
/// and `https` may be left out, upper and lower case are the same, and so is a host with one dot
/// behind it (`app.example.`), which is the same host in DNS. There are no patterns: prefixes and
/// suffixes are how such lists are passed. Hosts in other scripts are listed in their ASCII form
/// (`xn--..`), which is the one that browsers send.
///
/// Pages of apps have origins of other schemes, which are listed as they are sent:
/// `capacitor://localhost`, `chrome-extension://abcdef`, `app://.`, and without a host `file://`,
/// which is the origin of all pages in an Android web view that come from files.
///
/// Clients that are no browsers mostly send no `Origin`, and could send any. They are let in;
/// see [`Origins::allow_missing`]. So an origin tells which page a browser acts for, and never
/// who the user is (section 10.1). Only upgrades are checked.
///
/// ```
/// use storm_proto::Origins;
///
/// let origins = Origins::only(["https://app.example", "http://localhost:3000"]).unwrap();
/// assert!(Origins::only(["app.example"]).is_err(), "which scheme?");
/// # let _ = origins;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Origins {
    listed: Vec<Origin>,
    same: bool,
    missing: bool,
}

impl Origins {
    /// These origins and no others, each `scheme://host` or `scheme://host:port`; a scheme other
    /// than `http`, `https`, `ws` and `wss` may stand without a host, as in `file://`. `null` is
    /// listed as such, and is best left out: every sandboxed frame and local file has it.
    ///
    /// # Errors
    /// If one of them is no origin, such as a host without a scheme, or one with a path.
    pub fn only<T: AsRef<str>>(
        origins: impl IntoIterator<Item = T>,
    ) -> Result<Origins, OriginError> {
        let parse = |text: T| {
            let text = text.as_ref();
            Origin::parse(text).ok_or_else(|| OriginError { text: text.to_string() })
        };
        let listed = origins.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Origins { listed, same: false, missing: true })
    }

    /// Pages of the host and port that the request is addressed to: [`Request::host`].
    ///
    /// The scheme is not compared beyond its default port, since TLS may end in front of this
    /// server. Behind a proxy that changes `Host`, and where a foreign name may be made to
    /// lead here (DNS rebinding), only a list helps: [`Origins::only`].
    pub fn same() -> Origins {
        Origins { listed: Vec::new(), same: true, missing: true }
    }

    /// Pages of the same host too; see [`Origins::same`].
    pub fn or_same(mut self) -> Origins {
        self.same = true;
        self
    }

    /// Whether a request without an `Origin` is let in; yes. Every browser sends it with an
    /// upgrade, so it is missing only where there is no page to be deceived. Say no where
    /// nothing but browsers is to connect.
    pub fn allow_missing(mut self, allow: bool) -> Origins {
        self.missing = allow;
        self
    }

    /// Checks a request by hand, as [`Server::origins`](crate::service::Server::origins)
    /// does. A request that is no upgrade passes.
    ///
    /// # Errors
    /// The answer that refuses it, with status 403.
    pub fn check(&self, request: &Request) -> Result<(), Response> {
        let refuse = |problem| Err(Response::refusal(403, problem));
        if !request.is_upgrade() {
            return Ok(());
        }
        let value = match request.headers().only("Origin") {
            Ok(Some(value)) => value,
            Ok(None) if self.missing => return Ok(()),
            Ok(None) => return refuse("the origin header is missing\n"),
            // No request has two: they are refused before.
            Err(_) => return refuse("more than one origin header\n"),
        };
        let Some(origin) = core::str::from_utf8(value).ok().and_then(Origin::parse) else {
            return refuse("the origin header is no origin\n");
        };
        if self.listed.contains(&origin) || self.same && origin.is_same_as(request) {
            return Ok(());
        }
        refuse("pages of this origin may not connect here\n")
    }
}

/// Where a page is from, in the one form in which it compares.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    /// The origin of what has none: sandboxed frames, local files, some redirects.
    Null,
    Page {
        scheme: String,
        /// Empty for pages without one, of `file` and the like.
        host: String,
        /// Given or by default; none where the scheme has no default.
        port: Option<u16>,
    },
}

impl Origin {
    /// RFC 6454 section 6.2: nothing may stand behind the port, not even a slash.
    fn parse(text: &str) -> Option<Origin> {
        if text == "null" {
            return Some(Origin::Null);
        }
        let (scheme, rest) = split_scheme(text)?;
        let (scheme, authority) = (scheme.to_ascii_lowercase(), rest.strip_prefix("//")?);
        let default = default_port(&scheme);
        if authority.is_empty() && default.is_none() {
            return Some(Origin::Page { scheme, host: String::new(), port: None });
        }
        let (host, port) = split_authority(authority).ok()?;
        let port = match port {
            Some(digits) => Some(parse_port(digits).ok()?),
            None => default,
        };
        Some(Origin::Page { scheme, host: one_form(host), port })
    }

    /// True if the request is addressed to where this page is from.
    fn is_same_as(&self, request: &Request) -> bool {
        let Origin::Page { scheme, host, port } = self else { return false };
        let Some(default) = default_port(scheme) else { return false };
        let address = request.host().and_then(|value| split_authority(value).ok());
        let Some((to_host, to_port)) = address else { return false };
        let to_port = match to_port {
            None | Some("") => Some(default),
            Some(digits) => parse_port(digits).ok(),
        };
        *host == one_form(to_host) && *port == to_port && port.is_some()
    }
}

/// Names without case and without the dot that only says that they are whole; addresses as they
/// are written shortest.
fn one_form(host: &str) -> String {
    match host.parse::<core::net::Ipv6Addr>() {
        Ok(address) => address.to_string(),
        Err(_) => {
            let name = host.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(host);
            name.to_ascii_lowercase()
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// A text that is no origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginError {
    text: String,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        write!(f, "{text:?} is no origin: write scheme://host or scheme://host:port, no more")?;
        if text.is_ascii() { Ok(()) } else { f.write_str(" (and other scripts as xn--..)") }
    }
}

impl core::error::Error for OriginError {}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: [(&str, &str); 4] = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn request(host: &str, origins: &[&[u8]]) -> Request {
        let lines = UPGRADE.map(|(name, value)| (name, value.as_bytes()));
        let origins = origins.iter().map(|origin| ("Origin", *origin));
        let lines = lines.into_iter().chain([("Host", host.as_bytes())]).chain(origins);
        Request::from_parts("GET", "/", lines).unwrap()
    }

    fn passes(origins: &Origins, host: &str, origin: &str) -> bool {
        match origins.check(&request(host, &[origin.as_bytes()])) {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal.status(), 403, "{origin}");
                let (_, body) = refusal.encode(false).unwrap();
                assert!(!body.is_empty(), "{origin}");
                false
            }
        }
    }

    #[test]
    fn listed_origins_pass_in_every_way_to_write_them() {
        let listed = [
            "https://App.example",
            "http://localhost:3000",
            "http://[::1]",
            "https://xn--bcher-kva.example:443",
            "chrome-extension://abcdef",
        ];
        let origins = Origins::only(listed).unwrap();
        for origin in [
            "https://app.example",
            "https://app.example:443",
            "HTTPS://APP.EXAMPLE",
            "http://localhost:3000",
            "http://[::1]",
            "http://[0:0::1]:80",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdef",
        ] {
            assert!(passes(&origins, "any", origin), "{origin}");
        }
    }

    #[test]
    fn nothing_that_only_looks_like_a_listed_origin_passes() {
        let origins =
            Origins::only(["https://app.example", "https://b.example:8443", "http://10.0.0.1"])
                .unwrap();
        for origin in [
            "http://app.example",
            "https://app.example:80",
            "https://app.example:8443",
            "https://b.example",
            "https://app.example.evil.example",
            "https://evilapp.example",
            "https://evil.app.example",
            "https://app.exampl",
            "https://app_example",
            "https://app.example..",
            "https://.",
            "file://",
            "https://app.example@evil.example",
            "https://evil.example#https://app.example",
            "https://evil.example/https://app.example",
            "https://app.example/",
            "https://app.example:",
            "https://app.example:0",
            "https://app.example:+443",
            "https://app.example:443:443",
            "https://app.example https://evil.example",
            "https://app.example, https://evil.example",
            "app.example",
            "//app.example",
            "https:app.example",
            "://app.example",
            "http://10.0.0.10",
            "http://10.0.0.1.nip.example",
            "null",
            "NULL",
            "",
            "*",
        ] {
            assert!(!passes(&origins, "app.example", origin), "{origin}");
        }
    }

    #[test]
    fn the_same_origin_is_the_host_and_port_that_the_request_names() {
        let same = Origins::same();
        for (host, origin, expected) in [
            ("app.example", "https://app.example", true),
            ("app.example", "http://app.example", true),
            ("APP.example:443", "https://app.example", true),
            ("app.example:", "https://app.example", true),
            ("localhost:3000", "http://localhost:3000", true),
            ("[::1]:3000", "http://[0::1]:3000", true),
            ("app.example:443", "http://app.example", false),
            ("app.example:80", "https://app.example", false),
            ("app.example", "https://app.example:8443", false),
            ("localhost:3000", "http://localhost:3001", false),
            ("localhost:3000", "http://127.0.0.1:3000", false),
            ("app.example", "https://evil.app.example", false),
            ("app.example", "https://app.example.evil", false),
            ("app.example", "chrome-extension://app.example", false),
            ("app%2eexample", "https://app.example", false),
            ("null", "null", false),
        ] {
            assert_eq!(passes(&same, host, origin), expected, "{host} {origin}");
        }
        let either = Origins::only(["https://other.example"]).unwrap().or_same();
        assert!(passes(&either, "app.example", "https://app.example"));
        assert!(passes(&either, "app.example", "https://other.example"));
        assert!(!passes(&either, "app.example", "https://third.example"));
    }

    #[test]
    fn pages_of_apps_can_be_listed() {
        for (listed, sent) in [
            ("file://", "file://"),
            ("FILE://", "file://"),
            ("app://", "app://"),
            ("app://.", "app://."),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost", "Ionic://Localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("moz-extension://0a-1b", "moz-extension://0a-1b"),
            ("qrc://", "qrc://"),
            ("ws://app.example:80", "ws://app.example"),
        ] {
            let origins = Origins::only([listed]).unwrap();
            assert!(passes(&origins, "any", sent), "{listed}");
            for other in ["file:///", "file://x", "file:", "null", "http://", "app://.x", "x://"] {
                assert!(!passes(&origins, "any", other), "{other} for {listed}");
            }
            assert!(!passes(&Origins::same(), "localhost", sent), "{sent}");
        }
    }

    #[test]
    fn a_dot_behind_a_host_changes_nothing() {
        for listed in ["https://App.example.", "https://app.example"] {
            let origins = Origins::only([listed]).unwrap();
            for origin in
                ["https://app.example", "https://app.example.", "https://app.example.:443"]
            {
                assert!(passes(&origins, "any", origin), "{origin} for {listed}");
            }
        }
        assert!(!passes(
            &Origins::only(["https://app.example."]).unwrap(),
            "a",
            "https://app.example.."
        ));
        for (host, origin) in
            [("app.example.", "https://app.example"), ("app.example:81", "http://app.example.:81")]
        {
            assert!(passes(&Origins::same(), host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn an_absolute_target_and_not_the_host_header_says_what_is_the_same() {
        let request = |origin: &str| {
            let lines = UPGRADE.into_iter().chain([("Host", "evil.example"), ("Origin", origin)]);
            Request::from_parts("GET", "http://app.example:81?x", lines).unwrap()
        };
        assert!(Origins::same().check(&request("http://app.example:81")).is_ok());
        assert!(Origins::same().check(&request("http://evil.example")).is_err());
        assert!(Origins::same().check(&request("http://evil.example:81")).is_err());
    }

    #[test]
    fn null_passes_only_where_it_is_listed() {
        assert!(passes(&Origins::only(["null"]).unwrap(), "a", "null"));
        assert!(!passes(&Origins::only(["null"]).unwrap(), "a", "Null"));
        assert!(!passes(&Origins::same(), "a", "null"));
    }

    #[test]
    fn a_missing_origin_passes_unless_told_otherwise() {
        let origins = Origins::only(["https://a"]).unwrap();
        assert!(origins.check(&request("a", &[])).is_ok());
        assert!(origins.check(&request("a", &[b"https://\xFF"])).is_err());
        let strict = origins.allow_missing(false);
        assert!(strict.check(&request("a", &[])).is_err());
        assert!(strict.check(&request("a", &[b"https://a"])).is_ok());
        assert!(strict.check(&request("a", &[b""])).is_err());
    }

    #[test]
    fn plain_requests_are_not_checked() {
        let plain = Request::from_parts("GET", "/", [("Host", "a"), ("Origin", "https://b")]);
        assert!(Origins::same().allow_missing(false).check(&plain.unwrap()).is_ok());
    }

    #[test]
    fn what_is_no_origin_cannot_be_listed() {
        for text in [
            "",
            "*",
            "app.example",
            "https://",
            "https://*.example",
            "https://a/",
            "https://a:x",
            "https://bücher.example",
            "file:///",
            "ws://",
        ] {
            let error = Origins::only([text]).unwrap_err();
            assert!(error.to_string().starts_with(&alloc::format!("{text:?} is no origin")));
        }
    }
}
