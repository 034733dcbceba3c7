//! Why there is no way through a proxy, and whose fault it is.

use core::fmt;

use super::SocksReply;
use crate::client::reconnect::{Verdict, is_passing};
use crate::websocket::handshake::HeadLimit;

/// Why there is no way through a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// Local: the scheme of the proxy's address is missing or is none of those of
    /// [`Proxy`](super::Proxy).
    Scheme,
    /// Local: the host of the proxy's address is missing or has characters that no host has.
    Host,
    /// Local: the port of the proxy's address is no number from 1 to 65,535.
    Port,
    /// Local: something stands behind the host and port of the proxy's address.
    Path,
    /// Local: user and password are not percent-encoded well, or cannot be sent: Basic allows
    /// no colon in the user and no control characters (RFC 7617), SOCKS5 255 bytes each.
    Credentials,
    /// Local: the host to be reached has more than 255 bytes, or characters that no host has.
    Target,
    /// The proxy answered CONNECT with this status; with 407 it wants other credentials.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The proxy speaks SOCKS5, but wants another kind of authentication, or one at all.
    Authentication,
    /// The proxy speaks SOCKS5 and did not accept user and password.
    Login,
    /// The proxy speaks SOCKS5 and did not connect.
    Socks(SocksReply),
    /// The answer is no valid one of the protocol.
    InvalidResponse,
    /// The head of the answer to CONNECT is over one of the default
    /// [`HeadLimits`](crate::websocket::handshake::HeadLimits).
    TooLarge(HeadLimit),
    /// The stream ended before the tunnel was open.
    EndOfStream,
}

impl ProxyError {
    /// The HTTP status, if the proxy refused with one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            ProxyError::Refused { status } => Some(*status),
            _ => None,
        }
    }

    /// What cannot be connected to now may be later; who may not connect now may not later.
    pub(crate) const fn verdict(&self) -> Verdict {
        match self {
            ProxyError::Refused { status } if is_passing(*status) => Verdict::RETRY,
            ProxyError::Socks(reply) if reply.is_passing() => Verdict::RETRY,
            ProxyError::EndOfStream => Verdict::RETRY,
            _ => Verdict::Final,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::Scheme => "the address of the proxy must start with http:// or socks5://",
            ProxyError::Host => "the address of the proxy has no valid host",
            ProxyError::Port => "the address of the proxy has no valid port",
            ProxyError::Path => "the address of the proxy must end with host and port",
            ProxyError::Credentials => {
                "user and password of the proxy are not percent-encoded or cannot be sent"
            }
            ProxyError::Target => "the proxy cannot be asked for this host",
            ProxyError::Refused { status: 407 } => {
                "the proxy wants a valid user and password (status 407)"
            }
            ProxyError::Refused { status } => {
                return write!(f, "the proxy refused with status {status}");
            }
            ProxyError::Authentication => "the proxy wants another kind of authentication",
            ProxyError::Login => "the proxy did not accept user and password",
            ProxyError::Socks(reply) => return write!(f, "the proxy did not connect: {reply}"),
            ProxyError::InvalidResponse => "the proxy did not answer as one",
            ProxyError::TooLarge(limit) => {
                return write!(f, "the proxy's answer is over a limit: {limit}");
            }
            ProxyError::EndOfStream => "the proxy closed before the tunnel was open",
        })
    }
}

impl core::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_retry_cures_what_is_unreachable_and_not_what_is_forbidden() {
        let refused = |status| ProxyError::Refused { status };
        for error in [
            refused(503),
            refused(429),
            ProxyError::Socks(SocksReply::HostUnreachable),
            ProxyError::EndOfStream,
        ] {
            assert_eq!(error.verdict(), Verdict::RETRY, "{error}");
        }
        for error in [
            refused(407),
            refused(403),
            ProxyError::Socks(SocksReply::NotAllowed),
            ProxyError::Login,
            ProxyError::Scheme,
            ProxyError::InvalidResponse,
        ] {
            assert_eq!(error.verdict(), Verdict::Final, "{error}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let text = ProxyError::Refused { status: 407 }.to_string();
        assert_eq!(text, "the proxy wants a valid user and password (status 407)");
        let text = ProxyError::Socks(SocksReply::NotAllowed).to_string();
        assert_eq!(text, "the proxy did not connect: its rules do not allow it");
    }
}
