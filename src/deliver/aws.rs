//! The way to AWS: HTTP clients, credentials, and what the SDK's errors mean.
//!
//! Credentials, region and endpoint come from the SDK's default chain unless the destination says otherwise.
//! Nothing here fails a start: what cannot be loaded (the metadata service is away, the CA bundle is not
//! mounted yet) is tried again with every request, and the records wait in the buffer meanwhile.

mod http;
mod instance;
mod link;
mod told;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use super::answer::{Answer, Class, Failure};
use super::settings::Aws;
pub use http::HttpClients;
use http::ca_bundle;
pub(super) use http::proxy_of;
pub use instance::{InstanceDescription, InstanceMetadata};
pub(super) use link::Link;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Nobody is trusted: there is no CA bundle, and this host has no certificates of its own.
    #[error(
        "this host has no CA certificates ({what}): install the package ca-certificates, or set `ca_bundle` or AWS_CA_BUNDLE"
    )]
    NoCertificates {
        /// Where they were looked for in vain.
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
    /// Neither the configuration nor the environment says where the service is.
    #[error(
        "no region: set `region` there, AWS_REGION, or a profile (or the metadata service did not answer)"
    )]
    NoRegion,
}

impl From<ConnectError> for Answer {
    fn from(error: ConnectError) -> Self {
        Failure::local(Class::Hold, "Configuration", error.to_string()).into()
    }
}

/// What an SDK client is made from. `credentials` takes the place of the default chain.
pub(super) async fn load(
    settings: &Aws,
    http: &HttpClients,
    credentials: Option<SharedCredentialsProvider>,
) -> Result<SdkConfig, ConnectError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.of(settings)?)
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
            return Failure::local(class, Failure::CREDENTIALS, chain(error));
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
