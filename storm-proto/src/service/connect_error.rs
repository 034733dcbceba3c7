//! Why a connect failed, and whether another may succeed.

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use super::probe::Probe;
use super::session::Session;
use crate::client::proxy::ProxyError;
use crate::client::reconnect::Verdict;
use crate::client::uri::{Uri, UriError};
#[cfg(feature = "tls")]
use crate::error::Error;
use crate::error::{OptionError, TransportError};
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsErrorKind};
use crate::websocket::handshake::HandshakeError;

/// Why a connect failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// Local: the address cannot be connected to. Nothing was tried.
    Uri(UriError),
    /// Local: the address needs TLS, which this build does not have. It never falls back to
    /// plain.
    NoTls,
    /// Local: an option has no sense, or none beside the address and the other options. Nothing
    /// was tried.
    Option(OptionError),
    /// TLS failed; its kind says whose fault that is.
    #[cfg(feature = "tls")]
    Tls(TlsError),
    /// The network: the name was not found, or no address answered.
    Transport(TransportError),
    /// The proxy: it refused, does not speak as one, or cannot be asked.
    Proxy(ProxyError),
    /// The server refused or does not speak WebSocket; or what was to be sent cannot be.
    Handshake(HandshakeError),
    /// The deadline over all of it passed, possibly in a call of `on_connected`.
    Timeout(Duration),
    /// Local: there is no runtime to run on, or it takes no more tasks. Its message says which.
    Runtime(Arc<io::Error>),
}

impl ConnectError {
    /// The HTTP status, if the server refused with one; that of a proxy stands in its error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ConnectError::Handshake(error) => error.status(),
            _ => None,
        }
    }

    /// True if the same connect may succeed later: the network failed, time ran out, the
    /// server or a proxy refused with 408, 425, 429 or 5xx, or the proxy did not reach the
    /// server. Whatever is wrong with the address, the request or the kind of server stays so.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.verdict() != Verdict::Final
    }

    /// How long the server that refused wants to be left alone (`Retry-After`, RFC 9110
    /// section 10.2.3), as it says: it may be any time. None if it said nothing, named a date,
    /// or refused for good.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.verdict() {
            Verdict::Retry { after } => after,
            Verdict::Final => None,
        }
    }

    /// What made the handshake of TLS fail.
    #[cfg(feature = "tls")]
    pub(crate) fn of_tls(error: std::io::Error) -> ConnectError {
        match TlsError::of(&error) {
            Some(error) => ConnectError::Tls(error),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let text = "the server closed before it answered";
                ConnectError::Tls(TlsError::new(TlsErrorKind::Truncated, text))
            }
            None => ConnectError::Transport(error.into()),
        }
    }

    /// What a server is asked that has ended a handshake like this: if it speaks the other of
    /// `ws` and `wss`.
    pub(super) fn probe(&self, uri: &Uri) -> Option<Probe> {
        let is_secure = uri.scheme().is_secure();
        match self {
            ConnectError::Handshake(HandshakeError::EndOfStream) if !is_secure => Some(Probe::Tls),
            ConnectError::Transport(_) if is_secure && uri.scheme().is_websocket() => {
                Some(Probe::Http)
            }
            #[cfg(feature = "tls")]
            ConnectError::Tls(error)
                if uri.scheme().is_websocket() && error.kind() == TlsErrorKind::Truncated =>
            {
                Some(Probe::Http)
            }
            _ => None,
        }
    }

    /// The cause that a probe has found.
    pub(super) fn of_probe(probe: Probe) -> ConnectError {
        match probe {
            Probe::Tls => ConnectError::Handshake(HandshakeError::Tls),
            #[cfg(feature = "tls")]
            Probe::Http => ConnectError::Tls(TlsError::not_tls()),
            #[cfg(not(feature = "tls"))]
            Probe::Http => ConnectError::NoTls,
        }
    }

    /// Why the stream of a handshake ended: with TLS 1.3 a server may refuse a client's
    /// certificate as late as this.
    pub(crate) fn of_end(session: &Session) -> ConnectError {
        #[cfg(feature = "tls")]
        if let Some(Error::Tls(error)) = session.shared().fault() {
            return ConnectError::Tls(error);
        }
        let _ = session;
        ConnectError::Handshake(HandshakeError::EndOfStream)
    }

    pub(crate) fn of_runtime(error: io::Error) -> ConnectError {
        ConnectError::Runtime(Arc::new(error))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            #[cfg(feature = "tls")]
            ConnectError::Tls(error) => match error.kind() {
                TlsErrorKind::Corrupt | TlsErrorKind::Truncated => Verdict::RETRY,
                _ => Verdict::Final,
            },
            ConnectError::Uri(_)
            | ConnectError::NoTls
            | ConnectError::Option(_)
            | ConnectError::Runtime(_) => Verdict::Final,
            ConnectError::Transport(_) | ConnectError::Timeout(_) => Verdict::RETRY,
            ConnectError::Proxy(error) => error.verdict(),
            ConnectError::Handshake(error) => Verdict::of_handshake(error),
        }
    }
}

