//! CloudWatch takes metrics within its limits and refuses others.

use aws_sdk_cloudwatch::error::ProvideErrorMetadata as _;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};

use super::support::clients;
use super::support::endpoint::Endpoint;

fn datum(number: usize) -> MetricDatum {
    let dimension = Dimension::builder().name("number").value(number.to_string()).build();
    MetricDatum::builder()
        .metric_name("lag")
        .dimensions(dimension)
        .timestamp(DateTime::from_secs(1))
        .unit(StandardUnit::Seconds)
        .value(0.5)
        .build()
}

fn with(name: &str, value: &str) -> MetricDatum {
    let mut made = datum(0);
    made.dimensions = Some(vec![Dimension::builder().name(name).value(value).build()]);
    made
}

fn valued(value: f64) -> MetricDatum {
    let mut made = datum(0);
    made.value = Some(value);
    made
}

#[tokio::test]
async fn metrics_are_taken_as_they_were_put_and_those_beyond_the_limits_are_refused() {
    let endpoint = Endpoint::plain().access_key(clients::ACCESS_KEY, clients::SECRET_KEY).start().await;
    let client = clients::cloudwatch(&endpoint);
    let many: Vec<MetricDatum> = (0..1001).map(datum).collect();
    let large: Vec<MetricDatum> =
        (0..999).map(|number| with(&format!("n{number}"), &"x".repeat(1024))).collect();
    for (what, data, taken) in [
        ("1000 metrics", many[..1000].to_vec(), true),
        ("1001 metrics", many.clone(), false),
        ("a million bytes", large, false),
        ("the same metric twice", vec![datum(1), datum(1)], false),
        ("no character but of ASCII", vec![with("file", "ä")], false),
        ("an empty value", vec![with("file", "")], false),
        ("what is no number", vec![valued(f64::NAN)], false),
        ("a negative number", vec![valued(-1.0)], true),
    ] {
        let put = client.put_metric_data().namespace("n").set_metric_data(Some(data)).send().await;
        let code = put.as_ref().err().and_then(|error| error.code());
        assert_eq!(put.is_ok(), taken, "{what}: {code:?}");
    }
    let account = endpoint.account();
    assert_eq!(account.metrics.len(), 2);
    assert!(account.metrics[0].compressed && account.metrics[0].data.len() == 1000);
    let metric = &account.metrics[0].data[7];
    assert_eq!((metric.name.as_str(), metric.unit.as_str(), metric.sum()), ("lag", "Seconds", 0.5));
    assert_eq!(metric.dimension("number"), Some("7"));
    assert_eq!(account.refused_calls.get("InvalidParameterValue"), Some(&5));
}
