//! What the store holds, and how it is kept within its limits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::super::facts::{Names, weight_of};
use super::super::{KubernetesSettings, Pod, PodFacts};

#[derive(Default)]
pub(super) struct State {
    /// None where nobody wants to know anything.
    pub(super) settings: Option<Arc<KubernetesSettings>>,
    /// The node's name, as records carry it.
    pub(super) node: String,
    pub(super) standing: Standing,
    /// All pods were listed once.
    pub(super) complete: bool,
    pub(super) pods: HashMap<String, Kept>,
    /// By what kubelet names static pods.
    by_hash: HashMap<String, String>,
    by_name: HashMap<(String, String), String>,
    pub(super) namespaces: HashMap<String, (Arc<Names>, u64)>,
    /// What is expected beside pods, and was neither had nor refused yet.
    pub(super) expects_namespaces: bool,
    /// Pods are asked for something of which nothing was kept before.
    pub(super) expects_pods: bool,
    pub(super) expects_node: bool,
    pub(super) node_labels: (Arc<Names>, u64),
    /// Pods of which not all is known that is wanted, and since when somebody waits for it.
    pub(super) asked: HashMap<(String, String), Instant>,
    /// Since when somebody waits and the API has told of no pod.
    pub(super) silent: Option<Instant>,
    /// What pods and namespaces take of `max_memory`.
    pub(super) bytes: usize,
    /// What namespaces take of it.
    of_namespaces: usize,
    refusing: bool,
    refusing_namespaces: bool,
    /// What a list that is under way has given so far.
    pub(super) listed: HashSet<String>,
}

pub(super) struct Kept {
    pub(super) facts: Arc<PodFacts>,
    /// The labels that it had when it was first known. By them it is decided where its files go: that must not change on
    /// the way.
    pub(super) first_labels: Arc<Names>,
    pub(super) bytes: usize,
    pub(super) deleted: Option<Instant>,
    pub(super) stamp: u64,
}

/// There is no room. Has the settings where nothing of the kind was refused since there was room the last time.
pub(super) type Refused = Option<Arc<KubernetesSettings>>;

/// How things are with the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not asked.
    #[default]
    Off,
    /// It has not answered yet.
    Starting,
    /// All pods are known, and changes come.
    Synced,
    /// It does not answer.
    Failing,
}

impl State {
    pub(super) fn kept(&self, pod: &Pod) -> Option<&Kept> {
        let uid = match &pod.uid {
            Some(uid) => self.by_hash.get(uid).unwrap_or(uid),
            None => self.by_name.get(&(pod.namespace.clone(), pod.name.clone()))?,
        };
        let kept = self.pods.get(uid)?;
        // Whoever can write logs can name folders; nobody may borrow another's labels.
        (kept.facts.namespace == pod.namespace && kept.facts.name == pod.name).then_some(kept)
    }

    /// Until when what is not known of a pod may be waited for; none where that makes no sense, or not any more. Each pod is
    /// waited for once. As long as the API tells nothing, all waits end when the first does: it may be out of reach though
    /// no connection has noticed yet.
    pub(super) fn until(&mut self, pod: &Pod, now: Instant) -> Option<Instant> {
        let settings = self.settings.as_ref()?;
        let (wait, most) = (settings.wait, settings.max_pods);
        if !matches!(self.standing, Standing::Starting | Standing::Synced) || wait.is_zero() {
            return None;
        }
        let silent = *self.silent.get_or_insert(now);
        if now >= silent + wait {
            return None;
        }
        let name = (pod.namespace.clone(), pod.name.clone());
        if self.asked.len() >= most && !self.asked.contains_key(&name) {
            self.asked.retain(|_, since| now < *since + wait);
            if self.asked.len() >= most {
                return None;
            }
        }
        let since = *self.asked.entry(name).or_insert(now);
        Some(since.min(silent) + wait).filter(|until| now < *until)
    }

