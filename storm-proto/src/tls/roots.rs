//! Whom this side trusts to vouch for a peer.

use std::path::Path;
use std::sync::Arc;
use std::vec::Vec;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::TlsError;
use super::identity::{TlsIdentity, certificates};
use super::provider;

/// Whom this side trusts to vouch for a peer's certificate.
#[derive(Clone, Debug)]
pub struct TlsRoots {
    trusted: Trusted,
}

#[derive(Clone, Debug)]
enum Trusted {
    /// The platform gives the verdict itself, with its revocations and the decisions of its
    /// administrator; where it has no such service, the roots of the distribution count.
    Platform,
    These(Arc<RootCertStore>),
}

impl TlsRoots {
    /// Trusts what the platform trusts: the default of clients. On Android the application has
    /// to initialise `rustls-platform-verifier` first.
    #[must_use]
    pub fn platform() -> TlsRoots {
        TlsRoots { trusted: Trusted::Platform }
    }

    /// Trusts the roots of Mozilla that are compiled in, wherever the program runs.
    #[cfg(feature = "tls-webpki-roots")]
    #[must_use]
    pub fn webpki() -> TlsRoots {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        TlsRoots { trusted: Trusted::These(Arc::new(roots.collect())) }
    }

    /// Trusts the certificates in PEM, and nobody else.
    ///
    /// # Errors
    /// If there is none, or one of them is broken.
    pub fn from_pem(pem: &[u8]) -> Result<TlsRoots, TlsError> {
        TlsRoots::from_der(certificates(CertificateDer::pem_slice_iter(pem))?)
    }

    /// As [`TlsRoots::from_pem`], from a file. Reads it at once, and blocks for it.
    ///
    /// # Errors
    /// As [`TlsRoots::from_pem`], and if the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<TlsRoots, TlsError> {
        let path = path.as_ref();
        let read = CertificateDer::pem_file_iter(path)
            .map_err(|error| TlsError::config(format_args!("{}: {error}", path.display())))?;
        TlsRoots::from_der(certificates(read)?)
    }

    /// Trusts the certificates in DER, and nobody else.
    ///
    /// # Errors
    /// As [`TlsRoots::from_pem`].
    pub fn from_der(roots: Vec<CertificateDer<'static>>) -> Result<TlsRoots, TlsError> {
        if roots.is_empty() {
            return Err(TlsError::config("there is no root certificate"));
        }
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(TlsError::config)?;
        }
        Ok(TlsRoots { trusted: Trusted::These(Arc::new(store)) })
    }

    /// Trusts exactly the certificate of `identity`, such as a self-signed one.
    ///
    /// # Errors
    /// If it cannot be a root.
    pub fn only(identity: &TlsIdentity) -> Result<TlsRoots, TlsError> {
        TlsRoots::from_der(identity.certificates().first().cloned().into_iter().collect())
    }

    /// Those that can vouch for clients.
    pub(super) fn of_clients(&self) -> Result<Arc<RootCertStore>, TlsError> {
        match &self.trusted {
            Trusted::These(store) => Ok(store.clone()),
            Trusted::Platform => {
                Err(TlsError::config("the platform vouches for servers; name the roots of clients"))
            }
        }
    }

    /// What judges a server's certificate.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        match &self.trusted {
            Trusted::These(store) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(store.clone(), provider());
                Ok(verifier.build().map_err(TlsError::config)?)
            }
            Trusted::Platform => {
                let verifier = rustls_platform_verifier::Verifier::new(provider());
                Ok(Arc::new(verifier.map_err(TlsError::config)?))
            }
        }
    }
}
