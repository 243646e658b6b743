//! The limits that the configuration sets on rates, as metrics: what is done can be held against them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::Registry;

use super::shown::Shown;
use crate::config::Config;
use crate::deliver::{Destination, RateLimit};
use crate::metric::{ByDestination, register};
use crate::tail::RatePer;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
    /// `file` where it is each file's own, `route` where it is that of all together.
    per: &'static str,
}

/// Where the configuration sets no limit there is no time series. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct RateLimits {
    bytes: Shown<ByDestination>,
    entries: Shown<ByDestination>,
    requests: Shown<ByDestination>,
    route_bytes: Shown<ByRoute>,
    route_lines: Shown<ByRoute>,
}

impl RateLimits {
    pub(super) fn register(&self, registry: &mut Registry) {
        register!(registry, {
            "destination_rate_limit_bytes_per_second": self.bytes.family(),
                "The most that the destination is sent (rate_limit), partition keys counted";
            "destination_rate_limit_entries_per_second": self.entries.family(),
                "The most records of the service that the destination is sent (rate_limit)";
            "destination_rate_limit_requests_per_second": self.requests.family(),
                "The most requests that the destination is sent (rate_limit)";
            "route_rate_limit_bytes_per_second": self.route_bytes.family(),
                "The most that is read of each file of the route, or of all together (rate_limit)";
            "route_rate_limit_lines_per_second": self.route_lines.family(),
                "The most lines that are read of each file of the route, or of all together (rate_limit)";
        });
    }

    /// This configuration counts from now on.
    pub(super) fn follow(&self, config: &Config) {
        let limits = |of: fn(&RateLimit) -> Option<u64>| {
            let limit = |to: &Destination| match to {
                Destination::Firehose(to) => of(&to.rate_limit),
                Destination::Kinesis(to) => of(&to.rate_limit),
                Destination::Directory(_) => None,
            };
            let of_destination = |entry: &crate::config::DestinationConfig| {
                Some((ByDestination::from(&entry.name), signed(limit(&entry.to)?)))
            };
            config.destinations.iter().filter_map(of_destination).collect()
        };
        self.bytes.show(limits(|limit| limit.bytes));
        self.entries.show(limits(|limit| limit.records));
        self.requests.show(limits(|limit| limit.requests));
        let limits = |of: fn(&crate::tail::RateLimit) -> Option<u64>| {
            let of_route = |route: &crate::config::RouteConfig| {
                let limit = route.rate_limit?;
                let per = match limit.per {
                    RatePer::File => "file",
                    RatePer::Route => "route",
                };
                Some((ByRoute { route: route.name.to_string(), per }, signed(of(&limit)?)))
            };
            config.routes.iter().filter_map(of_route).collect()
        };
        self.route_bytes.show(limits(|limit| limit.bytes.map(|size| size.0)));
        self.route_lines.show(limits(|limit| limit.lines.map(u64::from)));
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(rest: &str, of_a: &str) -> Config {
        let text = format!(
            "destinations:\n  a: {{type: firehose, stream: a, packing: none{of_a}}}\n  d: {{type: directory, path: /d}}\n\
             routes:\n  - {{name: web, files: /var/log/a.log, to: [a, d]{rest}}}\n"
        );
        config::parse(&text, "test", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    #[test]
    fn what_the_configuration_limits_is_told_and_what_it_does_not_is_not_there() {
        let limits = RateLimits::default();
        let mut registry = Registry::with_prefix("kinetail");
        limits.register(&mut registry);
        let told = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        limits.follow(&config(
            ", rate_limit: {bytes: 2MiB, lines: 100, per: route}",
            ", rate_limit: {bytes: 1KiB, records: 7, requests: 3}",
        ));
        let destination = |of: &str, limit: u64| {
            format!("kinetail_destination_rate_limit_{of}_per_second{{destination=\"a\"}} {limit}")
        };
        let route = |of: &str, per: &str, limit: u64| {
            format!("kinetail_route_rate_limit_{of}_per_second{{route=\"web\",per=\"{per}\"}} {limit}")
        };
        assert_eq!(
            told(),
            [
                destination("bytes", 1024),
                destination("entries", 7),
                destination("requests", 3),
                route("bytes", "route", 2 << 20),
                route("lines", "route", 100)
            ]
        );
        limits.follow(&config(", rate_limit: {lines: 5}", ""));
        assert_eq!(told(), [route("lines", "file", 5)]);
    }
}