    /// Keeps a pod where there is room.
    pub(super) fn put(&mut self, facts: PodFacts, stamp: u64) -> Result<(), Refused> {
        let Some(settings) = self.settings.clone() else { return Ok(()) };
        if let Some(kept) = self.pods.get_mut(&facts.uid)
            && *kept.facts == facts
        {
            kept.deleted = None;
            return Ok(());
        }
        let uid = facts.uid.clone();
        let labels = Arc::new(facts.labels.clone());
        let first_labels = self.forget(&uid).map_or(labels, |before| before.first_labels);
        let bytes = facts.weight() + weight_of(&first_labels);
        let max = most(&settings);
        while self.pods.len() >= settings.max_pods || self.bytes + bytes > max {
            let deleted = self.pods.iter().filter_map(|(uid, kept)| Some((kept.deleted?, uid)));
            let Some((_, oldest)) = deleted.min() else {
                let first = !std::mem::replace(&mut self.refusing, true);
                return Err(first.then_some(settings));
            };
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
        self.refusing = false;
        self.bytes += bytes;
        if let Some(hash) = &facts.config_hash {
            self.by_hash.insert(hash.clone(), uid.clone());
        }
        self.by_name.insert((facts.namespace.clone(), facts.name.clone()), uid.clone());
        self.pods.insert(uid, Kept { facts: Arc::new(facts), first_labels, bytes, deleted: None, stamp });
        Ok(())
    }

    pub(super) fn forget(&mut self, uid: &str) -> Option<Kept> {
        let kept = self.pods.remove(uid)?;
        self.bytes -= kept.bytes;
        if let Some(hash) = &kept.facts.config_hash
            && self.by_hash.get(hash).is_some_and(|other| other == uid)
        {
            self.by_hash.remove(hash);
        }
        let name = (kept.facts.namespace.clone(), kept.facts.name.clone());
        if self.by_name.get(&name).is_some_and(|other| other == uid) {
            self.by_name.remove(&name);
        }
        Some(kept)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let Some(keep) = self.settings.as_ref().map(|settings| settings.keep_deleted) else { return };
        let over =
            |kept: &Kept| kept.deleted.is_some_and(|deleted| now.saturating_duration_since(deleted) >= keep);
        let gone: Vec<String> =
            self.pods.iter().filter(|(_, kept)| over(kept)).map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| drop(self.forget(uid)));
    }

    /// Keeps the labels of a namespace, or forgets them. They may take half of the memory, so that a cluster of very many
    /// namespaces leaves room for this node's pods.
    pub(super) fn namespace(&mut self, name: &str, labels: Option<Names>, stamp: u64) -> Result<(), Refused> {
        let Some(settings) = self.settings.clone() else { return Ok(()) };
        if labels.as_ref() == self.namespaces.get(name).map(|(labels, _)| &**labels) {
            return Ok(());
        }
        self.forget_namespace(name);
        let Some(labels) = labels else { return Ok(()) };
        let weight = weight_of(&labels) + name.len();
        let max = most(&settings);
        if self.of_namespaces + weight > max / 2 || self.bytes + weight > max {
            let first = !std::mem::replace(&mut self.refusing_namespaces, true);
            return Err(first.then_some(settings));
        }
        self.refusing_namespaces = false;
        (self.bytes, self.of_namespaces) = (self.bytes + weight, self.of_namespaces + weight);
        self.namespaces.insert(name.to_owned(), (Arc::new(labels), stamp));
        Ok(())
    }

    pub(super) fn forget_namespace(&mut self, name: &str) {
        if let Some((labels, _)) = self.namespaces.remove(name) {
            let weight = weight_of(&labels) + name.len();
            (self.bytes, self.of_namespaces) = (self.bytes - weight, self.of_namespaces - weight);
        }
    }
}

/// `max_memory` in bytes.
fn most(settings: &KubernetesSettings) -> usize {
    usize::try_from(settings.max_memory.0).unwrap_or(usize::MAX)
}
