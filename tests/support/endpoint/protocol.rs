//! The AWS JSON 1.1 protocol, which both services speak: `POST /`, the operation in `X-Amz-Target`, JSON
//! bodies with blobs in base64, errors as `{"__type": …, "message": …}` and in `x-amzn-errortype`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const JSON: &str = "application/x-amz-json-1.1";

/// The largest body taken: Kinesis' 10 MiB of records in base64, and room for the JSON around them.
pub(super) const MAX_BODY: usize = 16 << 20;

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Amazon Data Firehose.
    Firehose,
    /// Amazon Kinesis Data Streams.
    Kinesis,
}

impl Service {
    /// Its name in a signature's scope.
    pub(super) fn signing_name(self) -> &'static str {
        match self {
            Service::Firehose => "firehose",
            Service::Kinesis => "kinesis",
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Many records.
    PutMany,
    /// One record.
    PutOne,
    /// What the stream is like.
    Describe,
}

/// An error as the services answer it, for a whole call or (its status aside) for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status of the call.
    pub status: u16,
    /// Such as `ValidationException`.
    pub code: String,
    /// What a person reads.
    pub message: String,
}

impl ErrorAnswer {
    /// Any error, also one that AWS would not give.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// The service cannot take more at the moment; lasting, the stream's quota is reached.
    pub fn service_unavailable() -> Self {
        Self::new(503, "ServiceUnavailableException", "Slow down.")
    }

    /// The service failed inside.
    pub fn internal_failure() -> Self {
        Self::new(500, "InternalFailure", "Internal Service Failure")
    }

    /// A shard, or an account, was asked for more than its limit.
    pub fn throughput_exceeded() -> Self {
        Self::new(400, "ProvisionedThroughputExceededException", "Rate exceeded for the stream.")
    }

    /// The caller may not put records there.
    pub fn access_denied() -> Self {
        Self::new(
            400,
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/test is not authorized to perform this action",
        )
    }

    /// The session's credentials are too old.
    pub fn expired_token() -> Self {
        Self::new(400, "ExpiredTokenException", "The security token included in the request is expired")
    }

    /// Something in the request is not right, beyond what the service's model says.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgumentException", message)
    }

    /// There is no such stream.
    pub fn resource_not_found(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceNotFoundException", message)
    }

    /// The request does not keep the constraint that the service's model puts on a member.
    pub(super) fn constraint(member: &str, constraint: &str) -> Self {
        Self::new(
            400,
            "ValidationException",
            format!(
                "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {constraint}"
            ),
        )
    }

    fn serialization(message: impl std::fmt::Display) -> Self {
        Self::new(400, "SerializationException", message.to_string())
    }

    /// The HTTP response.
    pub(super) fn response(&self, request_id: u128) -> Response<Full<Bytes>> {
        let body = serde_json::json!({"__type": self.code, "message": self.message});
        let mut response = respond(request_id, body.to_string());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("an HTTP status");
        response.headers_mut().insert(
            "x-amzn-errortype",
            HeaderValue::from_str(&self.code).expect("an error's code is a word"),
        );
        response
    }
}

/// A successful response with this body.
pub(super) fn respond(request_id: u128, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert("x-amzn-requestid", HeaderValue::from_str(&uuid(request_id)).expect("hexadecimal digits"));
    response
}

/// A number as a UUID is written.
pub(super) fn uuid(number: u128) -> String {
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// What the head of a request asks for.
pub(super) fn operation(head: &Parts) -> Result<(Service, Operation), ErrorAnswer> {
    let unknown = || ErrorAnswer::new(400, "UnknownOperationException", "");
    if head.method != Method::POST || head.uri.path() != "/" || head.uri.query().is_some() {
        return Err(unknown());
    }
    if header(head, "content-type") != Some(JSON) {
        return Err(unknown());
    }
    match header(head, "x-amz-target") {
        Some("Firehose_20150804.PutRecordBatch") => Ok((Service::Firehose, Operation::PutMany)),
        Some("Firehose_20150804.PutRecord") => Ok((Service::Firehose, Operation::PutOne)),
        Some("Firehose_20150804.DescribeDeliveryStream") => Ok((Service::Firehose, Operation::Describe)),
        Some("Kinesis_20131202.PutRecords") => Ok((Service::Kinesis, Operation::PutMany)),
        Some("Kinesis_20131202.PutRecord") => Ok((Service::Kinesis, Operation::PutOne)),
        Some("Kinesis_20131202.DescribeStreamSummary") => Ok((Service::Kinesis, Operation::Describe)),
        _ => Err(unknown()),
    }
}

/// A header's value, if it is there once and is text.
pub(super) fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

/// A request's body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorAnswer> {
    serde_json::from_slice(body).map_err(ErrorAnswer::serialization)
}

/// A blob: base64 in JSON, raw here.
#[derive(Clone, Debug, Default)]
pub(super) struct Blob(pub(super) Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a blob in base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                BASE64.decode(text).map(|raw| Blob(raw.into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Records that a request wants to put, within the service's limits.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) stream: String,
    pub(super) entries: Vec<Entry>,
}

impl Put {
    /// What the records count against the limit of a request: the raw bytes of data and partition keys.
    pub(super) fn size(&self) -> usize {
        self.entries.iter().map(Entry::size).sum()
    }
}

/// One record of a request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Bytes,
    /// Kinesis only.
    pub(super) partition_key: Option<String>,
    /// What decides the shard; Kinesis only.
    pub(super) hash_key: Option<u128>,
}

impl Entry {
    /// The raw bytes of data and partition key.
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.partition_key.as_ref().map_or(0, String::len)
    }
}

/// Where a record was put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Unique and rising in this endpoint.
    pub(super) sequence: u64,
    /// Kinesis only.
    pub(super) shard: Option<usize>,
}

/// What became of each entry of a request, in its order.
pub(super) type Outcomes = Vec<Result<Taken, ErrorAnswer>>;
