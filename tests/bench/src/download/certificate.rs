//! An authority and a certificate for 127.0.0.1, made for one run.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// Making it.
    #[error(transparent)]
    Made(#[from] rcgen::Error),
    /// Writing it.
    #[error(transparent)]
    Written(#[from] std::io::Error),
    /// Reading it.
    #[error(transparent)]
    Read(#[from] rustls::pki_types::pem::Error),
    /// Using it.
    #[error(transparent)]
    Used(#[from] rustls::Error),
}

/// Three files in one folder.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// Makes them.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub(crate) fn make(folder: &Path) -> Result<Self, CertificateError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // Two certificates of one name would be one that signed itself, to OpenSSL.
        authority.distinguished_name.push(DnType::CommonName, "Reelay's benchmark");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?
            .signed_by(&key, &authority)?;
        std::fs::write(folder.join("ca.pem"), authority.pem())?;
        std::fs::write(folder.join("leaf.pem"), leaf.pem())?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        Ok(Self::at(folder))
    }

    /// Those that were made in a folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The authority, for clients.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// For a server.
    ///
    /// # Errors
    /// If the files are not what they should be.
    pub(crate) fn server(&self) -> Result<ServerConfig, CertificateError> {
        let chain = CertificateDer::pem_file_iter(self.folder.join("leaf.pem"))?
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(self.folder.join("key.pem"))?;
        Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
    }
}
