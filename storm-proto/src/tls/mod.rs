//! TLS 1.2 and 1.3 below every protocol, with rustls.
//!
//! One option turns it on, and nothing else changes: `Server::tls` on a server, the scheme
//! `wss` or `tls` on a client. It is a stage between the bytes of the socket and the protocol,
//! so every runtime has it, and no adapter knows of it.
//!
//! ```no_run
//! use storm_proto::tls::{TlsIdentity, TlsServer};
//!
//! let tls = TlsServer::new(TlsIdentity::from_files("chain.pem", "key.pem")?)?;
//! // Server::bind("0.0.0.0:443").tls(tls.clone())..; and when the certificate is renewed:
//! tls.replace(&TlsServer::new(TlsIdentity::from_files("chain.pem", "key.pem")?)?);
//! # Ok::<(), storm_proto::tls::TlsError>(())
//! ```
//!
//! # What holds
//!
//! - A secure address is never spoken to in plain, and a proxy sees only that there is TLS.
//! - The handshake deadline covers TLS and the request together.
//! - Water marks, deadlines and counters are those of plaintext: a byte counts as written once
//!   the socket has taken the record that it is in.
//! - What one turn of a connection queued is sealed at once: a hundred small frames are one
//!   record.
//! - Every orderly end says so (`close_notify`). A stream that ends without it was cut off:
//!   on plain TCP that is a fault ([`TlsErrorKind::Truncated`]), while a WebSocket has its
//!   Close frames to tell.
//! - A plain HTTP request on a TLS port is answered 400, and anything else that is no TLS ends
//!   the connection at its first byte.
//!
//! # What it costs
//!
//! An idle connection keeps 7.7 KiB more than a plain one: 4 KiB of room that rustls reads
//! into, 1.2 KiB of its connection, and the rest keys, their schedules and what it remembers of
//! the handshake. A server's sessions to resume are 256 for all connections together. While
//! records wait for a slow peer, up to 64 KiB of them stand beside their plaintext.
//!
//! rustls reads the system's clock to judge certificates, and draws its randomness from its
//! provider; both can be replaced in a configuration of the caller's own.
//!
//! # Providers
//!
//! The provider is always handed to rustls, so no process-wide default is looked at or set.
//! By default it is **ring**: half the build time, no C toolchain beyond a compiler, and a
//! short list of licences (Apache-2.0, ISC). The feature `tls-aws-lc` takes **aws-lc-rs**,
//! which is faster on large messages, offers post-quantum key exchange (X25519MLKEM768), and
//! can be had with FIPS.

mod client;
mod error;
mod facts;
mod identity;
mod roots;
mod server;
mod stage;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

pub use client::{TlsClient, TlsClientOptions};
pub use error::{TlsError, TlsErrorKind};
pub use facts::{TlsFacts, TlsVersion};
pub use identity::TlsIdentity;
pub use roots::TlsRoots;
/// The rustls that this crate is built with, for configurations of the caller's own.
pub use rustls;
pub use server::{TlsServer, TlsServerOptions};
pub use stage::TlsStage;

/// What RFC 7301 calls the protocol of a WebSocket before its upgrade.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The provider of everything cryptographic.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "tls-aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "tls-aws-lc"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

/// The versions from `lowest` on.
fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match lowest {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

#[cfg(all(test, feature = "self-signed"))]
mod tests;
