//! A certificate and its key.

use core::fmt;
use std::path::Path;
use std::sync::Arc;
use std::vec::Vec;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::provider;

/// What this side shows and proves: a chain of certificates and the private key of the first.
#[derive(Clone)]
pub struct TlsIdentity {
    pub(super) key: Arc<CertifiedKey>,
}

impl TlsIdentity {
    /// Takes PEM: a chain that begins with the certificate of the key, and the key (PKCS#8,
    /// SEC1 or PKCS#1). Both may stand in the same text.
    ///
    /// # Errors
    /// If there is no certificate or no key, or the two do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<TlsIdentity, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::config(format_args!("the private key: {error}")))?;
        TlsIdentity::from_der(certificates(CertificateDer::pem_slice_iter(chain))?, key)
    }

    /// As [`TlsIdentity::from_pem`], from files. Reads them at once, and blocks for it.
    ///
    /// # Errors
    /// As [`TlsIdentity::from_pem`], and if a file cannot be read.
    pub fn from_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<TlsIdentity, TlsError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let in_file = |path: &Path, error: &dyn fmt::Display| {
            TlsError::config(format_args!("{}: {error}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(chain).map_err(|error| in_file(chain, &error))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, &error))?;
        TlsIdentity::from_der(certificates(chain)?, key)
    }

    /// Takes DER.
    ///
    /// # Errors
    /// As [`TlsIdentity::from_pem`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<TlsIdentity, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::config("the chain has no certificate"));
        }
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::config)?;
        Ok(TlsIdentity { key: Arc::new(key) })
    }

    /// Makes a certificate that only its own holder vouches for, for demos and tests. `names`
    /// are host names and addresses.
    ///
    /// # Errors
    /// If a name is none.
    #[cfg(feature = "self-signed")]
    pub fn self_signed<N: Into<std::string::String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<TlsIdentity, TlsError> {
        let names = names.into_iter().map(Into::into).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::config)?;
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        TlsIdentity::from_der(std::vec![made.cert.der().clone()], key.into())
    }

    /// The certificates in DER, the own one first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({} certificates)", self.key.cert.len())
    }
}

/// All certificates, or the first thing that is none.
pub(super) fn certificates<E: fmt::Display>(
    read: impl Iterator<Item = Result<CertificateDer<'static>, E>>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |error| TlsError::config(format_args!("the certificates: {error}"));
    read.collect::<Result<_, _>>().map_err(broken)
}
