//! A way through a proxy: a tunnel is asked for, and what is spoken in it is end to end.
//!
//! ```text
//!   client                                        proxy
//!   Tunnel::new  --- CONNECT, or a greeting --->
//!   Tunnel::receive  <--- answer ---                      Progress::Send: send, go on
//!                                                         Progress::Open: bytes of the server
//! ```
//!
//! Names are looked up by the proxy, never here: a look-up of our own would tell the local
//! network what is visited, and may not know the name at all.

mod connect;
mod environment;
mod error;
mod socks5;
pub(crate) mod tunnel;

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::uri::{Target, one_form, parse_port, split_authority, split_scheme};

pub use error::ProxyError;
pub use socks5::SocksReply;

/// A checked address of a proxy:
///
/// - `http://[user:password@]host[:port]`: CONNECT (RFC 9110 section 9.3.6); port 80
/// - `socks5://[user:password@]host[:port]`, or `socks5h` or `socks`, which are the same here:
///   SOCKS5 (RFC 1928); port 1080
///
/// Scheme and host compare without case.
/// User and password are percent-encoded where they have `:`, `@`, `/` or `%`. They go to
/// the proxy as they are: what is between here and the proxy can read them.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    target: Target,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Http,
    Socks5,
}

/// Who asks, decoded: the bytes that the proxy is told.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Proxy {
    /// Where the socket of the proxy is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }
}

impl fmt::Debug for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut proxy = f.debug_struct("Proxy");
        proxy.field("kind", &self.kind).field("target", &self.target);
        proxy.field("credentials", &self.credentials).finish()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Proxy, ProxyError> {
        let (scheme, rest) = split_scheme(text).ok_or(ProxyError::Scheme)?;
        let rest = rest.strip_prefix("//").ok_or(ProxyError::Scheme)?;
        let (kind, default_port) = match &scheme.to_ascii_lowercase()[..] {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" | "socks" => (Kind::Socks5, 1080),
            _ => return Err(ProxyError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(ProxyError::Path);
        }
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Credentials::parse(userinfo, kind)?, authority),
            None => (None, authority),
        };
        let (host, port) = split_authority(authority).map_err(|_| ProxyError::Host)?;
        let port = match port {
            None | Some("") => default_port,
            Some(digits) => parse_port(digits).map_err(|_| ProxyError::Port)?,
        };
        Ok(Proxy { kind, target: Target::Tcp { host: one_form(host), port }, credentials })
    }
}

impl Credentials {
    fn parse(userinfo: &str, kind: Kind) -> Result<Option<Credentials>, ProxyError> {
        if userinfo.is_empty() {
            return Ok(None);
        }
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let decoded = percent_decode(user).zip(percent_decode(password));
        let credentials = decoded.map(|(user, password)| Credentials { user, password });
        match credentials {
            Some(credentials) if credentials.can_be_sent(kind) => Ok(Some(credentials)),
            _ => Err(ProxyError::Credentials),
        }
    }

    fn can_be_sent(&self, kind: Kind) -> bool {
        let both = [&self.user, &self.password];
        match kind {
            // RFC 7617 section 2.
            Kind::Http => {
                !self.user.contains(&b':')
                    && !both.iter().any(|text| text.iter().any(u8::is_ascii_control))
            }
            // RFC 1929 section 2: lengths are one byte.
            Kind::Socks5 => both.iter().all(|text| text.len() <= 255),
        }
    }
}

/// RFC 3986 section 2.1; `None` if a percent sign has no two digits behind it.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return None };
        rest = behind;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_proxy_has_a_kind_a_host_a_port_and_maybe_credentials() {
        for (text, kind, host, port, credentials) in [
            ("http://proxy:3128", Kind::Http, "proxy", 3128, None),
            ("HTTP://proxy.example/", Kind::Http, "proxy.example", 80, None),
            ("socks5://[::1]:9050", Kind::Socks5, "::1", 9050, None),
            ("socks5h://10.0.0.1", Kind::Socks5, "10.0.0.1", 1080, None),
            ("http://user:pass@p:1", Kind::Http, "p", 1, Some(("user", "pass"))),
            ("socks5://a%3Ab:c%40%2f%25@p", Kind::Socks5, "p", 1080, Some(("a:b", "c@/%"))),
            ("http://u:p:q@r@p", Kind::Http, "p", 80, Some(("u", "p:q@r"))),
            ("http://user@p", Kind::Http, "p", 80, Some(("user", ""))),
            ("http://b%c3%bccher:@p", Kind::Http, "p", 80, Some(("bücher", ""))),
            ("http://@p", Kind::Http, "p", 80, None),
            ("socks://127.0.0.1:1081/", Kind::Socks5, "127.0.0.1", 1081, None),
            ("SOCKS5H://Proxy.Example", Kind::Socks5, "proxy.example", 1080, None),
            ("http://[fe80::1%25eth0]:8080", Kind::Http, "fe80::1%eth0", 8080, None),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.kind, kind, "{text}");
            assert_eq!(*proxy.target(), Target::Tcp { host: host.into(), port }, "{text}");
            let credentials = credentials.map(|(user, password)| Credentials {
                user: user.as_bytes().into(),
                password: password.as_bytes().into(),
            });
            assert!(proxy.credentials == credentials, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_proxy_is_told_apart() {
        let long = "x".repeat(256);
        for (text, error) in [
            ("", ProxyError::Scheme),
            ("proxy:3128", ProxyError::Scheme),
            ("https://proxy:3128", ProxyError::Scheme),
            ("socks4://proxy:1080", ProxyError::Scheme),
            ("http://", ProxyError::Host),
            ("http://user:pass@", ProxyError::Host),
            ("http://a b:1", ProxyError::Host),
            ("http://p\r\nx", ProxyError::Host),
            ("http://[::1:1", ProxyError::Host),
            ("http://p:0", ProxyError::Port),
            ("http://p:65536", ProxyError::Port),
            ("http://p:+1", ProxyError::Port),
            ("http://p:1/path", ProxyError::Path),
            ("http://p:1//", ProxyError::Path),
            ("http://p:1?q", ProxyError::Path),
            ("http://p:1#f", ProxyError::Path),
            ("http://a%3ab:c@p", ProxyError::Credentials),
            ("http://a:%0d%0a@p", ProxyError::Credentials),
            ("http://a:%@p", ProxyError::Credentials),
            ("http://a:%4@p", ProxyError::Credentials),
            ("http://a:%4g@p", ProxyError::Credentials),
            ("http://a:%+4@p", ProxyError::Credentials),
            (&alloc::format!("socks5://{long}@p"), ProxyError::Credentials),
            (&alloc::format!("socks5://u:{long}@p"), ProxyError::Credentials),
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(error), "{text}");
        }
    }
}
