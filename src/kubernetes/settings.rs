//! What the configuration says of the API of Kubernetes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::NamePattern;
use super::annotations::is_wish;
use crate::units::ByteSize;

/// What is to be known, and what this node is called; none where the API is not to be asked.
pub type Wanted = Option<(Arc<KubernetesSettings>, String)>;

/// The section `kubernetes`.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesSettings {
    /// The node whose pods are asked for; what records carry as `host` unless said.
    pub node: Option<String>,
    /// Where the API is.
    pub api: ApiSettings,
    /// How long the first records of a file wait at most for what the API tells of its pod.
    pub wait: Duration,
    /// How long a deleted pod stays known.
    pub keep_deleted: Duration,
    /// The most pods that are known at once, deleted ones among them.
    pub max_pods: usize,
    /// The most memory for what is known of pods and namespaces, the latter half of it at most.
    pub max_memory: ByteSize,
    /// Whether somebody asks what pods say of their logs.
    pub wishes: bool,
    /// What of it records carry.
    pub fields: RecordFields,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            node: None,
            api: ApiSettings::default(),
            wait: Duration::from_secs(2),
            keep_deleted: Duration::from_secs(600),
            // Ten times what a node runs as a rule; jobs come and go.
            max_pods: 1000,
            max_memory: ByteSize(16 << 20),
            wishes: false,
            fields: RecordFields {
                labels: patterns(&["*"]),
                annotations: Vec::new(),
                namespace_labels: patterns(&["*"]),
                // A node has dozens of labels, which every record would carry.
                node_labels: patterns(&["topology.kubernetes.io/*", "node.kubernetes.io/instance-type"]),
                owner: true,
                image: true,
            },
        }
    }
}

fn patterns(texts: &[&str]) -> Vec<NamePattern> {
    texts.iter().filter_map(|text| NamePattern::new(text).ok()).collect()
}

impl KubernetesSettings {
    /// Whether somebody may ask for this annotation of a pod.
    pub(super) fn keeps_annotation(&self, name: &str) -> bool {
        self.wishes && is_wish(name) || self.fields.annotations.iter().any(|pattern| pattern.takes(name))
    }
}

/// Where the API is, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// Its URL; that of the cluster in which this process is a pod unless said.
    pub url: Option<String>,
    /// A file with a token, read anew as it changes; that of the pod's service account unless said.
    pub token_file: Option<PathBuf>,
    /// The certificates that the API's must come from; those of the pod's service account unless said.
    pub ca_file: Option<PathBuf>,
}

/// What records carry of what the API tells. Names are chosen by patterns: none of them takes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFields {
    /// Labels of the pod.
    pub labels: Vec<NamePattern>,
    /// Annotations of the pod.
    pub annotations: Vec<NamePattern>,
    /// Labels of its namespace.
    pub namespace_labels: Vec<NamePattern>,
    /// Labels of its node.
    pub node_labels: Vec<NamePattern>,
    /// Who made it.
    pub owner: bool,
    /// The container's image.
    pub image: bool,
}
