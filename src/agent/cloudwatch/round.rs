//! What is sent of the metrics: how much was counted since it was sent last, and what is measured now.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::exposition::{Kind, Sample};
use crate::deliver::{CloudWatch, Datum, Measured, MetricUnit};

/// The Kinesis Agent's dimension.
const DESTINATION: &str = "Destination";

/// The Kinesis Agent's metrics: their names, and the counters of a destination that make them up.
const OF_AGENT: [(&str, MetricUnit, &[&str]); 5] = [
    (
        "RecordSendAttempts",
        MetricUnit::Count,
        &["kinetail_delivered_entries_total", "kinetail_failed_entries_total"],
    ),
    ("RecordSendErrors", MetricUnit::Count, &["kinetail_failed_entries_total"]),
    ("RecordsSent", MetricUnit::Count, &["kinetail_delivered_entries_total"]),
    ("BytesSent", MetricUnit::Bytes, &["kinetail_delivered_bytes_total"]),
    ("ServiceErrors", MetricUnit::Count, &["kinetail_service_errors_total"]),
];

/// What was counted until it was sent last, by the metric it was sent for and the series. Their number is that of the
/// series.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(HashMap<(String, String), f64>);

/// A metric's name and labels.
type Labelled<'t> = (&'t str, Vec<(&'t str, &'t str)>);

/// A metric that is to be sent, and what it says of counters.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) datum: Datum,
    counted: Vec<((String, String), f64)>,
}

impl Sent {
    /// What was counted so far is not to be sent, unless it is being sent already.
    pub(super) fn begin(&mut self, points: Vec<Point>) {
        for (series, value) in points.into_iter().flat_map(|point| point.counted) {
            self.0.entry(series).or_insert(value);
        }
    }

    /// This was sent.
    pub(super) fn took(&mut self, points: impl IntoIterator<Item = Point>) {
        self.0.extend(points.into_iter().flat_map(|point| point.counted));
    }

    /// How much a counter rose.
    fn since(&self, metric: &str, sample: &Sample<'_>) -> (f64, ((String, String), f64)) {
        let key = (metric.to_owned(), sample.series.to_owned());
        let before = self.0.get(&key).copied().unwrap_or_default();
        // One that came back with its destination begins at zero again.
        let rose = if sample.value < before { sample.value } else { sample.value - before };
        (rose, (key, sample.value))
    }

    /// Only these are there still.
    pub(super) fn forget_others(&mut self, points: &[Point]) {
        let there: HashSet<&(String, String)> =
            points.iter().flat_map(|point| &point.counted).map(|(key, _)| key).collect();
        self.0.retain(|key, _| there.contains(key));
    }

