//! What is measured, as CloudWatch takes it, within its limits.
//!
//! The limits are those of the API reference's page of PutMetricData and of its MetricDatum and Dimension.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_types::DateTime;

/// The most metrics in one call (API reference, PutMetricData: "no more than 1000 different metrics").
const MAX_METRICS: usize = 1000;
/// The most bytes of one call (API reference, PutMetricData: "limited to 1 MB in size for HTTP POST requests"). They are
/// counted before the SDK compresses them, as it is not said which is meant.
const MAX_BYTES: usize = 1_000_000;
/// The most dimensions of a metric, and characters of a dimension's value (API reference, MetricDatum and Dimension).
const MAX_DIMENSIONS: usize = 30;
const MAX_VALUE: usize = 1024;
/// Values must lie within ±2^360 (API reference, PutMetricData).
const LARGEST: f64 = 2.348_542_582_773_833_3e108;
/// What the form of a call takes beside its texts and numbers: names of members, a timestamp, a unit. A call's own is far
/// smaller than what is left by counting generously.
const OF_DATUM: usize = 160;
const OF_DIMENSION: usize = 24;
const OF_NUMBER: usize = 18;

/// A metric at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Its name.
    pub name: String,
    /// Names and values. Those that CloudWatch would refuse are made fit when it is sent.
    pub dimensions: Vec<(String, String)>,
    /// What its values are.
    pub unit: MetricUnit,
    /// Its values.
    pub measured: Measured,
}

/// The values of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// One.
    Value(f64),
    /// Many: how often each came. At most 150, of which the services' histograms have a tenth.
    Distribution(Vec<(f64, f64)>),
}

/// What values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricUnit {
    /// Things that were counted.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// Anything else.
    None,
}

impl Datum {
    /// Whether its values are such as CloudWatch takes. It refuses a whole call for one that is not.
    pub fn is_sendable(&self) -> bool {
        let fits = |value: f64| value.is_finite() && value.abs() <= LARGEST;
        match &self.measured {
            Measured::Value(value) => fits(*value),
            Measured::Distribution(values) => {
                !values.is_empty() && values.iter().all(|(value, count)| fits(*value) && fits(*count))
            }
        }
    }

    /// No less than the bytes that it takes in a call.
    fn size(&self) -> usize {
        let dimensions = self.sent_dimensions().map(|(name, value)| OF_DIMENSION + name.len() + value.len());
        let numbers = match &self.measured {
            Measured::Value(_) => 1,
            Measured::Distribution(values) => 2 * values.len(),
        };
        OF_DATUM + self.name.len() + dimensions.sum::<usize>() + numbers * OF_NUMBER
    }

    fn sent_dimensions(&self) -> impl Iterator<Item = (&str, String)> {
        let plain = |letter: char| if (' '..='~').contains(&letter) { letter } else { '?' };
        let fit = move |(_, value): &(String, String)| {
            let value: String = value.chars().map(plain).take(MAX_VALUE).collect();
            // A value says something, or there is no such dimension.
            (!value.trim().is_empty()).then_some(value)
        };
        let fit = move |dimension| fit(dimension).map(|value| (dimension.0.as_str(), value));
        self.dimensions.iter().filter_map(fit).take(MAX_DIMENSIONS)
    }

    pub(super) fn as_sent(&self, at: DateTime, resolution: Option<i32>) -> MetricDatum {
        let dimension = |(name, value): (&str, String)| Dimension::builder().name(name).value(value).build();
        let made = MetricDatum::builder()
            .metric_name(&self.name)
            .set_dimensions(Some(self.sent_dimensions().map(dimension).collect()))
            .timestamp(at)
            .unit(self.unit.into())
            .set_storage_resolution(resolution);
        match &self.measured {
            Measured::Value(value) => made.value(*value),
            Measured::Distribution(values) => {
                let (values, counts) = values.iter().copied().unzip();
                made.set_values(Some(values)).set_counts(Some(counts))
            }
        }
        .build()
    }
}

impl From<MetricUnit> for StandardUnit {
    fn from(unit: MetricUnit) -> Self {
        match unit {
            MetricUnit::Count => StandardUnit::Count,
            MetricUnit::Bytes => StandardUnit::Bytes,
            MetricUnit::BytesPerSecond => StandardUnit::BytesSecond,
            MetricUnit::Seconds => StandardUnit::Seconds,
            MetricUnit::None => StandardUnit::None,
        }
    }
}

/// Cuts what is to be sent into calls within the service's limits, in its order. Each is how many of the next there are.
pub fn batches<'a>(data: impl IntoIterator<Item = &'a Datum>) -> Vec<usize> {
    let mut batches = Vec::new();
    let (mut metrics, mut bytes) = (0, 0);
    for datum in data {
        let size = datum.size();
        if metrics > 0 && (metrics == MAX_METRICS || bytes + size > MAX_BYTES) {
            batches.push(metrics);
            (metrics, bytes) = (0, 0);
        }
        metrics += 1;
        bytes += size;
    }
    if metrics > 0 {
        batches.push(metrics);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(dimensions: &[(&str, &str)], measured: Measured) -> Datum {
        let dimensions =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Datum { name: "lag".into(), dimensions, unit: MetricUnit::Seconds, measured }
    }

    #[test]
    fn a_call_has_a_thousand_metrics_at_most() {
        let data = vec![datum(&[], Measured::Value(1.0)); 2500];
        assert_eq!(batches(&data), [1000, 1000, 500]);
        assert!(batches([]).is_empty());
    }

    #[test]
    fn a_call_has_a_million_bytes_at_most() {
        let long = "x".repeat(1000);
        let names: Vec<String> = (0..20).map(|number| format!("name-{number}")).collect();
        let dimensions: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
        let data = vec![datum(&dimensions, Measured::Value(1.0)); 100];
        let cut = batches(&data);
        assert_eq!(cut.iter().sum::<usize>(), 100);
        assert!(cut.len() > 1);
        for count in cut {
            assert!(count * 20 * (1000 + 6) < MAX_BYTES, "{count}");
        }
    }

    #[test]
    fn what_cloudwatch_would_refuse_is_not_sent() {
        for wrong in [f64::NAN, f64::INFINITY, -1e109] {
            assert!(!datum(&[], Measured::Value(wrong)).is_sendable(), "{wrong}");
        }
        assert!(!datum(&[], Measured::Distribution(Vec::new())).is_sendable());
        assert!(datum(&[], Measured::Value(-1e108)).is_sendable());
        assert!(datum(&[], Measured::Distribution(vec![(0.5, 2.0)])).is_sendable());
        let sent = datum(&[("file", "/var/log/ä\n"), ("empty", " ")], Measured::Value(0.0));
        let sent = sent.as_sent(DateTime::from_secs(0), None);
        let dimensions: Vec<_> =
            sent.dimensions().iter().map(|it| (it.name().unwrap(), it.value().unwrap())).collect();
        assert_eq!(dimensions, [("file", "/var/log/??")]);
    }
}
