//! What the handshake agreed on.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rustls::pki_types::CertificateDer;
use rustls::{Connection, ProtocolVersion};

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls12 => "TLS 1.2",
            TlsVersion::Tls13 => "TLS 1.3",
        })
    }
}

/// What the handshake agreed on: seen by `on_connecting` through the request, and afterwards
/// through the session.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The version.
    pub version: TlsVersion,
    /// The name of the cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// The protocol agreed on with ALPN (RFC 7301), if any.
    pub alpn: Option<Vec<u8>>,
    /// On a server: the name that the client asked for (SNI, RFC 6066 section 3), if any.
    pub server_name: Option<String>,
    /// The peer's certificates in DER, its own first. On a server they are there if the client
    /// was asked for one and had it, and were verified.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// The handshake took up an earlier session.
    pub resumed: bool,
}

impl TlsFacts {
    /// Known once the handshake is over.
    pub(crate) fn of(connection: &Connection) -> Option<TlsFacts> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let server_name = match connection {
            Connection::Server(server) => server.server_name().map(String::from),
            Connection::Client(_) => None,
        };
        Some(TlsFacts {
            version,
            cipher_suite: connection.negotiated_cipher_suite()?.suite().as_str()?,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            peer_certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }
}
