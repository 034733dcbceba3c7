//! Where a client connects to (RFC 6455 section 3, RFC 3986).

use alloc::string::String;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

/// What is spoken at the address, and whether TLS is below it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Scheme {
    /// `ws`: WebSocket, port 80 by default.
    Ws,
    /// `wss`: WebSocket over TLS, port 443 by default.
    Wss,
    /// `tcp`: a plain stream; the port must be given.
    Tcp,
    /// `tls`: a stream over TLS; the port must be given.
    Tls,
}

impl Scheme {
    /// True for a WebSocket.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }

    /// True if TLS must be below. A secure scheme never falls back to a plain one.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Scheme::Wss | Scheme::Tls)
    }

    const fn name(self) -> &'static str {
        match self {
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
        }
    }

    const fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Ws => Some(80),
            Scheme::Wss => Some(443),
            Scheme::Tcp | Scheme::Tls => None,
        }
    }
}

/// Where the socket to connect to is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Target {
    /// A host by name or address, and a port.
    Tcp {
        /// Without the brackets of an IPv6 address, and in lower case; with its zone, as in
        /// `fe80::1%eth0`.
        host: String,
        /// The port, given or by default.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// The path of its file.
        path: String,
    },
}

/// A checked address:
///
/// - `ws://host[:port][/path][?query]`, `wss://..`, `tcp://host:port`, `tls://..`
/// - `ws+unix:/path/of/socket[:/path][?query]`, `wss+unix:..`, `unix:/path/of/socket`,
///   `tls+unix:..`; the path of the socket is absolute and literal, and the `//` of an empty
///   authority (`unix:///path`) may stand before it
///
/// The first colon ends the scheme. Scheme and host compare without case, and the host is kept in
/// lower case. An IPv6 address may have a zone (`[fe80::1%25eth0]`), which stays on this machine.
/// A dot behind the name (`example.org.`) stays: it keeps the resolver from trying its search
/// domains. White space is refused, also around the address. Names in other scripts are given in their
/// ASCII form (`xn--..`): nothing is converted here. Path and query are sent as they are given.
///
/// ```
/// use storm_proto::Uri;
///
/// let uri: Uri = "WSS://Example.org/chat?from=unix:x".parse().unwrap();
/// assert_eq!((uri.host(), uri.port(), uri.resource()), ("example.org", Some(443), "/chat?from=unix:x"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uri {
    scheme: Scheme,
    target: Target,
    /// Path and query, at least `/`.
    resource: String,
}

impl Uri {
    /// What is spoken.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where the socket is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The host name or address, without brackets and zone; `localhost` for a Unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.target {
            Target::Tcp { host, .. } => without_zone(host),
            Target::Unix { .. } => "localhost",
        }
    }

    /// The port, given or by default; none for a Unix socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self.target {
            Target::Tcp { port, .. } => Some(port),
            Target::Unix { .. } => None,
        }
    }

    /// Path and query as they stand in the request line (section 3).
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The value of the `Host` header: the port only where it is not the default.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authority_of(self.host())
    }

    fn authority_of(&self, host: &str) -> String {
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        match &self.target {
            Target::Tcp { port, .. } if self.scheme.default_port() != Some(*port) => {
                alloc::format!("{open}{host}{close}:{port}")
            }
            _ => alloc::format!("{open}{host}{close}"),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = if self.scheme.is_websocket() { &self.resource[..] } else { "" };
        match (&self.target, self.scheme) {
            (Target::Unix { path }, Scheme::Tcp) => write!(f, "unix:{path}"),
            (Target::Unix { path }, Scheme::Tls) => write!(f, "tls+unix:{path}"),
            (Target::Unix { path }, scheme) => {
                write!(f, "{}+unix:{path}:{resource}", scheme.name())
            }
            (Target::Tcp { host, .. }, scheme) => {
                let authority = self.authority_of(&host.replace('%', "%25"));
                write!(f, "{}://{authority}{resource}", scheme.name())
            }
        }
    }
}

