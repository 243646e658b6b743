//! `cloudwatch`: names of dimensions, and keys that need another.

use super::Validator;
use crate::config::diagnostics::{Path, did_you_mean};
use crate::config::raw;
use crate::deliver::CloudWatch;
use crate::telemetry::NAMES;

/// What is left of CloudWatch's 30 for the metrics' own.
const MOST_DIMENSIONS: usize = 20;

impl Validator<'_> {
    pub(super) fn cloudwatch(&mut self, path: &Path, typed: &raw::CloudWatch) -> CloudWatch {
        let aws = typed.aws();
        self.need_role(path, &typed.role_arn, &typed.external_id, &typed.session_name);
        self.aws(path, &aws);
        let dimensions = path.key("dimensions");
        if typed.dimensions.0.len() > MOST_DIMENSIONS {
            self.error(&dimensions, format!("are more than {MOST_DIMENSIONS}; a metric has 30 with its own"));
        }
        for (name, _) in &typed.dimensions.0 {
            if let Err(message) = raw::read_dimension_name(name) {
                let path = dimensions.key(name);
                let place = self.document.locate_key(&path);
                self.errors.add(place, &path, message);
            }
        }
        for (index, metric) in typed.metrics.iter() {
            let text = metric.0.as_str();
            if !NAMES.iter().any(|name| metric.0.matches(name)) {
                let near = did_you_mean(text, NAMES.iter().copied());
                let message = format!("there is no metric {text:?}{near}; docs/metrics.md has all of them");
                self.error(&path.key("metrics").index(index), message);
            }
        }
        if !typed.agent_metrics && typed.metrics.is_empty() {
            self.warn(path, "sends nothing: `agent_metrics` is false and `metrics` is empty");
        }
        let value = |(name, value): &(String, Option<raw::DimensionValue>)| {
            Some((name.clone(), value.as_ref()?.0.clone()))
        };
        CloudWatch {
            namespace: typed.namespace.0.clone(),
            interval: typed.interval.0,
            agent_metrics: typed.agent_metrics,
            metrics: typed.metrics.iter().map(|(_, name)| name.0.clone()).collect(),
            dimensions: typed.dimensions.0.iter().filter_map(value).collect(),
            aws,
        }
    }
}
