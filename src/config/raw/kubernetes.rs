//! `kubernetes`, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Endpoint, NameGlob};
use super::{FilePath, OneOrMany, Size, Text, Time};
use crate::kubernetes::{ApiSettings, KubernetesSettings, NamePattern, RecordFields};

/// What the API of Kubernetes tells of the pods of this node.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kubernetes {
    /// The node whose pods are asked for; `host` unless said.
    #[schemars(example = &"${env:NODE_NAME}")]
    pub(crate) node: Option<Text>,
    /// Where the API is. In a pod nothing has to be said: its service account tells.
    pub(crate) api: Api,
    /// How long the first records of a file wait at most for what the API tells of its pod. Without an answer they go on
    /// with what the path tells. While the API is out of reach nothing waits.
    #[schemars(extend("x-limits" = {"min": "0s", "max": "1h"}))]
    pub(crate) wait: Time,
    /// How long a deleted pod stays known.
    #[schemars(extend("x-limits" = {"min": "0s", "max": "1d"}))]
    pub(crate) keep_deleted: Time,
    /// The most pods that are known at once, deleted ones among them. The longest deleted go first.
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_pods: u32,
    /// The most memory for what is known of pods and namespaces. Namespaces take half of it at most.
    #[schemars(extend("x-limits" = {"min": "64KiB", "max": "4GiB"}))]
    pub(crate) max_memory: Size,
    /// Labels of the pod that records carry as `kubernetes.labels`: patterns of their names; `[]` for none.
    #[schemars(example = &["app", "app.kubernetes.io/*"])]
    pub(crate) labels: OneOrMany<NameGlob>,
    /// Annotations of the pod that records carry as `kubernetes.annotations`: patterns of their names. Of a pod's
    /// annotations 16 KiB are kept.
    #[schemars(example = &["example.com/*"])]
    pub(crate) annotations: OneOrMany<NameGlob>,
    /// Labels of the pod's namespace that records carry as `kubernetes.namespace_labels`: patterns of their names; `[]`
    /// for none.
    #[schemars(example = &["team"])]
    pub(crate) namespace_labels: OneOrMany<NameGlob>,
    /// Labels of the node that records carry as `kubernetes.node_labels`: patterns of their names; `[]` for none.
    #[schemars(example = &["topology.kubernetes.io/zone"])]
    pub(crate) node_labels: OneOrMany<NameGlob>,
    /// Whether records carry who made the pod: `kubernetes.owner_kind` and `kubernetes.owner_name`, of a Deployment's pod
    /// the Deployment.
    pub(crate) owner: bool,
    /// Whether records carry the container's image, `kubernetes.container_image` and `kubernetes.container_hash`.
    pub(crate) image: bool,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let settings = KubernetesSettings::default();
        let globs = |patterns: Vec<NamePattern>| patterns.into_iter().map(NameGlob).collect();
        Self {
            node: None,
            api: Api::default(),
            wait: Time(settings.wait),
            keep_deleted: Time(settings.keep_deleted),
            max_pods: u32::try_from(settings.max_pods).unwrap_or(u32::MAX),
            max_memory: Size(settings.max_memory),
            labels: globs(settings.fields.labels),
            annotations: globs(settings.fields.annotations),
            namespace_labels: globs(settings.fields.namespace_labels),
            node_labels: globs(settings.fields.node_labels),
            owner: settings.fields.owner,
            image: settings.fields.image,
        }
    }
}

impl Kubernetes {
    /// What it says, checked as far as the schema checks.
    pub(crate) fn settings(self) -> KubernetesSettings {
        let patterns = |typed: &OneOrMany<NameGlob>| typed.iter().map(|(_, name)| name.0.clone()).collect();
        KubernetesSettings {
            node: self.node.map(|node| node.0),
            api: ApiSettings {
                url: self.api.url.map(|url| url.0),
                token_file: self.api.token_file.map(|file| file.0),
                ca_file: self.api.ca_file.map(|file| file.0),
            },
            wait: self.wait.0,
            keep_deleted: self.keep_deleted.0,
            max_pods: self.max_pods as usize,
            max_memory: self.max_memory.0,
            wishes: false,
            fields: RecordFields {
                labels: patterns(&self.labels),
                annotations: patterns(&self.annotations),
                namespace_labels: patterns(&self.namespace_labels),
                node_labels: patterns(&self.node_labels),
                owner: self.owner,
                image: self.image,
            },
        }
    }
}

/// Where the API is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Api {
    /// Its URL; in a pod that of the cluster unless said.
    #[schemars(example = &"https://api.cluster.example:6443")]
    pub(crate) url: Option<Endpoint>,
    /// A file with the token of a service account.
    #[schemars(example = &"/etc/kinetail/kubernetes/token")]
    pub(crate) token_file: Option<FilePath>,
    /// A file with the certificates that the API's must come from (PEM).
    #[schemars(example = &"/etc/kinetail/kubernetes/ca.crt")]
    pub(crate) ca_file: Option<FilePath>,
}