/// Why a text is no address to connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UriError {
    /// The scheme is missing or is none of those of [`Uri`].
    Scheme,
    /// The host is missing or has characters that no host has. A name in another script
    /// must be given in its ASCII form (`xn--..`).
    Host,
    /// The port is missing or is no number from 1 to 65,535.
    Port,
    /// User and password cannot stand here; send an `Authorization` header.
    UserInfo,
    /// A fragment (`#..`) has no meaning here; a literal `#` is written `%23`.
    Fragment,
    /// The path of a Unix socket is missing or not absolute.
    Socket,
    /// The path or query has blanks, control or non-ASCII characters: percent-encode them.
    Path,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => {
                "the address must start with ws://, wss://, tcp://, tls:// or unix:"
            }
            UriError::Socket => {
                "the path of the unix socket is not absolute; write unix:/path or unix:///path"
            }
            UriError::Host => "the address has no valid host (use xn--.. for other scripts)",
            UriError::Port => "the address has no valid port",
            UriError::UserInfo => {
                "user and password cannot stand in the address; send an authorization header"
            }
            UriError::Fragment => "a fragment has no meaning here; write a literal # as %23",
            UriError::Path => "the path has characters that must be percent-encoded",
        })
    }
}

impl core::error::Error for UriError {}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Uri, UriError> {
        let (scheme, rest) = split_scheme(text).ok_or(UriError::Scheme)?;
        let (scheme, is_unix) = match &scheme.to_ascii_lowercase()[..] {
            "ws" => (Scheme::Ws, false),
            "wss" => (Scheme::Wss, false),
            "tcp" => (Scheme::Tcp, false),
            "tls" => (Scheme::Tls, false),
            "ws+unix" => (Scheme::Ws, true),
            "wss+unix" => (Scheme::Wss, true),
            "unix" => (Scheme::Tcp, true),
            "tls+unix" => (Scheme::Tls, true),
            _ => return Err(UriError::Scheme),
        };
        if is_unix {
            return parse_unix(scheme, rest);
        }
        let rest = rest.strip_prefix("//").ok_or(UriError::Scheme)?;
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at(end);
        let (host, port) = split_authority(authority)?;
        let port = match port {
            None | Some("") => scheme.default_port().ok_or(UriError::Port)?,
            Some(digits) => parse_port(digits)?,
        };
        let target = Target::Tcp { host: one_form(host), port };
        Ok(Uri { scheme, target, resource: parse_resource(scheme, resource)? })
    }
}

/// The scheme of a URI and what stands behind its colon. RFC 3986 section 3.1: the first colon
/// ends it, whatever stands behind.
pub(crate) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(scheme, _)| is_scheme(scheme))
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(valid)
}

/// What stands behind a scheme of Unix sockets. The path is that of the file: nothing in it is
/// decoded.
fn parse_unix(scheme: Scheme, rest: &str) -> Result<Uri, UriError> {
    let rest = without_empty_authority(rest);
    let (path, resource) = match rest.split_once(':') {
        Some((path, resource)) if scheme.is_websocket() => (path, resource),
        _ => (rest, ""),
    };
    if !path.starts_with('/') || path.contains('\0') {
        return Err(UriError::Socket);
    }
    if resource.contains('#') {
        return Err(UriError::Fragment);
    }
    let target = Target::Unix { path: path.into() };
    Ok(Uri { scheme, target, resource: parse_resource(scheme, resource)? })
}

/// `unix:///path` is `unix:/path`. What names a host keeps it, and is no path then.
pub(crate) fn without_empty_authority(rest: &str) -> &str {
    rest.strip_prefix("//").unwrap_or(rest)
}

/// Host and port, if one stands there, of what has no user. A host in brackets may have a zone
/// (RFC 4007), behind `%25` (RFC 6874) or a bare percent sign.
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    if authority.contains('@') {
        return Err(UriError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UriError::Host)?;
            let (address, zone) = split_zone(host);
            if address.parse::<Ipv6Addr>().is_err() || !zone.is_none_or(is_name) {
                return Err(UriError::Host);
            }
            (host, port)
        }
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if !is_name(name) {
                return Err(UriError::Host);
            }
            (name, port)
        }
    };
    match port.strip_prefix(':') {
        Some(digits) => Ok((host, Some(digits))),
        None if port.is_empty() => Ok((host, None)),
        None => Err(UriError::Host),
    }
}

/// An address and its zone, if it has one.
fn split_zone(host: &str) -> (&str, Option<&str>) {
    match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (host, None),
    }
}

/// A host as it is looked up: names in lower case, a zone as the system writes it.
pub(crate) fn one_form(host: &str) -> String {
    match split_zone(host) {
        (address, Some(zone)) => alloc::format!("{}%{zone}", address.to_ascii_lowercase()),
        (host, None) => host.to_ascii_lowercase(),
    }
}

/// A host without the zone of its address, which is nobody else's affair (RFC 6874 section 4).
pub(crate) fn without_zone(host: &str) -> &str {
    split_zone(host).0
}

/// True for the characters that the name of a host can have.
pub(super) fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

