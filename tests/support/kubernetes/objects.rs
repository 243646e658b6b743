//! Objects as an API server has them.

use serde_json::{Map, Value, json};

use super::NODE;
use crate::support::logs::Container;

/// A pod of a Deployment `web` with one container.
#[derive(Clone)]
pub struct PodObject {
    pub container: Container,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub node: String,
    /// The kind and the name of who made it.
    pub owner: (String, String),
    /// The UID in the API, where that is not the one in the path.
    pub uid: Option<String>,
}

impl PodObject {
    /// On [`NODE`], labelled by its Deployment.
    pub fn of(container: &Container) -> Self {
        let labels = [("app.kubernetes.io/name", "web"), ("pod-template-hash", "7d9f8c")];
        Self {
            container: container.clone(),
            labels: labels.map(|(name, value)| (name.into(), value.into())).into(),
            annotations: Vec::new(),
            node: NODE.into(),
            owner: ("ReplicaSet".into(), "web-7d9f8c".into()),
            uid: None,
        }
    }

    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.retain(|(other, _)| other != name);
        self.labels.push((name.into(), value.into()));
        self
    }

    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.into(), value.into()));
        self
    }

    pub fn object(&self) -> Value {
        let map = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
        };
        let image = "registry.example/shop/web:1.4";
        json!({
            "metadata": {
                "namespace": self.container.namespace,
                "name": self.container.pod,
                "uid": self.uid.as_ref().unwrap_or(&self.container.uid),
                "labels": map(&self.labels),
                "annotations": map(&self.annotations),
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}}],
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": self.owner.0, "name": self.owner.1, "uid": "r", "controller": true,
                }],
            },
            "spec": {
                "nodeName": self.node,
                "containers": [{"name": self.container.name, "image": image}],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [{
                    "name": self.container.name, "image": image, "restartCount": 0, "ready": true,
                    "imageID": "registry.example/shop/web@sha256:0a1b", "containerID": "cri-o://00ff", "state": {},
                }],
            },
        })
    }
}

/// A namespace with a label.
pub fn namespace(name: &str, label: (&str, &str)) -> Value {
    json!({"metadata": {"name": name, "uid": name, "labels": {label.0: label.1}}, "status": {"phase": "Active"}})
}
