//! The way to AWS: HTTP clients, credentials, and what the SDK's errors mean.
//!
//! Credentials, region and endpoint come from the SDK's default chain unless the destination says otherwise.
//! Nothing here fails a start: what cannot be loaded (the metadata service is away, the CA bundle is not
//! mounted yet) is tried again with every request, and the records wait in the buffer meanwhile.

mod link;

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::answer::{Answer, Class, Failure};
use super::settings::Aws;
pub(super) use link::Link;
use link::Stamp;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP clients of all destinations, by what they trust: destinations that trust the same share
/// connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HttpClients {
    by_bundle: Arc<Mutex<ByBundle>>,
}

/// Each with the file that it was made of.
type ByBundle = HashMap<Option<PathBuf>, (Option<Stamp>, SharedHttpClient)>;

/// Why the way to AWS cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The CA bundle cannot be used.
    #[error("the CA bundle {path:?} {what}")]
    CaBundle {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A proxy variable is no URL.
    #[error("{variable}: {what}")]
    Proxy {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Neither the destination nor the environment says where the stream is.
    #[error(
        "no region: set `region` on the destination, AWS_REGION, or a profile (or the metadata service did not answer)"
    )]
    NoRegion,
}

impl From<ConnectError> for Answer {
    fn from(error: ConnectError) -> Self {
        Failure::local(Class::Hold, "Configuration", error.to_string()).into()
    }
}

impl HttpClients {
    fn get(&self, ca_bundle: Option<PathBuf>) -> Result<SharedHttpClient, ConnectError> {
        let mut clients = self.by_bundle.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = ca_bundle.as_deref().and_then(Stamp::of);
        if let Some((made_of, client)) = clients.get(&ca_bundle)
            && *made_of == stamp
        {
            return Ok(client.clone());
        }
        let trust = match &ca_bundle {
            None => TrustStore::default(),
            Some(path) => trust_store(path)?,
        };
        let client = http_client(trust, proxy(|name| std::env::var(name).ok())?);
        clients.insert(ca_bundle, (stamp, client.clone()));
        Ok(client)
    }
}

/// One client, with a pool of connections for each pair of timeouts that the SDK asks for: the metadata
/// service's are shorter.
fn http_client(trust: TrustStore, proxy: ProxyConfig) -> SharedHttpClient {
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
            SharedHttpConnector::new(
                builder
                    .connector_settings(settings.clone())
                    .proxy_config(proxy.clone())
                    .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                    .tls_context(tls.clone())
                    .build(),
            )
        });
        connector.clone()
    })
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
fn proxy(env: impl Fn(&str) -> Option<String>) -> Result<ProxyConfig, ConnectError> {
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
pub(super) fn proxy_of(endpoint: Option<&str>) -> Option<&'static str> {
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return None;
    }
    proxy_variable(|name| std::env::var(name).ok()).map(|(variable, _)| variable)
}

/// What an SDK client is made from. `credentials` takes the place of the default chain.
pub(super) async fn load(
    settings: &Aws,
    http: &HttpClients,
    credentials: Option<SharedCredentialsProvider>,
) -> Result<SdkConfig, ConnectError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.get(ca_bundle(settings))?)
        .app_name(AppName::new("kinetail").expect("letters only"))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT))
                .build(),
        );
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(fips) = settings.fips {
        loader = loader.use_fips(fips);
    }
    if let Some(dual_stack) = settings.dual_stack {
        loader = loader.use_dual_stack(dual_stack);
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let mut config = loader.load().await;
    // A variable that is set and empty says as little as none.
    if config.region().is_none_or(|region| region.as_ref().is_empty()) {
        return Err(ConnectError::NoRegion);
    }
    // Each is assumed with the credentials of the one before.
    for role in settings.roles() {
        let mut provider = AssumeRoleProvider::builder(role.arn)
            .session_name(role.session_name.as_deref().unwrap_or("kinetail"))
            .configure(&config);
        if let Some(id) = role.external_id {
            provider = provider.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(provider.build().await);
        config = config.into_builder().credentials_provider(provider).build();
    }
    Ok(config)
}

/// The file with the certificates to trust, where one is said. The Rust SDK does not look at the variable, other
/// SDKs do.
fn ca_bundle(settings: &Aws) -> Option<PathBuf> {
    settings
        .ca_bundle
        .clone()
        .or_else(|| std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from))
        .filter(|path| !path.as_os_str().is_empty())
}

/// The timeouts of a data-plane client. Both are of the whole attempt: the SDK's own read timeout would start
/// anew with every packet.
pub(super) fn timeouts(settings: &Aws) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT))
        .operation_timeout(settings.request_timeout.unwrap_or(REQUEST_TIMEOUT))
        .build()
}

/// What an SDK call's error means.
pub(super) fn failed<E>(error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let failure = match error {
        SdkError::ServiceError(service) => {
            let metadata = service.err().meta();
            Failure::from_service(
                metadata.code().unwrap_or_default(),
                metadata.message().unwrap_or_default(),
                status.unwrap_or(500),
            )
        }
        SdkError::TimeoutError(_) => Failure::local(Class::Retry, "Timeout", chain(error)),
        SdkError::ResponseError(_) => Failure::from_service("", &chain(error), status.unwrap_or(500)),
        _ => undelivered(error),
    };
    Answer {
        outcome: super::answer::Outcome::Failed(failure),
        request_id: error.request_id().map(str::to_owned),
        shards: Vec::new(),
    }
}

/// A request that no service answered: what was missing, credentials, trust or the network?
fn undelivered(error: &(dyn Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            let class = match credentials {
                CredentialsError::ProviderTimedOut(_) => Class::Retry,
                _ => Class::Hold,
            };
            return Failure::local(class, "Credentials", chain(error));
        }
        if let Some(tls) = tls_error(error) {
            let class = match tls {
                rustls::Error::InvalidCertificate(_) => Class::Hold,
                _ => Class::Retry,
            };
            return Failure::local(class, "Tls", tls.to_string());
        }
        cause = error.source();
    }
    Failure::local(Class::Retry, "Connection", chain(error))
}

/// An I/O error's `source` is that of the error inside: the error inside, which may be one again, has to be
/// asked for.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => tls_error(error.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// An error and its causes, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
