//! The SDK's own clients for a test endpoint: with them the endpoint is tested against the real thing.

use aws_credential_types::Credentials;
use aws_sdk_firehose::Client as Firehose;
use aws_sdk_firehose::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_kinesis::Client as Kinesis;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::endpoint::Endpoint;

/// The access key that the clients, and the agents that tests start, sign with.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
/// Its secret.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The region that they sign for.
pub const REGION: &str = "us-east-1";

/// A client that makes one attempt a call.
pub fn firehose(endpoint: &Endpoint) -> Firehose {
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint.url())
        .http_client(http_client(endpoint))
        .retry_config(RetryConfig::disabled())
        .build();
    Firehose::from_conf(config)
}

/// A client that makes one attempt a call.
pub fn kinesis(endpoint: &Endpoint) -> Kinesis {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint.url())
        .http_client(http_client(endpoint))
        .retry_config(RetryConfig::disabled())
        .build();
    Kinesis::from_conf(config)
}

fn credentials() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test")
}

fn http_client(endpoint: &Endpoint) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if endpoint.url().starts_with("http://") {
        return builder.build_http();
    }
    let authority = std::fs::read(endpoint.ca_bundle()).expect("the endpoint's authority");
    let tls = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(authority))
        .build()
        .expect("a TLS context");
    builder
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https()
}
