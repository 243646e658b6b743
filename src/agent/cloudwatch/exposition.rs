//! The metrics as they are shown at `/metrics`, taken apart again: what is sent to CloudWatch is what anybody else sees.

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises.
    Counter,
    /// Anything.
    Gauge,
    /// Counts of what was observed up to each bound.
    Histogram,
}

/// A number of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'t> {
    pub(super) kind: Kind,
    /// As docs/metrics.md has it; of a histogram its family's.
    pub(super) name: &'t str,
    /// Tells it from all others.
    pub(super) series: &'t str,
    /// Without the bound of a bucket.
    pub(super) labels: Vec<(&'t str, String)>,
    /// The upper bound of a bucket.
    pub(super) bound: Option<f64>,
    pub(super) value: f64,
}

impl Sample<'_> {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }
}

/// Reads OpenMetrics. Sums and counts of histograms are passed over: the buckets tell as much.
pub(super) fn samples(text: &str) -> Vec<Sample<'_>> {
    let mut samples = Vec::new();
    let mut family = ("", Kind::Gauge);
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let kind = match kind {
                "counter" => Kind::Counter,
                "histogram" => Kind::Histogram,
                _ => Kind::Gauge,
            };
            family = (name, kind);
        } else if !line.starts_with('#') {
            samples.extend(sample(line, family));
        }
    }
    samples
}

fn sample<'t>(line: &'t str, (family, kind): (&'t str, Kind)) -> Option<Sample<'t>> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut labels = read_labels(labels);
    let mut bound = None;
    let mut shown = name;
    if kind == Kind::Histogram {
        shown = name.strip_suffix("_bucket")?;
        debug_assert_eq!(shown, family);
        let at = labels.iter().position(|(label, _)| *label == "le")?;
        bound = Some(labels.remove(at).1.parse().ok()?);
    }
    Some(Sample { kind, name: shown, series, labels, bound, value: value.parse().ok()? })
}

/// `name="value",…}` with `\\`, `\"` and `\n` in values.
fn read_labels(mut text: &str) -> Vec<(&str, String)> {
    let mut labels = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut letters = rest.char_indices();
        let end = loop {
            match letters.next() {
                Some((_, '\\')) => match letters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => return labels,
                },
                Some((at, '"')) => break at,
                Some((_, letter)) => value.push(letter),
                None => return labels,
            }
        };
        labels.push((name.trim_start_matches(','), value));
        text = &rest[end + 1..];
    }
    labels
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    #[test]
    fn what_is_registered_comes_back_with_labels_and_values() {
        let mut registry = Registry::with_prefix("kinetail");
        let lines = Family::<Vec<(&str, String)>, Counter>::default();
        registry.register("lines", "Lines", lines.clone());
        let odd = "a\"b\\c\nd,e=\"{f} 7".to_owned();
        lines.get_or_create(&vec![("route", odd.clone()), ("of", "x".into())]).inc_by(7);
        let free = Gauge::<i64>::default();
        free.set(-1);
        registry.register_with_unit("free", "Free", Unit::Bytes, free);
        let took = Histogram::new([0.1, 1.0]);
        [0.05, 0.5, 7.0].iter().for_each(|it| took.observe(*it));
        registry.register_with_unit("took", "Took", Unit::Seconds, took);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let all = samples(&text);
        let [counted, free, buckets @ ..] = &all[..] else { panic!("{text}") };
        assert_eq!((counted.kind, counted.name, counted.value), (Kind::Counter, "kinetail_lines_total", 7.0));
        assert_eq!(counted.labels, [("route", odd.clone()), ("of", "x".into())]);
        assert_eq!(counted.label("route"), Some(odd.as_str()));
        assert_eq!((free.kind, free.name, free.value), (Kind::Gauge, "kinetail_free_bytes", -1.0));
        assert!(free.labels.is_empty());
        let buckets: Vec<_> = buckets.iter().map(|it| (it.name, it.bound, it.value)).collect();
        let name = "kinetail_took_seconds";
        assert_eq!(
            buckets,
            [(name, Some(0.1), 1.0), (name, Some(1.0), 2.0), (name, Some(f64::INFINITY), 3.0)]
        );
    }
}
