//! HTTPS: a certificate and its key, read again when they change. Without the feature `tls`, only plain HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum_server::Server;
#[cfg(feature = "tls")]
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};

use crate::auth::modified;
use crate::config::Config;
use crate::error::ServeError;
use crate::front::Front;
use crate::listen::Door;

/// The certificate that is shown to clients. Clones are one.
#[derive(Clone)]
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    #[cfg(feature = "tls")]
    config: RustlsConfig,
    read_at: (Option<SystemTime>, Option<SystemTime>),
}

impl Certificate {
    /// The certificate of the settings, if they have one.
    ///
    /// # Errors
    /// [`ServeError::File`] for files that cannot be read, make no sense, or do not belong together.
    pub(crate) async fn open(config: &Config) -> Result<Option<Certificate>, ServeError> {
        let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else {
            return Ok(None);
        };
        let read_at = (modified(certificate), modified(key));
        #[cfg(feature = "tls")]
        let config = RustlsConfig::from_pem_file(certificate, key).await.map_err(|error| {
            ServeError::file(certificate, format!("with the key {}: {error}", key.display()))
        })?;
        Ok(Some(Certificate {
            certificate: certificate.clone(),
            key: key.clone(),
            #[cfg(feature = "tls")]
            config,
            read_at,
        }))
    }

    /// Reads both again; with `always` even if they have not changed. Keeps those that there were if they make no sense.
    pub(crate) async fn reload(&mut self, always: bool) {
        let changed = (modified(&self.certificate), modified(&self.key));
        if self.read_at == changed && !always {
            return;
        }
        self.read_at = changed;
        let path = self.certificate.display();
        match self.read_again(&self.certificate, &self.key).await {
            Ok(()) => tracing::info!(%path, "certificate read again"),
            Err(error) => tracing::error!(%path, %error, "the certificate stays as it was"),
        }
    }

    #[cfg(feature = "tls")]
    async fn read_again(&self, certificate: &Path, key: &Path) -> io::Result<()> {
        self.config.reload_from_pem_file(certificate, key).await
    }

    #[cfg(not(feature = "tls"))]
    async fn read_again(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Answers requests, by HTTPS if there is a certificate.
///
/// # Errors
/// What the system says.
pub(crate) async fn serve(
    server: Server<SocketAddr>,
    door: Door,
    certificate: Option<&Certificate>,
    service: Front,
) -> io::Result<()> {
    match certificate {
        #[cfg(feature = "tls")]
        Some(certificate) => {
            let acceptor = RustlsAcceptor::new(certificate.config.clone());
            server.acceptor(acceptor.acceptor(door)).serve(service).await
        }
        _ => server.acceptor(door).serve(service).await,
    }
}
