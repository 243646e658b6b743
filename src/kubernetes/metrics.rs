//! What is counted of the API and of what it told.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Wish;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMetadata {
    metadata: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResource {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAnnotation {
    annotation: &'static str,
}

/// When what the API tells of a file's pod was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enriched {
    /// Before its first record was made.
    InTime,
    /// Not before its first record was made; later ones have it.
    Late,
    /// Not when its first record was made. It may come late.
    Missing,
}

/// Counters and gauges; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) pods: Gauge,
    pub(super) memory: Gauge,
    pub(super) up: Gauge,
    pub(super) refused: Counter,
    pub(super) namespaces_refused: Counter,
    pub(super) annotations_left_out: Counter,
    lists: Family<ByResource, Counter>,
    failures: Family<ByResource, Counter>,
    files: Family<ByMetadata, Counter>,
    files_waiting: Gauge,
    records: Family<ByMetadata, Counter>,
    excluded: Family<ByRoute, Counter>,
    annotations_refused: Family<ByAnnotation, Counter>,
}

/// What is asked for. Their time series begin at zero.
const RESOURCES: [&str; 3] = ["pods", "namespaces", "nodes"];

impl Metrics {
    /// Makes them known under their names.
    pub fn register(&self, registry: &mut Registry) {
        for resource in RESOURCES {
            drop(self.lists.get_or_create(&ByResource { resource }));
            drop(self.failures.get_or_create(&ByResource { resource }));
        }
        for metadata in ["in_time", "late", "missing"] {
            drop(self.files.get_or_create(&ByMetadata { metadata }));
        }
        for metadata in ["api", "path"] {
            drop(self.records.get_or_create(&ByMetadata { metadata }));
        }
        for annotation in Wish::ALL.map(Wish::name).into_iter().chain([Wish::UNKNOWN]) {
            drop(self.annotations_refused.get_or_create(&ByAnnotation { annotation }));
        }
        let sub = registry.sub_registry_with_prefix("kubernetes");
        sub.register(
            "pods",
            "Pods of which the API's metadata is known, deleted ones among them",
            self.pods.clone(),
        );
        sub.register_with_unit(
            "memory",
            "Memory that the API's metadata takes, about",
            Unit::Bytes,
            self.memory.clone(),
        );
        sub.register(
            "api_up",
            "Whether the API answers (1), or what it told is kept without it (0); 0 where it is not asked",
            self.up.clone(),
        );
        sub.register("api_lists", "Lists that the API gave in full, by resource", self.lists.clone());
        sub.register(
            "api_failures",
            "Requests to the API that failed and were tried again, by resource",
            self.failures.clone(),
        );
        sub.register(
            "pods_refused",
            "Times that a pod's metadata was not kept because of kubernetes.max_pods or kubernetes.max_memory",
            self.refused.clone(),
        );
        sub.register(
            "namespaces_refused",
            "Times that a namespace's labels were not kept because those of all would take half of kubernetes.max_memory",
            self.namespaces_refused.clone(),
        );
        sub.register(
            "annotations_left_out",
            "Annotations that were not kept because a pod's take more than 16 KiB",
            self.annotations_left_out.clone(),
        );
        sub.register(
            "files",
            "Files of pods by when the API's metadata was known: before their first record, after it, or not when it was made",
            self.files.clone(),
        );
        sub.register(
            "files_waiting",
            "Files that are not read because labels of their pods are not known yet",
            self.files_waiting.clone(),
        );
        sub.register(
            "records",
            "Records of pods' files by where their metadata is from: the API, or the file's path alone",
            self.records.clone(),
        );
        sub.register(
            "excluded_messages",
            "Messages that were left out because an annotation of their pod says so, or because none asks for them (opt_in), by route",
            self.excluded.clone(),
        );
        sub.register(
            "annotations_refused",
            "Annotations of pods about their logs that were not understood, each counted once",
            self.annotations_refused.clone(),
        );
    }

    /// So many messages of a route were left out because their pod says so. The first call begins its time series.
    pub fn excluded(&self, route: &str, messages: u64) {
        self.excluded.get_or_create(&ByRoute { route: route.to_owned() }).inc_by(messages);
    }

    /// An annotation of a pod was not understood.
    pub fn annotation_refused(&self, annotation: &'static str) {
        self.annotations_refused.get_or_create(&ByAnnotation { annotation }).inc();
    }

    /// A file's metadata came, or did not.
    pub fn file(&self, enriched: Enriched) {
        let metadata = match enriched {
            Enriched::InTime => "in_time",
            Enriched::Late => "late",
            Enriched::Missing => "missing",
        };
        self.files.get_or_create(&ByMetadata { metadata }).inc();
    }

    /// So many files are not read because labels are not known.
    pub fn files_waiting(&self, files: usize) {
        self.files_waiting.set(files as i64);
    }

    /// So many records of a pod were made, with what the API tells or without.
    pub fn records(&self, with_api: bool, count: u64) {
        let metadata = if with_api { "api" } else { "path" };
        self.records.get_or_create(&ByMetadata { metadata }).inc_by(count);
    }

    pub(super) fn listed(&self, resource: &'static str) {
        self.lists.get_or_create(&ByResource { resource }).inc();
    }

    pub(super) fn failed(&self, resource: &'static str) {
        self.failures.get_or_create(&ByResource { resource }).inc();
    }
}