pub(crate) fn parse_port(digits: &str) -> Result<u16, UriError> {
    let port = digits.parse().map_err(|_| UriError::Port)?;
    if port == 0 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UriError::Port);
    }
    Ok(port)
}

/// Section 3: the resource name starts with a slash even where the path is empty.
fn parse_resource(scheme: Scheme, resource: &str) -> Result<String, UriError> {
    if !resource.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UriError::Path);
    }
    if !scheme.is_websocket() && !matches!(resource, "" | "/") {
        return Err(UriError::Path);
    }
    // An empty query leaves no question mark behind.
    let resource = match resource.split_once('?') {
        Some((path, "")) => path,
        _ => resource,
    };
    let slash = if resource.starts_with('/') { "" } else { "/" };
    Ok(alloc::format!("{slash}{resource}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn parts(text: &str) -> (Scheme, String, u16, String) {
        let uri: Uri = text.parse().unwrap();
        let Target::Tcp { port, .. } = *uri.target() else { panic!("{text}") };
        (uri.scheme(), uri.authority(), port, uri.resource().to_string())
    }

    #[test]
    fn addresses_read_as_rfc_6455_section_3_says() {
        let expect = |text, scheme, authority: &str, port, resource: &str| {
            assert_eq!(parts(text), (scheme, authority.into(), port, resource.into()), "{text}");
        };
        expect("ws://h", Scheme::Ws, "h", 80, "/");
        expect("WSS://h", Scheme::Wss, "h", 443, "/");
        expect("ws://h:80/p?q", Scheme::Ws, "h", 80, "/p?q");
        expect("ws://h:443", Scheme::Ws, "h:443", 443, "/");
        expect("wss://h:80", Scheme::Wss, "h:80", 80, "/");
        expect("ws://h?a=1", Scheme::Ws, "h", 80, "/?a=1");
        expect("ws://h/%23?x=%20", Scheme::Ws, "h", 80, "/%23?x=%20");
        expect("ws://h?", Scheme::Ws, "h", 80, "/");
        expect("ws://h/p?", Scheme::Ws, "h", 80, "/p");
        expect("ws://[::1]:9001/x", Scheme::Ws, "[::1]:9001", 9001, "/x");
        expect("wss://[::1]", Scheme::Wss, "[::1]", 443, "/");
        expect("tls://h:5000", Scheme::Tls, "h:5000", 5000, "/");
        expect("tcp://127.0.0.1:5000", Scheme::Tcp, "127.0.0.1:5000", 5000, "/");
    }

    #[test]
    fn unix_sockets_have_a_path_and_maybe_a_resource() {
        for (text, scheme, socket, resource) in [
            ("unix:/run/a.sock", Scheme::Tcp, "/run/a.sock", "/"),
            ("tls+unix:/run/a.sock", Scheme::Tls, "/run/a.sock", "/"),
            ("ws+unix:/run/a.sock", Scheme::Ws, "/run/a.sock", "/"),
            ("ws+unix:/run/a.sock:/chat?x", Scheme::Ws, "/run/a.sock", "/chat?x"),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!(*uri.target(), Target::Unix { path: socket.into() }, "{text}");
            assert_eq!((uri.scheme(), uri.resource()), (scheme, resource), "{text}");
            assert_eq!(uri.authority(), "localhost");
        }
        assert_eq!("unix:run/a.sock".parse::<Uri>(), Err(UriError::Socket));
        assert_eq!("unix://run/a.sock".parse::<Uri>(), Err(UriError::Socket));
        assert_eq!("ws+unix::/chat".parse::<Uri>(), Err(UriError::Socket));
        assert_eq!("ws+unix:/a:/b#c".parse::<Uri>(), Err(UriError::Fragment));
        assert_eq!("http+unix:/a".parse::<Uri>(), Err(UriError::Scheme));
    }

    #[test]
    fn the_first_colon_ends_the_scheme_whatever_stands_behind() {
        for (text, scheme, authority, resource) in [
            ("ws://host/chat?src=unix:foo", Scheme::Ws, "host", "/chat?src=unix:foo"),
            ("ws://unix:8080/", Scheme::Ws, "unix:8080", "/"),
            ("ws://unix/", Scheme::Ws, "unix", "/"),
            ("wss://h/a://b", Scheme::Wss, "h", "/a://b"),
            ("ws://h/ws+unix:/a", Scheme::Ws, "h", "/ws+unix:/a"),
        ] {
            let uri: Uri = text.parse().unwrap();
            let found = (uri.scheme(), uri.authority(), uri.resource());
            assert_eq!(found, (scheme, authority.into(), resource), "{text}");
        }
        for text in ["unix", "://h", ":ws://h", "1ws://h", "w s://h", "ws", "ws:h", "ws//h:80"] {
            assert_eq!(text.parse::<Uri>(), Err(UriError::Scheme), "{text}");
        }
    }

    #[test]
    fn case_matters_neither_in_schemes_nor_in_hosts() {
        for (text, same) in [
            ("WS+UNIX:/Run/A:/B", "ws+unix:/Run/A:/B"),
            ("Wss+Unix:/a", "wss+unix:/a:/"),
            ("UNIX:/A", "unix:/A"),
            ("TLS+unix:/A", "tls+unix:/A"),
            ("TCP://H.Example:1", "tcp://h.example:1"),
            ("WSS://H.EXAMPLE/Path", "wss://h.example/Path"),
            ("ws://[FE80::A]/", "ws://[fe80::a]/"),
        ] {
            assert_eq!(text.parse::<Uri>().unwrap().to_string(), same, "{text}");
        }
    }

    #[test]
    fn an_empty_authority_may_stand_before_the_path_of_a_socket() {
        for (text, same) in [
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("ws+unix:///run/a.sock:/chat", "ws+unix:/run/a.sock:/chat"),
            ("tls+unix:///run/a b#1%20.sock", "tls+unix:/run/a b#1%20.sock"),
        ] {
            assert_eq!(text.parse::<Uri>().unwrap().to_string(), same, "{text}");
        }
    }

    #[test]
    fn a_zone_is_for_the_socket_and_for_nobody_else() {
        for text in ["ws://[fe80::1%25eth0]:81/", "ws://[fe80::1%eth0]:81/"] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!(*uri.target(), Target::Tcp { host: "fe80::1%eth0".into(), port: 81 });
            assert_eq!((uri.host(), uri.authority()), ("fe80::1", "[fe80::1]:81".into()));
            assert_eq!(uri.to_string(), "ws://[fe80::1%25eth0]:81/");
        }
        for text in ["ws://[fe80::1%]/", "ws://[fe80::1%25]/", "ws://[::1%a b]/", "ws://h%25x/"] {
            assert_eq!(text.parse::<Uri>(), Err(UriError::Host), "{text}");
        }
    }

    #[test]
    fn white_space_is_refused_within_an_address_and_around_it() {
        for (text, error) in [
            (" ws://h", UriError::Scheme),
            ("ws ://h", UriError::Scheme),
            ("ws:// h", UriError::Host),
            ("ws://h\n", UriError::Host),
            ("ws://h:80 ", UriError::Port),
            ("ws://h/\n", UriError::Path),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_dot_behind_the_name_and_an_empty_port_stay_what_they_are() {
        let uri: Uri = "wss://h.example.:/".parse().unwrap();
        assert_eq!((uri.host(), uri.port()), ("h.example.", Some(443)));
        assert_eq!("tcp://h:".parse::<Uri>(), Err(UriError::Port));
    }

    #[test]
    fn what_is_no_address_is_told_apart() {
        let cases = [
            ("", UriError::Scheme),
            ("h:80", UriError::Scheme),
            ("http://h", UriError::Scheme),
            ("ws:/h", UriError::Scheme),
            ("ws://", UriError::Host),
            ("ws://:80", UriError::Host),
            ("ws://a b", UriError::Host),
            ("ws://bücher.example", UriError::Host),
            ("ws://[::1", UriError::Host),
            ("ws://[::g]", UriError::Host),
            ("ws://[::1]x", UriError::Host),
            ("ws://h:0", UriError::Port),
            ("ws://h:65536", UriError::Port),
            ("ws://h:+80", UriError::Port),
            ("ws://h:8a", UriError::Port),
            ("tcp://h", UriError::Port),
            ("tls://h", UriError::Port),
            ("ws://user@h", UriError::UserInfo),
            ("ws://user:pass@h:80", UriError::UserInfo),
            ("ws://h/p#x", UriError::Fragment),
            ("ws://h/a b", UriError::Path),
            ("ws://h/ü", UriError::Path),
            ("ws://h/\r\nx: y", UriError::Path),
            ("tcp://h:1/path", UriError::Path),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_prints_as_it_can_be_parsed_again() {
        for text in [
            "ws://h/",
            "wss://[::1]:9/p?q",
            "tcp://h:1",
            "tls://h:1",
            "unix:/a",
            "tls+unix:/a",
            "ws+unix:/a:/b?c",
        ] {
            assert_eq!(text.parse::<Uri>().unwrap().to_string(), text);
        }
    }
}
