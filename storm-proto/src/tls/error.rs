//! What can go wrong in TLS, and whose fault it is.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;
use std::io;

use rustls::Error;

/// Why TLS could not be set up, or had to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    text: Box<str>,
}

/// What kind of failure it was, and whose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// Local: the options cannot be used, such as a key that does not fit its certificate.
    Config,
    /// The peer: its first byte belongs to no TLS record.
    NotTls,
    /// The peer: it speaks plain HTTP on a port of TLS; it was answered 400.
    PlainHttp,
    /// The peer: its certificate is missing or not trusted.
    Certificate,
    /// The peer: it ended the connection with an alert, such as for our certificate.
    Alert,
    /// The peer: it broke the protocol, or has no version or cipher in common with this side.
    Protocol,
    /// The network: bytes were changed on their way.
    Corrupt,
    /// The network or the peer: the stream ended without `close_notify`.
    Truncated,
}

impl TlsError {
    pub(crate) fn new(kind: TlsErrorKind, text: impl Into<Box<str>>) -> TlsError {
        TlsError { kind, text: text.into() }
    }

    pub(crate) fn config(problem: impl fmt::Display) -> TlsError {
        TlsError::new(TlsErrorKind::Config, problem.to_string())
    }

    pub(crate) fn truncated() -> TlsError {
        let text = "the stream ended without close_notify: bytes may have been cut off";
        TlsError::new(TlsErrorKind::Truncated, text)
    }

    /// The error of a client whose server does not speak TLS.
    pub(crate) fn not_tls() -> TlsError {
        let text = "the server does not speak tls at this address: use ws:// or tcp:// for it";
        TlsError::new(TlsErrorKind::NotTls, text)
    }

    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    /// The error of TLS that a transport has handed through, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<TlsError> {
        error.get_ref()?.downcast_ref::<TlsError>().cloned()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls: {}", self.text)
    }
}

impl core::error::Error for TlsError {}

impl From<Error> for TlsError {
    fn from(error: Error) -> TlsError {
        let kind = match &error {
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::InvalidCertRevocationList(_) => TlsErrorKind::Certificate,
            Error::AlertReceived(_) => TlsErrorKind::Alert,
            Error::DecryptError => TlsErrorKind::Corrupt,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerIncompatible(_)
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::NoApplicationProtocol => TlsErrorKind::Protocol,
            _ => TlsErrorKind::Config,
        };
        TlsError::new(kind, error.to_string())
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        let kind = match error.kind {
            TlsErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            TlsErrorKind::Config => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
