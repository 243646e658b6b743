//! Amazon CloudWatch: PutMetricData.
//!
//! A call is made once. What it did not take is not kept here: who calls knows what was counted meanwhile, and says
//! more with the next call.

mod datum;

use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::StalledStreamProtectionConfig;
use aws_smithy_types::DateTime;

use super::answer::{Answer, Failure, Outcome};
use super::aws::{self, ConnectError, HttpClients, Link};
use super::settings::Aws;
pub use datum::{Datum, Measured, MetricUnit, batches};

/// Values that come more often than once a minute are kept as they came if they say that they are of high resolution
/// (Amazon CloudWatch user guide, "Publish custom metrics").
const STANDARD_RESOLUTION: Duration = Duration::from_secs(60);

/// What is sent to Amazon CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatch {
    /// Where it is put: 1 to 255 characters.
    pub namespace: String,
    /// How often it is measured and sent.
    pub interval: Duration,
    /// Whether the metrics of the Kinesis Agent are sent, under its names.
    pub agent_metrics: bool,
    /// Which of kinetail's own are sent.
    pub metrics: Vec<MetricPattern>,
    /// What all of them carry beside their own dimensions: names and values.
    pub dimensions: Vec<(String, String)>,
    /// Where the service is and who asks.
    pub aws: Aws,
}

/// The name of a metric, or the beginning of several with a `*` behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPattern(String);

impl MetricPattern {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is no name of a metric; the message is for people.
    pub fn new(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !text.is_empty() && text.len() <= 255 && name.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not the name of a metric; write one of docs/metrics.md such as kinetail_lag_seconds, or the \
                 beginning of several with a * behind it"
            ))
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the name of such a metric.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

/// A client of CloudWatch.
#[derive(Debug)]
pub struct CloudWatchClient {
    settings: CloudWatch,
    http: HttpClients,
    credentials: Option<SharedCredentialsProvider>,
    client: Link<Client>,
}

impl CloudWatchClient {
    /// Nothing is asked of anybody before the first call. `credentials` takes the place of the default chain.
    pub fn new(
        settings: &CloudWatch,
        http: &HttpClients,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Self {
        Self { settings: settings.clone(), http: http.clone(), credentials, client: Link::default() }
    }

    /// Sends what was measured at one time in one call, once. It must be within the service's limits ([`batches`]).
    ///
    /// # Errors
    ///
    /// The service did not take it, or nobody answered; then it may have been taken all the same.
    pub async fn put(&self, data: &[Datum], at: SystemTime) -> Result<(), Failure> {
        let answer = match self.client.get(&self.settings.aws, async || self.connect().await).await {
            Err(error) => error.into(),
            Ok(client) => {
                let at = DateTime::from(at);
                let resolution = (self.settings.interval < STANDARD_RESOLUTION).then_some(1);
                let data = data.iter().map(|datum| datum.as_sent(at, resolution)).collect();
                let call = client.put_metric_data().namespace(&self.settings.namespace);
                match call.set_metric_data(Some(data)).send().await {
                    Ok(_) => Answer::taken(),
                    Err(error) => self.client.heed(aws::failed(&error)),
                }
            }
        };
        match answer.outcome {
            Outcome::Judged(_) => Ok(()),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    async fn connect(&self) -> Result<Client, ConnectError> {
        let settings = &self.settings.aws;
        let config = aws::load(settings, &self.http, self.credentials.clone()).await?;
        let mut config = aws_sdk_cloudwatch::config::Builder::from(&config)
            // A second copy of a sum would be added to the first.
            .retry_config(RetryConfig::disabled())
            .timeout_config(aws::timeouts(settings))
            // The request's timeout watches over slow streams.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &settings.endpoint {
            // It says all: the SDK refuses it together with what would choose another.
            config = config.endpoint_url(endpoint).use_fips(false).use_dual_stack(false);
        }
        Ok(Client::from_conf(config.build()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        let of = |text: &str| MetricPattern::new(text).unwrap();
        assert!(of("kinetail_lag_seconds").matches("kinetail_lag_seconds"));
        assert!(!of("kinetail_lag").matches("kinetail_lag_seconds"));
        assert!(of("kinetail_lag_*").matches("kinetail_lag_seconds"));
        assert!(of("*").matches("process_open_fds"));
        for wrong in ["", "a b", "Lag", "a*b", "a.b", &"x".repeat(256)] {
            assert!(MetricPattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
