//! A certificate authority and a certificate for 127.0.0.1, created for one run in one folder.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::BenchError;

/// File name of the authority's certificate, which clients trust.
pub(crate) const AUTHORITY: &str = "ca.pem";
const LEAF: &str = "leaf.pem";
const KEY: &str = "key.pem";

pub(crate) fn create(folder: &Path) -> Result<(), BenchError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    // With the same name on both, OpenSSL takes the leaf for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "Reelay benchmark");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?
        .signed_by(&key, &authority)?;
    std::fs::write(folder.join(AUTHORITY), authority.pem())?;
    std::fs::write(folder.join(LEAF), leaf.pem())?;
    Ok(std::fs::write(folder.join(KEY), key.serialize_pem())?)
}

/// TLS configuration of the servers.
pub(crate) fn server_config(folder: &Path) -> Result<ServerConfig, BenchError> {
    let chain = CertificateDer::pem_file_iter(folder.join(LEAF))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY))?;
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}
