//! What is kept of a pod, made of what the API gives.

use std::collections::BTreeMap;

use super::annotations::is_wish;
use super::object::{Container, ContainerStatus, PodObject};
use super::{NamePattern, Pod};

/// By this annotation a static pod's mirror in the API says the hash that the kubelet names its log folder by.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// What a Deployment's ReplicaSet appends to its own name.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// OpenShift's annotation of who is behind a ReplicationController.
const DEPLOYMENT_CONFIG: &str = "openshift.io/deployment-config.name";
/// The most bytes of annotations that are kept of one pod. Kubernetes allows 256 KiB, which every record would carry.
const MAX_ANNOTATIONS: usize = 16 << 10;
/// What an entry of a map takes beside its texts, about.
const ENTRY: usize = 64;

/// Labels or annotations.
pub(super) type Names = BTreeMap<String, String>;

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What the API names it by.
    pub uid: String,
    /// What the kubelet names a static pod by.
    pub config_hash: Option<String>,
    /// All of its labels: routes may ask for any.
    pub labels: Names,
    /// Those of its annotations that somebody may ask for.
    pub annotations: Names,
    /// Who made it.
    pub owner: Option<Owner>,
    /// Its containers, of all kinds.
    pub containers: Vec<ContainerFacts>,
}

/// Who made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job` and so on.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What is known of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// Its image, as the runtime names it, or else as it was asked for.
    pub image: Option<String>,
    /// The image's digest, as the runtime names it.
    pub image_id: Option<String>,
    /// The id of its last start, without the runtime's name.
    pub id: Option<String>,
    /// The id of the start before that.
    pub id_before: Option<String>,
    /// How often it was started again before that.
    pub restarts: u32,
}

impl PodFacts {
    /// Takes what matters of what the API gives. `wanted` are the annotations to keep. Also returns how many of those
    /// were left out because they are too long. None of what has no name or UID.
    pub(super) fn of(object: PodObject, wanted: impl Fn(&str) -> bool) -> Option<(Self, u64)> {
        let meta = object.metadata;
        let labels = meta.labels.unwrap_or_default();
        let all = meta.annotations.unwrap_or_default();
        let config_hash = all.get(CONFIG_HASH).cloned();
        let controller = meta.owner_references.unwrap_or_default();
        let controller = controller.into_iter().find(|owner| owner.controller == Some(true));
        let owner = controller.map(|owner| owner_of(owner.kind, owner.name, &labels, &all));
        let (mut annotations, mut room, mut left_out) = (Names::new(), MAX_ANNOTATIONS, 0);
        // What they say of logs has room before all others.
        let (wishes, others): (Vec<_>, Vec<_>) =
            all.into_iter().filter(|(name, _)| wanted(name)).partition(|(name, _)| is_wish(name));
        for (name, value) in wishes.into_iter().chain(others) {
            match room.checked_sub(name.len() + value.len()) {
                Some(rest) => {
                    room = rest;
                    annotations.insert(name, value);
                }
                None => left_out += 1,
            }
        }
        let (spec, status) = (object.spec, object.status);
        let statuses =
            [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        let mut statuses: Vec<ContainerStatus> = statuses.into_iter().flatten().collect();
        let containers = [spec.containers, spec.init_containers, spec.ephemeral_containers];
        let containers = containers.into_iter().flatten().map(|container| {
            let at = statuses.iter().position(|status| status.name == container.name);
            ContainerFacts::of(container, at.map(|at| statuses.swap_remove(at)))
        });
        let facts = Self {
            namespace: meta.namespace?,
            name: meta.name?,
            uid: meta.uid?,
            config_hash,
            labels,
            annotations,
            owner,
            containers: containers.collect(),
        };
        Some((facts, left_out))
    }

    /// The memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        let own = self.namespace.len() + self.name.len() + 3 * self.uid.len() + 4 * ENTRY;
        let owner = self.owner.as_ref().map_or(0, |owner| owner.kind.len() + owner.name.len());
        let container = |container: &ContainerFacts| {
            let texts = [&container.image, &container.image_id, &container.id, &container.id_before];
            let texts: usize = texts.into_iter().flatten().map(String::len).sum();
            container.name.len() + texts + 2 * ENTRY
        };
        let containers: usize = self.containers.iter().map(container).sum();
        own + owner + containers + weight_of(&self.labels) + weight_of(&self.annotations)
    }

    /// A container by the name that a file's path tells.
    pub fn container(&self, pod: &Pod) -> Option<&ContainerFacts> {
        self.containers.iter().find(|container| container.name == pod.container)
    }
}

/// The memory that labels or annotations take, about.
pub(super) fn weight_of(names: &Names) -> usize {
    names.iter().map(|(name, value)| name.len() + value.len() + ENTRY).sum()
}

/// Those that a pattern takes.
pub(super) fn chosen<'n>(
    names: &'n Names,
    patterns: &'n [NamePattern],
) -> impl Iterator<Item = (&'n String, &'n String)> {
    names.iter().filter(|(name, _)| patterns.iter().any(|pattern| pattern.takes(name)))
}

