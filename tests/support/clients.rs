//! The SDK's own clients for a test endpoint or for moto: with them these are tested against the real thing.

use std::path::PathBuf;

use aws_credential_types::Credentials;
use aws_sdk_cloudwatch::Client as CloudWatch;
use aws_sdk_firehose::Client as Firehose;
use aws_sdk_firehose::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_kinesis::Client as Kinesis;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::endpoint::Endpoint;
use super::moto::Moto;

/// The access key that the clients, and the agents that tests start, sign with.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
/// Its secret.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The region that they sign for.
pub const REGION: &str = "us-east-1";

/// Where the services are.
pub struct Place {
    url: String,
    ca_bundle: Option<PathBuf>,
}

impl From<&Endpoint> for Place {
    fn from(endpoint: &Endpoint) -> Self {
        let url = endpoint.url();
        let ca_bundle = url.starts_with("https://").then(|| endpoint.ca_bundle().to_owned());
        Self { url, ca_bundle }
    }
}

impl From<&Moto> for Place {
    fn from(moto: &Moto) -> Self {
        Self { url: moto.url().to_owned(), ca_bundle: None }
    }
}

/// A client that makes one attempt a call.
pub fn firehose(place: impl Into<Place>) -> Firehose {
    let place = place.into();
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials())
        .http_client(http_client(&place))
        .endpoint_url(place.url)
        .retry_config(RetryConfig::disabled())
        .build();
    Firehose::from_conf(config)
}

/// A client that makes one attempt a call.
pub fn kinesis(place: impl Into<Place>) -> Kinesis {
    let place = place.into();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials())
        .http_client(http_client(&place))
        .endpoint_url(place.url)
        .retry_config(RetryConfig::disabled())
        .build();
    Kinesis::from_conf(config)
}

/// A client that makes one attempt a call.
pub fn cloudwatch(place: impl Into<Place>) -> CloudWatch {
    let place = place.into();
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials())
        .http_client(http_client(&place))
        .endpoint_url(place.url)
        .retry_config(RetryConfig::disabled())
        .build();
    CloudWatch::from_conf(config)
}

fn credentials() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test")
}

fn http_client(place: &Place) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    let Some(ca_bundle) = &place.ca_bundle else {
        return builder.build_http();
    };
    let authority = std::fs::read(ca_bundle).expect("the endpoint's authority");
    let tls = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(authority))
        .build()
        .expect("a TLS context");
    builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https()
}
