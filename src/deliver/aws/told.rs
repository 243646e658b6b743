//! What the SDK does besides our requests, told at `debug`: each time that it asks somebody (for credentials, for a role,
//! what a stream is like) and each time that it asks again by itself.
//!
//! It is told where an HTTP request is sent, as the SDK tells of what it does inside only together with what is in
//! its requests. Of a request it is told whom it is for and what it wants, of an answer its status and its id: no path, no
//! header and no body, all of which may hold something that is as good as a credential.

use std::error::Error;
use std::time::Instant;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_types::request_id::RequestId;
use tracing::{Level, debug};

/// What delivery calls: it tells of its requests itself, and knows more of them.
const OURS: [&str; 2] = ["PutRecordBatch", "PutRecords"];

/// A connector that tells of what goes through it.
#[derive(Debug)]
pub(super) struct Told(pub(super) SharedHttpConnector);

impl HttpConnector for Told {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !tracing::enabled!(Level::DEBUG) {
            return self.0.call(request);
        }
        let asked = Asked::of(&request);
        if OURS.contains(&asked.operation.as_str()) {
            return self.0.call(request);
        }
        let (started, call) = (Instant::now(), self.0.call(request));
        HttpConnectorFuture::new(async move {
            let answer = call.await;
            asked.tell(&answer, started);
            answer
        })
    }
}

/// What is told of a request.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    operation: String,
    /// Which of the SDK's attempts it is, where it says so.
    attempt: Option<u32>,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let header = |name| request.headers().get(name);
        let uri = request.uri();
        let authority = uri.split_once("://").map_or(uri, |(_, rest)| rest).split(['/', '?']).next();
        let host = authority.and_then(|authority| authority.rsplit('@').next()).unwrap_or_default();
        let target = header("x-amz-target").and_then(|target| target.rsplit('.').next());
        let action = || request.body().bytes().and_then(action);
        let attempt = header("amz-sdk-request").and_then(|info| {
            info.split(';').find_map(|part| part.trim().strip_prefix("attempt=")?.parse().ok())
        });
        let operation = target.or_else(action).unwrap_or_default();
        Self { host: host.to_owned(), operation: operation.to_owned(), attempt }
    }

    fn tell(&self, answer: &Result<HttpResponse, ConnectorError>, started: Instant) {
        let Self { host, operation, attempt } = self;
        let latency_ms = started.elapsed().as_millis() as u64;
        match answer {
            Ok(answer) => {
                let (status, request_id) =
                    (answer.status().as_u16(), answer.request_id().unwrap_or_default());
                debug!(
                    event = "sdk_request",
                    host, operation, attempt, status, request_id, latency_ms, "the SDK was answered"
                );
            }
            Err(error) => {
                let error = super::chain(error as &(dyn Error + 'static));
                debug!(
                    event = "sdk_request",
                    host, operation, attempt, error, latency_ms, "the SDK was not answered"
                );
            }
        }
    }
}

/// The operation in a form such as STS gets: its name alone.
fn action(body: &[u8]) -> Option<&str> {
    let name = body.strip_prefix(b"Action=")?.split(|byte| *byte == b'&').next()?;
    std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn asked(uri: &str, headers: &[(&'static str, &'static str)], body: &'static str) -> Asked {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_uri(uri).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, *value);
        }
        Asked::of(&request)
    }

    fn is(host: &str, operation: &str, attempt: Option<u32>) -> Asked {
        Asked { host: host.into(), operation: operation.into(), attempt }
    }

    #[test]
    fn of_a_request_only_whom_it_is_for_and_what_it_wants_is_told() {
        let sts = asked(
            "https://sts.eu-central-1.amazonaws.com/",
            &[("amz-sdk-request", "attempt=2; max=3"), ("authorization", "secret")],
            "Action=AssumeRole&Version=2011-06-15&ExternalId=secret",
        );
        assert_eq!(sts, is("sts.eu-central-1.amazonaws.com", "AssumeRole", Some(2)));
        let stream = asked(
            "https://user:secret@kinesis.test:4567/?secret",
            &[("x-amz-target", "Kinesis_20131202.DescribeStreamSummary"), ("amz-sdk-request", "attempt=1")],
            "{\"Action=\": \"secret\"}",
        );
        assert_eq!(stream, is("kinesis.test:4567", "DescribeStreamSummary", Some(1)));
        let path = asked("http://169.254.170.2/v2/credentials/secret", &[], "");
        assert_eq!(path, is("169.254.170.2", "", None));
        assert_eq!(action(b"Action=a secret&b"), None);
    }
}
