//! Metrics and their names. A list of metrics has each name as `docs/metrics.md` does, but for the program before it and
//! `_total` behind it, so that a search finds both.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::source::DestinationName;

/// The destination that a metric is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct ByDestination {
    destination: String,
}

impl From<&DestinationName> for ByDestination {
    fn from(name: &DestinationName) -> Self {
        Self { destination: name.to_string() }
    }
}

/// Puts a metric under its name. A unit at its end is told as such, too.
pub(crate) fn add(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    for (end, unit) in [("_bytes", Unit::Bytes), ("_seconds", Unit::Seconds)] {
        if let Some(stem) = name.strip_suffix(end) {
            return registry.register_with_unit(stem, help, unit, metric);
        }
    }
    registry.register(name, help, metric);
}

/// Puts metrics under their names: a name, the metric and what it tells, each.
macro_rules! register {
    ($registry:expr, { $($name:literal: $metric:expr, $help:literal;)* }) => {{
        let registry: &mut prometheus_client::registry::Registry = $registry;
        $($crate::metric::add(registry, $name, $help, $metric.clone());)*
    }};
}

/// Metrics that come with the same labels: a type for all of their time series, and one for those of one set of labels. Of each
/// metric there is its field, its type (and how it is made, if not by default), its name and what it tells.
macro_rules! families {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $families:ident by $labels:ty => $series:ident {
            $($field:ident: $metric:ty $(= $made:expr)?, $name:literal, $help:literal;)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $vis struct $families {
            $($field: prometheus_client::metrics::family::Family<$labels, $metric, fn() -> $metric>),*
        }

        /// Those with one set of labels.
        #[derive(Clone, Debug)]
        $vis struct $series {
            $($vis $field: $metric),*
        }

        impl Default for $families {
            fn default() -> Self {
                use prometheus_client::metrics::family::Family;
                Self { $($field: Family::new_with_constructor($crate::metric::maker!($metric $(, $made)?))),* }
            }
        }

        impl $families {
            /// Puts them under their names.
            $vis fn register(&self, registry: &mut prometheus_client::registry::Registry) {
                $crate::metric::register!(registry, { $($name: self.$field, $help;)* });
            }

            /// Those with these labels; they exist from then on.
            $vis fn of(&self, by: &$labels) -> $series {
                $series { $($field: self.$field.get_or_create_owned(by)),* }
            }

            /// There are none with these labels any more.
            #[allow(dead_code, reason = "some stay as long as the process")]
            $vis fn remove(&self, by: &$labels) {
                $(self.$field.remove(by);)*
            }
        }
    };
}

macro_rules! maker {
    ($metric:ty) => {
        <$metric>::default
    };
    ($metric:ty, $made:expr) => {
        || $made
    };
}

pub(crate) use {families, maker, register};

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;

    use super::*;

    families! {
        /// All kinds.
        struct Families by ByDestination => Series {
            lines: Counter, "lines", "Lines read";
            size: Gauge, "size_bytes", "What it takes";
            took: Histogram = Histogram::new([1.0]), "took_seconds", "How long it took";
        }
    }

    fn told(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn metrics_are_told_under_their_names_with_their_units_as_long_as_they_are_there() {
        let families = Families::default();
        let mut registry = Registry::with_prefix("kinetail");
        families.register(&mut registry);
        let by = ByDestination::from(&"a".into());
        let series = families.of(&by);
        series.lines.inc();
        series.size.set(7);
        series.took.observe(0.5);
        let text = told(&registry);
        for line in [
            "# HELP kinetail_lines Lines read.",
            r#"kinetail_lines_total{destination="a"} 1"#,
            "# UNIT kinetail_size_bytes bytes",
            r#"kinetail_size_bytes{destination="a"} 7"#,
            "# UNIT kinetail_took_seconds seconds",
            r#"kinetail_took_seconds_bucket{le="1.0",destination="a"} 1"#,
        ] {
            assert!(text.iter().any(|told| told == line), "{line} is not in {text:#?}");
        }
        assert_eq!(families.of(&by).lines.get(), 1, "it is the same");
        families.remove(&by);
        assert!(!told(&registry).iter().any(|line| line.contains("destination")));
    }
}