    /// What there is. `streams` has the Kinesis Agent's dimension for each destination that is one. Not all of it can be
    /// sent.
    pub(super) fn points(
        &self,
        samples: &[Sample<'_>],
        streams: &HashMap<String, String>,
        settings: &CloudWatch,
    ) -> Vec<Point> {
        let mut points = Vec::new();
        if settings.agent_metrics {
            self.of_agent(samples, streams, &mut points);
        }
        let mut histograms: BTreeMap<Labelled<'_>, Vec<&Sample<'_>>> = BTreeMap::new();
        for sample in samples {
            if !settings.metrics.iter().any(|pattern| pattern.matches(sample.name)) {
                continue;
            }
            match sample.kind {
                Kind::Histogram => {
                    let labels = sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    histograms.entry((sample.name, labels)).or_default().push(sample);
                }
                Kind::Counter => {
                    let (rose, counted) = self.since(sample.name, sample);
                    points.push(point(sample, Measured::Value(rose), vec![counted]));
                }
                Kind::Gauge => points.push(point(sample, Measured::Value(sample.value), Vec::new())),
            }
        }
        points.extend(histograms.values().map(|buckets| self.histogram(buckets)));
        for point in &mut points {
            point.datum.dimensions.extend(settings.dimensions.iter().cloned());
        }
        points
    }

    fn of_agent(&self, samples: &[Sample<'_>], streams: &HashMap<String, String>, points: &mut Vec<Point>) {
        for (name, unit, counters) in OF_AGENT {
            // Several destinations may lead to one stream.
            let mut of_streams: BTreeMap<&str, (f64, Vec<_>)> =
                streams.values().map(|stream| (stream.as_str(), Default::default())).collect();
            for sample in samples.iter().filter(|sample| counters.contains(&sample.name)) {
                let stream = sample.label("destination").and_then(|name| streams.get(name));
                if let Some((sum, parts)) = stream.and_then(|stream| of_streams.get_mut(stream.as_str())) {
                    let (rose, counted) = self.since(name, sample);
                    *sum += rose;
                    parts.push(counted);
                }
            }
            points.extend(of_streams.into_iter().map(|(stream, (sum, counted))| Point {
                datum: Datum {
                    name: name.to_owned(),
                    dimensions: vec![(DESTINATION.to_owned(), stream.to_owned())],
                    unit,
                    measured: Measured::Value(sum),
                },
                counted,
            }));
        }
    }

    /// Each observation as the upper bound of its bucket; those above the last bound as that.
    fn histogram(&self, buckets: &[&Sample<'_>]) -> Point {
        let (mut below, mut last) = (0.0, 0.0);
        let (mut values, mut counted) = (Vec::new(), Vec::new());
        for bucket in buckets {
            let (rose, now) = self.since(bucket.name, bucket);
            counted.push(now);
            let bound = bucket.bound.filter(|bound| bound.is_finite()).unwrap_or(last);
            let count: f64 = rose - below;
            if count > 0.0 {
                match values.last_mut() {
                    Some((value, all)) if *value == bound => *all += count,
                    _ => values.push((bound, count)),
                }
            }
            (below, last) = (rose, bound);
        }
        point(buckets[0], Measured::Distribution(values), counted)
    }
}

fn point(sample: &Sample<'_>, measured: Measured, counted: Vec<((String, String), f64)>) -> Point {
    let dimensions = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let unit = unit(sample);
    Point { datum: Datum { name: sample.name.to_owned(), dimensions, unit, measured }, counted }
}

/// As names of metrics end.
fn unit(sample: &Sample<'_>) -> MetricUnit {
    let stem = sample.name.strip_suffix("_total").unwrap_or(sample.name);
    match stem {
        stem if stem.ends_with("_bytes_per_second") => MetricUnit::BytesPerSecond,
        stem if stem.ends_with("_bytes") => MetricUnit::Bytes,
        stem if stem.ends_with("_seconds") => MetricUnit::Seconds,
        _ if sample.kind == Kind::Counter => MetricUnit::Count,
        _ => MetricUnit::None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::exposition::samples;
    use super::*;
    use crate::deliver::{Aws, MetricPattern};

    fn settings(agent_metrics: bool, metrics: &[&str]) -> CloudWatch {
        CloudWatch {
            namespace: "kinetail".into(),
            interval: Duration::from_secs(60),
            agent_metrics,
            metrics: metrics.iter().map(|name| MetricPattern::new(name).unwrap()).collect(),
            dimensions: vec![("Node".into(), "n1".into())],
            aws: Aws::default(),
        }
    }

    fn streams() -> HashMap<String, String> {
        let stream = |name: &str| (name.to_owned(), "DeliveryStream:archive".to_owned());
        HashMap::from([stream("a"), stream("b")])
    }

    fn points(sent: &Sent, text: &str, settings: &CloudWatch) -> Vec<Point> {
        sent.points(&samples(text), &streams(), settings)
    }

    /// Names, first dimensions and values.
    fn told(points: &[Point]) -> Vec<(String, String, Measured)> {
        let tell = |Point { datum, .. }: &Point| {
            assert_eq!(datum.dimensions.last(), Some(&("Node".to_owned(), "n1".to_owned())));
            (datum.name.clone(), datum.dimensions[0].1.clone(), datum.measured.clone())
        };
        points.iter().filter(|point| point.datum.is_sendable()).map(tell).collect()
    }

    const LINES: &str = "# TYPE kinetail_lines counter\nkinetail_lines_total{route=\"web\"} ";

    #[test]
    fn a_counter_is_sent_as_what_it_rose_since_it_was_taken() {
        let mut sent = Sent::default();
        let only = settings(false, &["kinetail_lines_total"]);
        let web = |rose| [("kinetail_lines_total".to_owned(), "web".to_owned(), Measured::Value(rose))];
        let at = |sent: &Sent, value: u32| points(sent, &format!("{LINES}{value}"), &only);
        sent.begin(at(&sent, 5));
        assert_eq!(told(&at(&sent, 7)), web(2.0));
        // Nobody took it: it comes with the next.
        let next = at(&sent, 10);
        assert_eq!(told(&next), web(5.0));
        sent.took(next);
        assert_eq!(told(&at(&sent, 10)), web(0.0));
        assert_eq!(told(&at(&sent, 3)), web(3.0), "it began anew");
        sent.begin(at(&sent, 12));
        assert_eq!(told(&at(&sent, 12)), web(2.0), "what is being sent already goes on");
    }

    #[test]
    fn the_agents_metrics_are_those_of_each_stream() {
        let text = "# TYPE kinetail_delivered_entries counter\n\
                    kinetail_delivered_entries_total{destination=\"a\"} 3\n\
                    kinetail_delivered_entries_total{destination=\"b\"} 4\n\
                    kinetail_delivered_entries_total{destination=\"folder\"} 9\n\
                    # TYPE kinetail_failed_entries counter\n\
                    kinetail_failed_entries_total{destination=\"a\",code=\"X\"} 1\n\
                    kinetail_failed_entries_total{destination=\"a\",code=\"Y\"} 1\n\
                    # TYPE kinetail_delivered_bytes counter\n\
                    kinetail_delivered_bytes_total{destination=\"a\"} 100\n\
                    # TYPE kinetail_service_errors counter\n\
                    kinetail_service_errors_total{destination=\"b\"} 2\n";
        let mut sent = Sent::default();
        let found = points(&sent, text, &settings(true, &[]));
        let of =
            |name: &str, value| (name.to_owned(), "DeliveryStream:archive".into(), Measured::Value(value));
        assert_eq!(
            told(&found),
            [
                of("RecordSendAttempts", 9.0),
                of("RecordSendErrors", 2.0),
                of("RecordsSent", 7.0),
                of("BytesSent", 100.0),
                of("ServiceErrors", 2.0)
            ]
        );
        assert_eq!(found[0].datum.dimensions[0].0, "Destination");
        assert_eq!(found[3].datum.unit, MetricUnit::Bytes);
        // One that was sent alone says nothing of the others, which count the same.
        sent.took([found[0].clone()]);
        let next = points(&sent, text, &settings(true, &[]));
        assert_eq!(
            (&told(&next)[0], &told(&next)[2]),
            (&of("RecordSendAttempts", 0.0), &of("RecordsSent", 7.0))
        );
    }

    #[test]
    fn gauges_and_histograms_are_sent_as_they_are_now() {
        let text = "# TYPE kinetail_lag_seconds gauge\nkinetail_lag_seconds{destination=\"a\"} 1.5\n\
                    # TYPE kinetail_request_duration_seconds histogram\n\
                    kinetail_request_duration_seconds_sum{destination=\"a\"} 9\n\
                    kinetail_request_duration_seconds_count{destination=\"a\"} 4\n\
                    kinetail_request_duration_seconds_bucket{le=\"0.5\",destination=\"a\"} 1\n\
                    kinetail_request_duration_seconds_bucket{le=\"1.0\",destination=\"a\"} 1\n\
                    kinetail_request_duration_seconds_bucket{le=\"5.0\",destination=\"a\"} 3\n\
                    kinetail_request_duration_seconds_bucket{le=\"+Inf\",destination=\"a\"} 4\n";
        let all = settings(false, &["kinetail_*"]);
        let mut sent = Sent::default();
        let found = points(&sent, text, &all);
        let lag = ("kinetail_lag_seconds".to_owned(), "a".to_owned(), Measured::Value(1.5));
        let spread = Measured::Distribution(vec![(0.5, 1.0), (5.0, 3.0)]);
        let duration = ("kinetail_request_duration_seconds".to_owned(), "a".to_owned(), spread);
        assert_eq!(told(&found), [lag.clone(), duration]);
        assert_eq!(found[0].datum.unit, MetricUnit::Seconds);
        sent.took(found);
        let found = points(&sent, text, &all);
        assert_eq!(told(&found), [lag], "nothing was observed since");
        sent.forget_others(&found);
        assert_eq!(sent.0.len(), 4, "what was sent of it is still known");
        sent.forget_others(&[]);
        assert!(sent.0.is_empty());
    }
}
