//! An answer of the store, and what records carry of it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::facts::{Names, chosen};
use super::super::{KubernetesSettings, NamePattern, Pod, PodFacts};

/// What is known of a pod's container.
#[derive(Clone, Debug)]
pub struct Known {
    /// Two answers of the same stamp say the same.
    pub stamp: u64,
    /// The pod.
    pub pod: Arc<PodFacts>,
    /// Nothing more is expected to be told of it.
    pub complete: bool,
    pub(super) namespace_labels: Arc<Names>,
    pub(super) node_labels: Arc<Names>,
    pub(super) node: String,
    pub(super) settings: Arc<KubernetesSettings>,
}

impl Known {
    /// What a record carries under `kubernetes`: what the path tells, and what the API tells beside it.
    pub fn fields(&self, pod: &Pod) -> Map<String, Value> {
        let mut all = pod.fields();
        let fields = &self.settings.fields;
        all.entry("pod_id").or_insert_with(|| self.pod.uid.clone().into());
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                all.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        if let Some(container) = self.pod.container(pod).filter(|_| fields.image) {
            add("container_image", text(&container.image));
            add("container_hash", text(&container.image_id));
        }
        add("host", Some(self.node.as_str().into()));
        if let Some(owner) = self.pod.owner.as_ref().filter(|_| fields.owner) {
            add("owner_kind", Some(owner.kind.as_str().into()));
            add("owner_name", Some(owner.name.as_str().into()));
        }
        add("labels", object(&self.pod.labels, &fields.labels));
        add("annotations", object(&self.pod.annotations, &fields.annotations));
        add("namespace_labels", object(&self.namespace_labels, &fields.namespace_labels));
        add("node_labels", object(&self.node_labels, &fields.node_labels));
        all
    }
}

/// Those that are chosen; none where there are none.
fn object(names: &Names, patterns: &[NamePattern]) -> Option<Value> {
    let chosen: Map<String, Value> =
        chosen(names, patterns).map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    (!chosen.is_empty()).then_some(Value::Object(chosen))
}
