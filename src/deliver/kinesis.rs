//! Amazon Kinesis Data Streams: PutRecords.

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_types::request_id::RequestId;

use super::answer::{Answer, Verdict};
use super::aws::{self, ConnectError, HttpClients, Link};
use super::body;
use super::entry::Request;
use super::settings::Kinesis;
use super::shards::Shard;

/// An Amazon Kinesis data stream.
#[derive(Debug)]
pub struct DataStream {
    settings: Kinesis,
    http: HttpClients,
    credentials: Option<SharedCredentialsProvider>,
    client: Link<Client>,
}

impl DataStream {
    /// Nothing is asked of anybody before the first request. `credentials` takes the place of the default chain.
    pub fn new(
        settings: &Kinesis,
        http: &HttpClients,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Self {
        Self { settings: settings.clone(), http: http.clone(), credentials, client: Link::default() }
    }

    /// Sends one request, once.
    pub async fn send(&self, request: &Request) -> Answer {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return error.into(),
        };
        let stream = &self.settings.stream;
        let call = client.put_records().set_records(Some(Vec::new()));
        // An ARN moves the call to the account's own host name, so it is used only where the user gave one.
        let (call, member) = if stream.starts_with("arn:") {
            (call.stream_arn(stream), "StreamARN")
        } else {
            (call.stream_name(stream), "StreamName")
        };
        let body = match body::of(member, stream, request).await {
            Ok(body) => body,
            Err(failure) => return failure.into(),
        };
        let call = call.customize().mutate_request(move |request| body::replace(request, body.clone()));
        match call.send().await {
            Ok(output) => judge(&output, request.entries.len()),
            Err(error) => self.client.heed(aws::failed(&error)),
        }
    }

    /// What the user set.
    pub(super) fn settings(&self) -> &Kinesis {
        &self.settings
    }

    /// The client as it is now.
    pub(super) async fn client(&self) -> Result<Client, ConnectError> {
        self.client.get(&self.settings.aws, async || self.connect().await).await
    }

    async fn connect(&self) -> Result<Client, ConnectError> {
        let settings = &self.settings.aws;
        let config = aws::load(settings, &self.http, self.credentials.clone()).await?;
        let mut config = aws_sdk_kinesis::config::Builder::from(&config)
            // The SDK would send the whole batch again, what was taken included.
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

/// What the service said of each record.
pub(super) fn judge(output: &PutRecordsOutput, sent: usize) -> Answer {
    let verdicts = output.records().iter().map(|result| Verdict {
        id: result.sequence_number(),
        code: result.error_code(),
        message: result.error_message(),
    });
    // A record that was throttled has its shard in the message alone.
    let shards = output.records().iter().map(|result| {
        let named = result.shard_id().or_else(|| result.error_message());
        named.and_then(Shard::named_in)
    });
    Answer { shards: shards.collect(), ..Answer::judged(sent, verdicts, output.request_id()) }
}
