//! What the metadata service of EC2 tells of the instance (IMDSv2).

use std::collections::HashMap;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::TrustStore;
use serde_json::Value;

use super::chain;
use super::http::http_client;

/// Name, zone, image and so on, as one JSON object.
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
/// The tags' names, a line each.
const TAGS: &str = "/latest/meta-data/tags/instance";
/// What is taken from the document, and what it is called in records.
const FIELDS: [(&str, &str); 7] = [
    ("privateIp", "privateIp"),
    ("availabilityZone", "availabilityZone"),
    ("instanceId", "instanceId"),
    ("instanceType", "instanceType"),
    ("accountId", "accountId"),
    ("imageId", "amiId"),
    ("region", "region"),
];

/// A client of the metadata service. It keeps its token.
#[derive(Clone, Debug)]
pub struct InstanceMetadata(Client);

/// What is known of an instance: names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceDescription {
    /// What every instance has.
    pub fields: Vec<(String, String)>,
    /// Its tags, where it may see them.
    pub tags: Vec<(String, String)>,
}

impl Default for InstanceMetadata {
    fn default() -> Self {
        Self::new()
    }
}

impl InstanceMetadata {
    /// Where the environment says that the service is. It is spoken to without TLS, and never through a proxy.
    pub fn new() -> Self {
        let http = http_client(TrustStore::empty(), ProxyConfig::disabled());
        let config = ProviderConfig::default().with_http_client(http);
        Self(Client::builder().configure(&config).build())
    }

    /// Asks for everything.
    ///
    /// # Errors
    ///
    /// What went wrong, on one line.
    pub async fn describe(&self) -> Result<InstanceDescription, String> {
        let is_disabled = |value: String| value.eq_ignore_ascii_case("true");
        if std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(is_disabled) {
            return Err("AWS_EC2_METADATA_DISABLED is set".into());
        }
        let text = self.get(DOCUMENT).await?.ok_or("the service knows no such instance")?;
        let document: HashMap<String, Value> =
            serde_json::from_str(&text).map_err(|error| format!("{DOCUMENT}: {error}"))?;
        let said =
            |(from, to): &(&str, &str)| Some(((*to).to_owned(), document.get(*from)?.as_str()?.to_owned()));
        let fields = FIELDS.iter().filter_map(said).collect();
        let mut tags = Vec::new();
        for name in self.get(TAGS).await?.unwrap_or_default().lines().filter(|name| !name.is_empty()) {
            if let Some(value) = self.get(&format!("{TAGS}/{name}")).await? {
                tags.push((name.to_owned(), value));
            }
        }
        Ok(InstanceDescription { fields, tags })
    }

    /// None where there is nothing of that name.
    async fn get(&self, path: &str) -> Result<Option<String>, String> {
        match self.0.get(path).await {
            Ok(text) => Ok(Some(text.into())),
            Err(ImdsError::ErrorResponse(error)) if error.response().status().as_u16() == 404 => Ok(None),
            Err(error) => Err(format!("{path}: {}", chain(&error))),
        }
    }
}
