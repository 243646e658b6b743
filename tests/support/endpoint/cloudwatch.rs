//! Amazon CloudWatch: PutMetricData, in the protocol that its SDK speaks (Smithy RPC v2 CBOR), within its limits (API
//! reference, PutMetricData, MetricDatum and Dimension).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use bytes::Bytes;
use ciborium::Value;
use flate2::read::GzDecoder;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::protocol::{ErrorAnswer, header, respond};

/// Where the operation is.
pub(super) const PATH: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
/// Its name in a signature's scope.
pub(super) const SIGNING_NAME: &str = "monitoring";

const MAX_METRICS: usize = 1000;
const MAX_BYTES: usize = 1_000_000;
const MAX_DIMENSIONS: usize = 30;
const MAX_VALUES: usize = 150;

/// A call whose metrics were taken.
#[derive(Clone, Debug)]
pub struct PutMetrics {
    /// Where they were put.
    pub namespace: String,
    /// What was put there.
    pub data: Vec<Metric>,
    /// Whether the call was compressed.
    pub compressed: bool,
}

/// A metric at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Names and values.
    pub dimensions: BTreeMap<String, String>,
    /// Each with how often it came.
    pub values: Vec<(f64, f64)>,
    /// Such as `Count`.
    pub unit: String,
    /// In seconds, where it is said.
    pub resolution: Option<i64>,
}

impl Metric {
    /// The sum of its values.
    pub fn sum(&self) -> f64 {
        self.values.iter().map(|(value, count)| value * count).sum()
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions.get(name).map(String::as_str)
    }
}

/// What a request puts.
pub(super) fn read(head: &Parts, body: &[u8]) -> Result<PutMetrics, ErrorAnswer> {
    if header(head, "smithy-protocol") != Some("rpc-v2-cbor")
        || header(head, "content-type") != Some("application/cbor")
    {
        return Err(ErrorAnswer::new(404, "UnknownOperationException", ""));
    }
    let compressed = header(head, "content-encoding") == Some("gzip");
    let mut plain = Vec::new();
    if compressed {
        GzDecoder::new(body).read_to_end(&mut plain).map_err(|error| malformed(&error.to_string()))?;
    } else {
        plain.extend_from_slice(body);
    }
    if plain.len() > MAX_BYTES {
        return Err(ErrorAnswer::new(413, "RequestEntityTooLargeException", ""));
    }
    let root: Value =
        ciborium::from_reader(plain.as_slice()).map_err(|error| malformed(&error.to_string()))?;
    let namespace = text(&root, "Namespace")?;
    let data =
        member(&root, "MetricData").and_then(Value::as_array).ok_or_else(|| malformed("MetricData"))?;
    let data: Vec<Metric> = data.iter().map(metric).collect::<Result<_, _>>()?;
    let different: BTreeSet<_> = data.iter().map(|metric| (&metric.name, &metric.dimensions)).collect();
    if data.is_empty() || different.len() > MAX_METRICS || different.len() != data.len() {
        return Err(invalid(&format!("{} metrics, {} of them different", data.len(), different.len())));
    }
    Ok(PutMetrics { namespace, data, compressed })
}

fn metric(datum: &Value) -> Result<Metric, ErrorAnswer> {
    let none = Vec::new();
    let mut dimensions = BTreeMap::new();
    let all = member(datum, "Dimensions").and_then(Value::as_array).unwrap_or(&none);
    for dimension in all {
        let (name, value) = (text(dimension, "Name")?, text(dimension, "Value")?);
        let plain =
            |text: &str| text.is_ascii() && !text.trim().is_empty() && !text.contains(char::is_control);
        if !plain(&name) || !plain(&value) || name.starts_with(':') || name.len() > 255 || value.len() > 1024
        {
            return Err(invalid(&format!("the dimension {name:?}: {value:?}")));
        }
        dimensions.insert(name, value);
    }
    if dimensions.len() != all.len() || all.len() > MAX_DIMENSIONS {
        return Err(invalid("Dimensions"));
    }
    let numbers = |name: &str| -> Vec<f64> {
        let list = member(datum, name).and_then(Value::as_array).unwrap_or(&none);
        list.iter().filter_map(number).collect()
    };
    let values = match member(datum, "Value").and_then(number) {
        Some(value) => vec![(value, 1.0)],
        None => numbers("Values").into_iter().zip(numbers("Counts")).collect(),
    };
    let fits = |value: f64| value.is_finite() && value.abs() <= 2_f64.powi(360);
    if values.is_empty() || values.len() > MAX_VALUES || !values.iter().all(|(value, _)| fits(*value)) {
        return Err(invalid("Value"));
    }
    if !matches!(member(datum, "Timestamp"), Some(Value::Tag(1, _))) {
        return Err(invalid("Timestamp"));
    }
    let resolution = member(datum, "StorageResolution").and_then(Value::as_integer);
    Ok(Metric {
        name: text(datum, "MetricName")?,
        dimensions,
        values,
        unit: text(datum, "Unit")?,
        resolution: resolution.and_then(|number| i64::try_from(number).ok()),
    })
}

fn member<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    let found = of.as_map()?.iter().find(|(key, _)| key.as_text() == Some(name))?;
    Some(&found.1)
}

fn text(of: &Value, name: &str) -> Result<String, ErrorAnswer> {
    let text = member(of, name).and_then(Value::as_text).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| invalid(name))
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| i128::from(number) as f64))
}

fn invalid(what: &str) -> ErrorAnswer {
    ErrorAnswer::new(400, "InvalidParameterValue", format!("not as it should be: {what}"))
}

fn malformed(what: &str) -> ErrorAnswer {
    ErrorAnswer::new(400, "SerializationException", what)
}

/// The answer to a call.
pub(super) fn answer(outcome: Result<(), &ErrorAnswer>, request_id: u128) -> Response<Full<Bytes>> {
    let mut response = respond(request_id, String::new());
    let headers = response.headers_mut();
    headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    let mut body = Vec::new();
    let told = match outcome {
        Ok(()) => Vec::new(),
        Err(error) => {
            *response.status_mut() = StatusCode::from_u16(error.status).expect("an HTTP status");
            let type_name = format!("com.amazonaws.cloudwatch#{}", error.code);
            vec![("__type".into(), type_name.into()), ("message".into(), error.message.as_str().into())]
        }
    };
    ciborium::into_writer(&Value::Map(told), &mut body).expect("memory takes it");
    *response.body_mut() = Full::from(body);
    response
}
