//! What a server shows, and what it asks of its clients.

use alloc::string::String;
use core::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::vec::Vec;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::facts::TlsVersion;
use super::identity::TlsIdentity;
use super::roots::TlsRoots;
use super::{HTTP_1_1, provider, versions};

/// TLS for a server. Clones are handles on the same: what one of them is told by
/// [`TlsServer::replace`] holds for all, and for every connection accepted from then on.
#[derive(Clone)]
pub struct TlsServer {
    current: Arc<RwLock<Configs>>,
}

/// The same twice, but for the protocol that ALPN agrees on.
#[derive(Clone)]
struct Configs {
    framed: Arc<ServerConfig>,
    websocket: Arc<ServerConfig>,
}

impl TlsServer {
    /// Shows `identity` to everybody, asks clients for nothing, speaks TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// As [`TlsServerOptions::build`].
    pub fn new(identity: TlsIdentity) -> Result<TlsServer, TlsError> {
        TlsServer::options(identity).build()
    }

    /// As [`TlsServer::new`], with more to say.
    pub fn options(identity: TlsIdentity) -> TlsServerOptions {
        TlsServerOptions {
            identity,
            named: Vec::new(),
            may: None,
            must: None,
            alpn: None,
            lowest: TlsVersion::Tls12,
        }
    }

    /// Takes a ready configuration, as it is. Early data (0-RTT) is not spoken: a
    /// configuration that allows it makes such connections fail.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> TlsServer {
        TlsServer::of(Configs { framed: config.clone(), websocket: config })
    }

    /// Takes over what `other` has, for connections to come; those that are open stay as they
    /// are. This is how a renewed certificate is put in place.
    pub fn replace(&self, other: &TlsServer) {
        let configs = other.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = configs;
    }

    /// The configuration of the next connection.
    pub(crate) fn config(&self, websocket: bool) -> Arc<ServerConfig> {
        let configs = self.current();
        if websocket { configs.websocket } else { configs.framed }
    }

    fn of(configs: Configs) -> TlsServer {
        TlsServer { current: Arc::new(RwLock::new(configs)) }
    }

    fn current(&self) -> Configs {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// What can be said of TLS on a server; made by [`TlsServer::options`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct TlsServerOptions {
    identity: TlsIdentity,
    named: Vec<(String, TlsIdentity)>,
    /// Roots of certificates that clients may show, and that they must show.
    may: Option<TlsRoots>,
    must: Option<TlsRoots>,
    alpn: Option<Vec<Vec<u8>>>,
    lowest: TlsVersion,
}

impl TlsServerOptions {
    /// Shows another identity to clients that ask for `name` (SNI): a host name, or
    /// `*.example.com` for all names one label below.
    pub fn identity_for(mut self, name: &str, identity: TlsIdentity) -> TlsServerOptions {
        self.named.push((name.to_ascii_lowercase(), identity));
        self
    }

    /// Asks clients for a certificate that `roots` vouch for, and takes those without one
    /// too: see [`TlsFacts::peer_certificates`](super::TlsFacts::peer_certificates). Has no effect
    /// beside [`TlsServerOptions::require_client_certificates`].
    pub fn client_certificates(mut self, roots: TlsRoots) -> TlsServerOptions {
        self.may = Some(roots);
        self
    }

    /// Takes only clients with a certificate that `roots` vouch for.
    pub fn require_client_certificates(mut self, roots: TlsRoots) -> TlsServerOptions {
        self.must = Some(roots);
        self
    }

    /// Sets the protocols of ALPN (RFC 7301), the most wanted first. A client that offers
    /// only others is refused. A WebSocket has `http/1.1` by default, plain TCP none.
    pub fn alpn<P: Into<Vec<u8>>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> TlsServerOptions {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the lowest version; TLS 1.2.
    pub fn lowest_version(mut self, version: TlsVersion) -> TlsServerOptions {
        self.lowest = version;
        self
    }

    /// Checks the options and makes a server's TLS of them.
    ///
    /// # Errors
    /// If the roots of clients cannot be used.
    pub fn build(self) -> Result<TlsServer, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(self.lowest))
            .map_err(TlsError::config)?;
        let verifier = |roots: &TlsRoots| {
            let store = roots.of_clients()?;
            Ok::<_, TlsError>(WebPkiClientVerifier::builder_with_provider(store, provider()))
        };
        let builder = match (&self.must, &self.may) {
            (None, None) => builder.with_no_client_auth(),
            (None, Some(roots)) => builder.with_client_cert_verifier(
                verifier(roots)?.allow_unauthenticated().build().map_err(TlsError::config)?,
            ),
            (Some(roots), _) => builder
                .with_client_cert_verifier(verifier(roots)?.build().map_err(TlsError::config)?),
        };
        let named = self.named.into_iter().map(|(name, identity)| (name, identity.key));
        let shown = ByName { default: self.identity.key, named: named.collect() };
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        // Half of them would only be thrown away: each client resumes with one.
        config.send_tls13_tickets = 1;
        let mut websocket = config.clone();
        config.alpn_protocols = self.alpn.clone().unwrap_or_default();
        websocket.alpn_protocols = self.alpn.unwrap_or_else(|| alloc::vec![HTTP_1_1.to_vec()]);
        Ok(TlsServer::of(Configs { framed: Arc::new(config), websocket: Arc::new(websocket) }))
    }
}

/// Chooses among identities by the name that a client asks for.
#[derive(Debug)]
struct ByName {
    default: Arc<CertifiedKey>,
    named: Vec<(String, Arc<CertifiedKey>)>,
}

impl ByName {
    fn choose(&self, asked: &str) -> &Arc<CertifiedKey> {
        let above = asked.split_once('.').map(|(_, above)| above);
        let is_asked = |name: &str| match name.strip_prefix("*.") {
            Some(domain) => above.is_some_and(|above| above.eq_ignore_ascii_case(domain)),
            None => name.eq_ignore_ascii_case(asked),
        };
        let exact = self.named.iter().find(|(name, _)| name.eq_ignore_ascii_case(asked));
        let found = exact.or_else(|| self.named.iter().find(|(name, _)| is_asked(name)));
        found.map_or(&self.default, |(_, key)| key)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().map_or(&self.default, |name| self.choose(name)).clone())
    }
}
