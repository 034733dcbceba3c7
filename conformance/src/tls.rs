//! TLS as the command line knows it.

use std::path::PathBuf;

use clap::Args;
use storm_proto::tls::{TlsClient, TlsError, TlsIdentity, TlsRoots, TlsServer};

/// What a server shows.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// Speaks TLS, with a certificate of its own making if none is given.
    #[arg(long)]
    tls: bool,
    /// Its chain of certificates, a PEM file.
    #[arg(long, requires_all = ["tls", "key"])]
    certificate: Option<PathBuf>,
    /// Its private key, a PEM file.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// Takes only clients that these certificates, a PEM file, vouch for.
    #[arg(long, requires = "tls")]
    client_roots: Option<PathBuf>,
}

impl ServerOptions {
    /// TLS, if it is wanted.
    pub(crate) fn build(&self) -> Result<Option<TlsServer>, TlsError> {
        if !self.tls {
            return Ok(None);
        }
        let identity = match identity(&self.certificate, &self.key)? {
            Some(identity) => identity,
            None => TlsIdentity::self_signed(["localhost", "127.0.0.1", "::1"])?,
        };
        let mut options = TlsServer::options(identity);
        if let Some(roots) = &self.client_roots {
            options = options.require_client_certificates(TlsRoots::from_file(roots)?);
        }
        options.build().map(Some)
    }
}

/// Whom a client trusts, and what it shows.
#[derive(Args)]
pub(crate) struct ClientOptions {
    /// Trusts these certificates, a PEM file, instead of what the platform trusts.
    #[arg(long)]
    roots: Option<PathBuf>,
    /// Its chain of certificates, a PEM file.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key, a PEM file.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

impl ClientOptions {
    /// TLS, if there is something to say about it.
    pub(crate) fn build(&self) -> Result<Option<TlsClient>, TlsError> {
        let identity = identity(&self.certificate, &self.key)?;
        if self.roots.is_none() && identity.is_none() {
            return Ok(None);
        }
        let mut options = TlsClient::options();
        if let Some(roots) = &self.roots {
            options = options.roots(TlsRoots::from_file(roots)?);
        }
        if let Some(identity) = identity {
            options = options.identity(identity);
        }
        options.build().map(Some)
    }
}

/// Takes whatever certificate a server shows.
pub(crate) fn anybody() -> Result<TlsClient, TlsError> {
    TlsClient::options().dangerous_accept_any_certificate().build()
}

fn identity(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Result<Option<TlsIdentity>, TlsError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => TlsIdentity::from_files(certificate, key).map(Some),
        _ => Ok(None),
    }
}
