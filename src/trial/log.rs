//! The log that lines stand in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::Config;
use crate::kubernetes::{Pod, PodStore};

/// A log: its path, and what is known of the pod behind it.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    labels: Option<BTreeMap<String, String>>,
    pods: PodStore,
}

impl Log {
    /// Of which the path is all that is known: its pod's labels may be any.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), labels: None, pods: PodStore::default() }
    }

    /// Of a pod with these labels and no others, if the configuration asks for labels at all.
    pub fn of_pod(config: &Config, path: impl Into<PathBuf>, labels: BTreeMap<String, String>) -> Self {
        let log = Self::at(path);
        let Some((settings, pod)) = config.kubernetes.as_ref().zip(Pod::from_path(&log.path)) else {
            return log;
        };
        let node = settings.node.as_deref().or(config.host.as_deref()).unwrap_or("host");
        let pods = PodStore::knowing(Arc::clone(settings), node, &pod, labels.clone());
        Self { labels: Some(labels), pods, ..log }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The labels of its pod, where they are known.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }

    pub(super) fn pods(&self) -> &PodStore {
        &self.pods
    }

    /// What records carry of its pod.
    pub(super) fn kubernetes(&self) -> Option<Map<String, Value>> {
        let pod = Pod::from_path(&self.path)?;
        Some(self.pods.find(&pod).map_or_else(|| pod.fields(), |known| known.fields(&pod)))
    }
}
