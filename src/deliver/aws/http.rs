//! HTTP clients: whom they trust, and through which proxy they go.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::settings::Aws;
use super::ConnectError;
use super::link::Stamp;
use super::told::Told;

/// The HTTP clients of all destinations, by what they trust: destinations that trust the same share
/// connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HttpClients {
    pub(super) by_bundle: Arc<Mutex<ByBundle>>,
}

/// Each with the file that it was made of.
pub(super) type ByBundle = HashMap<Option<PathBuf>, (Option<Stamp>, SharedHttpClient)>;

impl HttpClients {
    /// The client for a destination.
    pub(super) fn of(&self, settings: &Aws) -> Result<SharedHttpClient, ConnectError> {
        let plain = settings.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        match self.get(ca_bundle(settings)) {
            // Without TLS nobody need be trusted. The client is not kept: certificates may be installed yet.
            Err(ConnectError::NoCertificates { .. }) if plain => {
                Ok(http_client(TrustStore::empty(), ProxyConfig::disabled()))
            }
            got => got,
        }
    }

    /// The client that trusts the certificates in this file, or the system's.
    pub(super) fn get(&self, ca_bundle: Option<PathBuf>) -> Result<SharedHttpClient, ConnectError> {
        let mut clients = self.by_bundle.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = ca_bundle.as_deref().and_then(Stamp::of);
        if let Some((made_of, client)) = clients.get(&ca_bundle)
            && *made_of == stamp
        {
            return Ok(client.clone());
        }
        let trust = match &ca_bundle {
            None => system_trust()?,
            Some(path) => trust_store(path)?,
        };
        let client = http_client(trust, proxy(|name| std::env::var(name).ok())?);
        clients.insert(ca_bundle, (stamp, client.clone()));
        Ok(client)
    }
}

/// One client, with a pool of connections for each pair of timeouts that the SDK asks for: the metadata
/// service's are shorter.
pub(super) fn http_client(trust: TrustStore, proxy: ProxyConfig) -> SharedHttpClient {
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .expect("a trust store is all that it has, and that was checked");
    let connectors = Mutex::new(HashMap::<_, SharedHttpConnector>::new());
    http_client_fn(move |settings: &HttpConnectorSettings, components| {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(timeouts).or_insert_with(|| {
            let mut builder = Connector::builder();
            builder.set_sleep_impl(components.sleep_impl());
            let connector = builder
                .connector_settings(settings.clone())
                .proxy_config(proxy.clone())
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(tls.clone())
                .build();
            SharedHttpConnector::new(Told(SharedHttpConnector::new(connector)))
        });
        connector.clone()
    })
}

/// This host's own certificates. The HTTP client looks for them only once, and without any it panics or trusts nobody, so
/// that it is looked here first.
fn system_trust() -> Result<TrustStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(TrustStore::default());
    }
    let what = match found.errors.first() {
        Some(error) => error.to_string(),
        None => "none is in the usual folders, nor where SSL_CERT_FILE and SSL_CERT_DIR say".to_owned(),
    };
    Err(ConnectError::NoCertificates { what })
}

/// The certificates in a PEM file, checked here because the HTTP client panics over a bad one.
fn trust_store(path: &Path) -> Result<TrustStore, ConnectError> {
    let wrong = |what: String| ConnectError::CaBundle { path: path.to_owned(), what };
    let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| wrong(format!("is not PEM certificates: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(TrustStore::empty().with_pem_certificate(pem))
}

/// The proxy for `https` URLs. Plain `http` never goes through one: that is how the metadata services on
/// link-local addresses are spoken to, and a proxy would answer for another machine.
pub(super) fn proxy(env: impl Fn(&str) -> Option<String>) -> Result<ProxyConfig, ConnectError> {
    let set = |name| env(name).filter(|value| !value.trim().is_empty());
    let Some((variable, url)) = proxy_variable(&env) else {
        return Ok(ProxyConfig::disabled());
    };
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    let config =
        ProxyConfig::https(url).map_err(|error| ConnectError::Proxy { variable, what: error.to_string() })?;
    Ok(match set("NO_PROXY").or_else(|| set("no_proxy")) {
        Some(rules) => config.no_proxy(rules),
        None => config,
    })
}

/// The variable that names the proxy, and the proxy.
fn proxy_variable(env: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    let set = |name| env(name).filter(|value| !value.trim().is_empty());
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .find_map(|name| Some((name, set(name)?)))
}

/// The variable whose proxy stands before a service, as far as its host is not in `NO_PROXY`.
pub(in super::super) fn proxy_of(endpoint: Option<&str>) -> Option<&'static str> {
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return None;
    }
    proxy_variable(|name| std::env::var(name).ok()).map(|(variable, _)| variable)
}

/// The file with the certificates to trust, where one is said. The Rust SDK does not look at the variable, other
/// SDKs do.
pub(super) fn ca_bundle(settings: &Aws) -> Option<PathBuf> {
    settings
        .ca_bundle
        .clone()
        .or_else(|| std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from))
        .filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_trust_the_same_share_connections() {
        let http = HttpClients::default();
        http.get(None).unwrap();
        http.clone().get(None).unwrap();
        assert_eq!(http.by_bundle.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_bundle_that_is_none_is_told_and_does_not_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(trust_store(&path).unwrap_err().to_string().contains("cannot be read"));
        std::fs::write(&path, "no certificate at all").unwrap();
        assert!(trust_store(&path).unwrap_err().to_string().contains("holds no certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, broken).unwrap();
        assert!(trust_store(&path).unwrap_err().to_string().contains("not PEM"));
    }

    #[test]
    fn only_https_goes_through_a_proxy() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        assert!(proxy(env(&[])).unwrap().is_disabled());
        assert!(proxy(env(&[("HTTPS_PROXY", "")])).unwrap().is_disabled());
        assert!(proxy(env(&[("HTTP_PROXY", "http://proxy:1")])).unwrap().is_disabled());
        assert!(!proxy(env(&[("HTTPS_PROXY", "http://proxy:1")])).unwrap().is_disabled());
        assert!(!proxy(env(&[("https_proxy", "proxy:1")])).unwrap().is_disabled());
        let wrong = proxy(env(&[("HTTPS_PROXY", "ftp://proxy")])).unwrap_err();
        assert!(wrong.to_string().starts_with("HTTPS_PROXY: "), "{wrong}");
    }
}
