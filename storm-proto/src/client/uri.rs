//! Where a client connects to (RFC 6455 section 3, RFC 3986).

use alloc::string::String;
use core::fmt;
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
        /// Without the brackets of an IPv6 address.
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
///   `tls+unix:..`
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

    /// The host name or address, without brackets; `localhost` for a Unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.target {
            Target::Tcp { host, .. } => host,
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
        let host = self.host();
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
            (Target::Tcp { .. }, scheme) => {
                write!(f, "{}://{}{resource}", scheme.name(), self.authority())
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
            UriError::Socket => "the path of the unix socket is not absolute",
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
        if let Some((scheme, path)) = text.split_once("unix:") {
            return parse_unix(scheme, path);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = [Scheme::Ws, Scheme::Wss, Scheme::Tcp, Scheme::Tls]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(scheme))
            .ok_or(UriError::Scheme)?;
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
        let target = Target::Tcp { host: host.into(), port };
        Ok(Uri { scheme, target, resource: parse_resource(scheme, resource)? })
    }
}

/// What stands behind `unix:`, with what stood before it.
fn parse_unix(scheme: &str, path: &str) -> Result<Uri, UriError> {
    let scheme = match scheme {
        "" => Scheme::Tcp,
        "ws+" => Scheme::Ws,
        "wss+" => Scheme::Wss,
        "tls+" => Scheme::Tls,
        _ => return Err(UriError::Scheme),
    };
    if path.contains('#') {
        return Err(UriError::Fragment);
    }
    let (path, resource) = match path.split_once(':') {
        Some((path, resource)) if scheme.is_websocket() => (path, resource),
        _ => (path, ""),
    };
    if !path.starts_with('/') || path.contains('\0') {
        return Err(UriError::Socket);
    }
    let target = Target::Unix { path: path.into() };
    Ok(Uri { scheme, target, resource: parse_resource(scheme, resource)? })
}

/// Host and port, if one stands there, of what has no user.
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    if authority.contains('@') {
        return Err(UriError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UriError::Host)?;
            if address.parse::<core::net::Ipv6Addr>().is_err() {
                return Err(UriError::Host);
            }
            (address, port)
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
        assert_eq!("http+unix:/a".parse::<Uri>(), Err(UriError::Scheme));
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
