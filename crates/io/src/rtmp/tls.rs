//! The certificate of RTMPS.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsConfig;

/// Read certificate and key; the error is for a person.
pub(super) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, String> {
    let shown = config.certificate.display();
    let chain = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| format!("cannot read the certificate {shown}: {e}"))?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|e| format!("cannot read the key {}: {e}", config.key.display()))?;
    let made = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| format!("the certificate {shown} cannot be used: {e}"))?;
    Ok(TlsAcceptor::from(Arc::new(made)))
}
