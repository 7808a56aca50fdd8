//! The certificate of the TCP listener: read at the start and at every reload, in force for connections made from then on.
use crate::config::TlsFiles;
use crate::telemetry::printable::printable;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// The chain and key in force.
#[derive(Debug)]
pub(super) struct Certificates(RwLock<Arc<CertifiedKey>>);

impl Certificates {
    pub fn read(files: &TlsFiles) -> Result<Certificates, String> {
        Ok(Certificates(RwLock::new(Arc::new(certified(files)?))))
    }

    /// What cannot be read leaves the old one in force.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), String> {
        let read = Arc::new(certified(files)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn certified(files: &TlsFiles) -> Result<CertifiedKey, String> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("cannot use {}: {error}", printable(&path.to_string_lossy()));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect).map_err(|error| wrong(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"it holds no certificate in PEM form"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    // Also tells whether the two belong together.
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| wrong(&files.key, &error))
}

/// TLS 1.2 and 1.3, no certificates of clients.
pub(super) fn config(certificates: Arc<Certificates>) -> ServerConfig {
    let versions = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    versions.expect("the provider knows the default versions").with_no_client_auth().with_cert_resolver(certificates)
}