impl ContainerFacts {
    fn of(container: Container, status: Option<ContainerStatus>) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let status = status.unwrap_or_default();
        let id = |with_runtime: Option<String>| {
            let id = with_runtime.and_then(some)?;
            Some(id.split_once("://").map_or(id.clone(), |(_, id)| id.to_owned()))
        };
        let before = status.last_state.terminated.unwrap_or_default();
        Self {
            name: container.name,
            image: some(status.image).or(container.image),
            image_id: some(status.image_id),
            id: id(status.container_id),
            id_before: id(before.container_id),
            restarts: status.restart_count,
        }
    }

    /// Whether one of its starts that are known had this id.
    pub(super) fn had(&self, id: &str) -> bool {
        [&self.id, &self.id_before].into_iter().flatten().any(|known| known == id)
    }
}

/// Whoever is behind the controller that made a pod: of a Deployment's ReplicaSet it is the Deployment, which people know.
fn owner_of(kind: String, name: String, labels: &Names, annotations: &Names) -> Owner {
    let deployment = || {
        let hash = labels.get(TEMPLATE_HASH).filter(|_| kind == "ReplicaSet")?;
        name.strip_suffix(hash.as_str())?.strip_suffix('-').filter(|name| !name.is_empty())
    };
    let config = || annotations.get(DEPLOYMENT_CONFIG).filter(|_| kind == "ReplicationController");
    if let Some(name) = deployment() {
        return Owner { kind: "Deployment".into(), name: name.to_owned() };
    }
    if let Some(name) = config() {
        return Owner { kind: "DeploymentConfig".into(), name: name.clone() };
    }
    Owner { kind, name }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(object: Value) -> (PodFacts, u64) {
        let object: PodObject = serde_json::from_value(object).unwrap();
        PodFacts::of(object, |name| name.starts_with("team/")).unwrap()
    }

    fn owned(kind: &str, name: &str, labels: Value, annotations: Value) -> Owner {
        let owners = json!([
            {"apiVersion": "v1", "kind": "Other", "name": "x", "uid": "1"},
            {"apiVersion": "v1", "kind": kind, "name": name, "uid": "2", "controller": true},
        ]);
        let object = json!({"metadata": {
            "namespace": "n", "name": "p", "uid": "u",
            "labels": labels, "annotations": annotations, "ownerReferences": owners,
        }});
        facts(object).0.owner.unwrap()
    }

    #[test]
    fn the_owner_is_the_deployment_and_not_its_replica_set() {
        let hash = json!({"pod-template-hash": "7d9f"});
        let is = |kind: &str, name: &str| Owner { kind: kind.into(), name: name.into() };
        assert_eq!(owned("ReplicaSet", "web-7d9f", hash.clone(), json!({})), is("Deployment", "web"));
        assert_eq!(owned("ReplicaSet", "web-7d9f", json!({}), json!({})), is("ReplicaSet", "web-7d9f"));
        assert_eq!(owned("ReplicaSet", "other", hash.clone(), json!({})), is("ReplicaSet", "other"));
        assert_eq!(owned("StatefulSet", "db-7d9f", hash, json!({})), is("StatefulSet", "db-7d9f"));
        let config = json!({"openshift.io/deployment-config.name": "shop"});
        assert_eq!(
            owned("ReplicationController", "shop-3", json!({}), config),
            is("DeploymentConfig", "shop")
        );
    }

    #[test]
    fn containers_of_all_kinds_have_their_image_before_and_after_they_start() {
        let object = json!({
            "metadata": {"namespace": "n", "name": "p", "uid": "u"},
            "spec": {
                "containers": [{"name": "app", "image": "shop:1"}, {"name": "new", "image": "new:1"}],
                "initContainers": [{"name": "init", "image": "init:1"}],
            },
            "status": {
                "containerStatuses": [{
                    "name": "app", "image": "registry/shop:1", "imageID": "registry/shop@sha256:ab",
                    "containerID": "cri-o://0123", "restartCount": 2, "ready": true, "state": {},
                    "lastState": {"terminated": {"exitCode": 1, "containerID": "cri-o://4567"}},
                }],
                "initContainerStatuses": [{"name": "init", "image": "", "imageID": "", "restartCount": 0}],
            },
        });
        let (facts, _) = facts(object);
        let image = |name: &str| {
            let container = facts.containers.iter().find(|container| container.name == name).unwrap();
            (container.image.as_deref(), container.image_id.as_deref(), container.id.as_deref())
        };
        assert_eq!(image("app"), (Some("registry/shop:1"), Some("registry/shop@sha256:ab"), Some("0123")));
        assert_eq!(image("new"), (Some("new:1"), None, None));
        assert_eq!(image("init"), (Some("init:1"), None, None));
        assert_eq!(facts.containers[0].restarts, 2);
        assert!(["0123", "4567"].into_iter().all(|id| facts.containers[0].had(id)));
        assert!(!facts.containers[0].had("89ab") && !facts.containers[1].had("0123"));
    }

    #[test]
    fn annotations_are_kept_as_far_as_they_are_wanted_and_there_is_room() {
        let long = "x".repeat(MAX_ANNOTATIONS);
        let object = json!({"metadata": {
            "namespace": "n", "name": "p", "uid": "u",
            "annotations": {"team/a": "1", "team/long": long, "team/z": "2", "other": "3", CONFIG_HASH: "ab"},
        }});
        let (facts, left_out) = facts(object);
        assert_eq!(facts.annotations.keys().collect::<Vec<_>>(), ["team/a", "team/z"]);
        assert_eq!((left_out, facts.config_hash.as_deref()), (1, Some("ab")));
        assert!(facts.weight() < 2000);
    }

    #[test]
    fn what_has_no_uid_is_no_pod() {
        let object: PodObject = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert_eq!(PodFacts::of(object, |_| true), None);
    }
}
