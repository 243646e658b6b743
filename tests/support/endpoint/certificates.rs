//! A certificate authority for one server, and the server's own certificate.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// What a server shows, and the file with which a client comes to trust it.
pub struct Certificates {
    acceptor: TlsAcceptor,
    ca_bundle: PathBuf,
    _dir: TempDir,
}

impl Certificates {
    /// A fresh authority and a certificate for this name; for `localhost` also for `127.0.0.1`.
    pub fn make(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(), KeyPair::generate().expect("a key"))
            .expect("a self-signed certificate");
        let key = KeyPair::generate().expect("a key");
        let leaf = server(name).signed_by(&key, &issuer).expect("a signed certificate");

        let dir = tempfile::tempdir().expect("a folder for the authority");
        let ca_bundle = dir.path().join("ca.pem");
        std::fs::write(&ca_bundle, issuer.pem()).expect("the authority's certificate on disk");

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("the key fits its certificate");
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_bundle, _dir: dir }
    }

    /// The server's side of a handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The authority's certificate, PEM.
    pub fn ca_bundle(&self) -> &Path {
        &self.ca_bundle
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test endpoint authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).expect("an ASCII name");
    if name == "localhost" {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    params.distinguished_name.push(DnType::CommonName, "test endpoint");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