impl From<OptionError> for ConnectError {
    fn from(error: OptionError) -> ConnectError {
        ConnectError::Option(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Uri(error) => error.fmt(f),
            ConnectError::Option(error) => error.fmt(f),
            ConnectError::NoTls => {
                f.write_str("the address needs tls, which this build does not have")
            }
            #[cfg(feature = "tls")]
            ConnectError::Tls(error) => error.fmt(f),
            ConnectError::Transport(error) => error.fmt(f),
            ConnectError::Proxy(error) => error.fmt(f),
            ConnectError::Handshake(error) => error.fmt(f),
            ConnectError::Runtime(error) => error.fmt(f),
            ConnectError::Timeout(timeout) => {
                write!(f, "not connected within {} ms", timeout.as_millis())
            }
        }
    }
}

impl core::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TransportErrorKind;
    use crate::random::Random;
    use crate::websocket::handshake::{ClientHandshake, HeadLimits, Offer};

    fn refused(answer: &str) -> ConnectError {
        let uri = "ws://h/".parse().unwrap();
        let mut random = Random::from_seed(1);
        let (mut handshake, _) =
            ClientHandshake::new(&uri, &Offer::new(), HeadLimits::new(), &mut random).unwrap();
        let answered = handshake.receive(&mut answer.as_bytes());
        ConnectError::Handshake(answered.unwrap().unwrap_err())
    }

    #[test]
    fn the_network_may_come_back_and_a_wrong_address_stays_wrong() {
        let transport = TransportError::new(TransportErrorKind::Refused, None);
        for (error, retryable) in [
            (ConnectError::Transport(transport), true),
            (ConnectError::Timeout(Duration::from_secs(10)), true),
            (ConnectError::Handshake(HandshakeError::EndOfStream), true),
            (ConnectError::Handshake(HandshakeError::AcceptKey), false),
            (ConnectError::Proxy(ProxyError::Refused { status: 502 }), true),
            (ConnectError::Proxy(ProxyError::Refused { status: 407 }), false),
            (ConnectError::Uri(UriError::Host), false),
            (ConnectError::NoTls, false),
        ] {
            assert_eq!(error.is_retryable(), retryable, "{error}");
            assert_eq!(error.retry_after(), None, "{error}");
        }
    }

    #[test]
    fn a_refusal_says_itself_whether_and_when() {
        let busy = refused("HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: 900\r\n\r\n");
        assert_eq!((busy.status(), busy.is_retryable()), (Some(503), true));
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(900)));
        let never = refused("HTTP/1.1 401 x\r\nContent-Length: 0\r\nRetry-After: 900\r\n\r\n");
        assert_eq!((never.status(), never.is_retryable()), (Some(401), false));
        assert_eq!(never.retry_after(), None);
    }
}
