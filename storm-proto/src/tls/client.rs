//! Whom a client trusts, and what it shows.

use alloc::string::{String, ToString};
use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::facts::TlsVersion;
use super::identity::TlsIdentity;
use super::roots::TlsRoots;
use super::{HTTP_1_1, provider, versions};

/// TLS for a client. Clones share what it remembers of servers, so that handshakes are
/// shorter the second time.
#[derive(Clone)]
pub struct TlsClient {
    framed: Arc<ClientConfig>,
    websocket: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl TlsClient {
    /// Trusts what the platform trusts, shows nothing, speaks TLS 1.2 and 1.3: the default
    /// of a secure address.
    ///
    /// # Errors
    /// If the platform trusts nobody, or cannot be asked.
    pub fn new() -> Result<TlsClient, TlsError> {
        TlsClient::options().build()
    }

    /// As [`TlsClient::new`], with more to say.
    pub fn options() -> TlsClientOptions {
        TlsClientOptions {
            roots: None,
            blind: false,
            identity: None,
            server_name: None,
            alpn: None,
            lowest: TlsVersion::Tls12,
        }
    }

    /// Takes a ready configuration, as it is. Early data (0-RTT) is not spoken.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> TlsClient {
        TlsClient { framed: config.clone(), websocket: config, server_name: None }
    }

    /// The configuration of a connection.
    pub(crate) fn config(&self, websocket: bool) -> Arc<ClientConfig> {
        if websocket { self.websocket.clone() } else { self.framed.clone() }
    }

    /// The name to ask for and to verify, for the host of an address.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(host),
        }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn parse_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bad = |_| TlsError::config(format_args!("{host} is no name that a certificate can have"));
    ServerName::try_from(host.to_string()).map_err(bad)
}

/// What can be said of TLS on a client; made by [`TlsClient::options`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct TlsClientOptions {
    roots: Option<TlsRoots>,
    /// Takes any certificate.
    blind: bool,
    identity: Option<TlsIdentity>,
    server_name: Option<String>,
    alpn: Option<Vec<Vec<u8>>>,
    lowest: TlsVersion,
}

impl TlsClientOptions {
    /// Sets whom to trust; what the platform trusts by default.
    pub fn roots(mut self, roots: TlsRoots) -> TlsClientOptions {
        self.roots = Some(roots);
        self
    }

    /// Shows a certificate to servers that ask for one.
    pub fn identity(mut self, identity: TlsIdentity) -> TlsClientOptions {
        self.identity = Some(identity);
        self
    }

    /// Asks for and verifies this name instead of the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> TlsClientOptions {
        self.server_name = Some(name.into());
        self
    }

    /// Sets the protocols of ALPN (RFC 7301). A WebSocket offers `http/1.1` by default, plain
    /// TCP none.
    pub fn alpn<P: Into<Vec<u8>>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> TlsClientOptions {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the lowest version; TLS 1.2.
    pub fn lowest_version(mut self, version: TlsVersion) -> TlsClientOptions {
        self.lowest = version;
        self
    }

    /// Talks to whoever answers, **whatever certificate it shows** and whatever roots are set.
    /// Anybody on the way can read and change everything. For tests only.
    pub fn dangerous_accept_any_certificate(mut self) -> TlsClientOptions {
        self.blind = true;
        self
    }

    /// Checks the options and makes a client's TLS of them.
    ///
    /// # Errors
    /// If the roots cannot be used, or the server's name is none.
    pub fn build(self) -> Result<TlsClient, TlsError> {
        let verifier: Arc<dyn ServerCertVerifier> = match self.roots {
            _ if self.blind => Arc::new(Blind(provider())),
            Some(roots) => roots.verifier()?,
            None => TlsRoots::platform().verifier()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(self.lowest))
            .map_err(TlsError::config)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(Only(identity.key))),
            None => builder.with_no_client_auth(),
        };
        let mut websocket = config.clone();
        config.alpn_protocols = self.alpn.clone().unwrap_or_default();
        websocket.alpn_protocols = self.alpn.unwrap_or_else(|| alloc::vec![HTTP_1_1.to_vec()]);
        Ok(TlsClient {
            framed: Arc::new(config),
            websocket: Arc::new(websocket),
            server_name: self.server_name.as_deref().map(parse_name).transpose()?,
        })
    }
}

/// Shows the one certificate to every server that asks.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any certificate, but only from one who holds its key.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
