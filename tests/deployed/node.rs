//! A node of the cluster: its file system as far as pods reach into it, and what kubelet makes of a pod's template.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::manifest::{Manifest, list, text};
use crate::pod::Pod;
use crate::support::container::{Container, Mount};
use crate::support::endpoint::Settings;
use crate::support::kubernetes::NODE;
use crate::support::network::PodNetwork;
use crate::volumes::{Projected, Source, belongs_to, folder, give_to};

/// A node, and all that is around it.
pub(crate) struct Node {
    folder: tempfile::TempDir,
    pub(crate) cloud: Cloud,
    pods: Cell<u32>,
    /// The files of each ConfigMap and Secret that there is.
    kept: RefCell<BTreeMap<String, Vec<(String, String)>>>,
    /// How often tokens were made anew.
    tokens: Cell<u32>,
    projected: RefCell<Vec<Projected>>,
}

impl Node {
    /// With these delivery streams to be reached, whoever writes to them.
    pub(crate) async fn with(streams: &[&str]) -> Self {
        Self::on(Cloud::with(streams, |endpoint| endpoint).await)
    }

    /// The same, with an endpoint that is set up in this way.
    pub(crate) async fn with_endpoint(streams: &[&str], endpoint: impl FnOnce(Settings) -> Settings) -> Self {
        Self::on(Cloud::with(streams, endpoint).await)
    }

    fn on(cloud: Cloud) -> Self {
        // As kubelet makes logs: /var/log/pods 0750, files 0640, all of root.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
        let node = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            cloud,
            pods: Cell::new(0),
            kept: RefCell::default(),
            tokens: Cell::new(1),
            projected: RefCell::default(),
        };
        folder(node.folder.path(), 0o755);
        folder(&node.at("/var/log/pods"), 0o750);
        node
    }

    /// A path of the node.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("node").join(path.trim_start_matches('/'))
    }

    /// Its logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.at("/var/log")
    }

    /// The ConfigMaps and Secrets of a manifest are what it says from now on, in running pods too.
    pub(crate) fn apply(&self, manifest: &Manifest) {
        manifest.files().for_each(|(name, files)| self.keep(name, &files));
    }

    /// A ConfigMap or a Secret has these files from now on.
    pub(crate) fn keep(&self, name: &str, files: &[(&str, &str)]) {
        let files = files.iter().map(|(file, content)| ((*file).to_owned(), (*content).to_owned()));
        self.kept.borrow_mut().insert(name.to_owned(), files.collect());
        for volume in self.projected.borrow_mut().iter_mut() {
            if volume.sources.contains(&Source::Kept(name.to_owned())) {
                volume.put(&self.content(&volume.sources));
            }
        }
    }

    /// Tokens are made anew, and put in the place of those before.
    pub(crate) fn new_tokens(&self) {
        self.tokens.set(self.tokens.get() + 1);
        for volume in self.projected.borrow_mut().iter_mut() {
            if volume.sources.iter().any(|source| matches!(source, Source::Token { .. })) {
                volume.put(&self.content(&volume.sources));
            }
        }
    }

    /// The token of the moment for an audience.
    pub(crate) fn token(&self, audience: &str) -> String {
        format!("token-{}-for-{audience}", self.tokens.get())
    }

    fn content(&self, sources: &[Source]) -> Vec<(String, String)> {
        let of = |source: &Source| match source {
            Source::Kept(name) => self.kept.borrow().get(name).cloned().unwrap_or_default(),
            Source::Token { audience, file } => vec![(file.clone(), self.token(audience))],
        };
        sources.iter().flat_map(of).collect()
    }

    /// A pod of this manifest's workload comes to the node: what it is given is there, and nothing of it runs yet.
    pub(crate) fn pod(&self, manifest: &Manifest) -> Pod<'_> {
        self.apply(manifest);
        self.pod_of(manifest.pod())
    }

    /// The same for a template that somebody in the cluster has changed on its way.
    pub(crate) fn pod_of(&self, spec: Value) -> Pod<'_> {
        self.pods.set(self.pods.get() + 1);
        let own = self.folder.path().join(format!("pod-{}", self.pods.get()));
        folder(&own, 0o755);
        let network =
            if spec["hostNetwork"] == true { self.cloud.network.host() } else { self.cloud.network.pod() };
        let containers = list(&spec["initContainers"]).iter().chain(list(&spec["containers"]));
        let kinetail =
            containers.into_iter().find(|one| one["name"] == "kinetail").expect("kinetail").clone();
        let container = self.container(&spec, &kinetail, &network, &own);
        Pod::new(self, own, network, kinetail, container)
    }

    fn container(&self, pod: &Value, kinetail: &Value, network: &PodNetwork, own: &Path) -> Container {
        assert!(kinetail["envFrom"].is_null(), "what comes so does not change in a running process");
        let value = |variable: &Value| match &variable["value"] {
            Value::Null => {
                assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
                NODE.to_owned()
            }
            value => text(value).to_owned(),
        };
        let environment =
            list(&kinetail["env"]).iter().map(|one| (text(&one["name"]).to_owned(), value(one)));
        let security = &kinetail["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        let mut files = self.cloud.files();
        if pod["automountServiceAccountToken"] == true {
            files.extend(self.cloud.api.account());
        }
        let capability = |name: &Value| text(name).to_lowercase();
        Container {
            arguments: list(&kinetail["args"]).iter().map(|one| text(one).to_owned()).collect(),
            environment: Cloud::variables().into_iter().chain(environment).collect(),
            mounts: list(&kinetail["volumeMounts"]).iter().map(|one| self.mount(pod, one, own)).collect(),
            files,
            user: (id(pod, "runAsUser").expect("a user"), id(pod, "runAsGroup").expect("a group")),
            groups: id(pod, "fsGroup").into_iter().collect(),
            capabilities: list(&security["capabilities"]["add"]).iter().map(capability).collect(),
            seccomp: pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
            network: Some(network.network.clone()),
        }
    }

    fn mount(&self, pod: &Value, mount: &Value, own: &Path) -> Mount {
        let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
        let (from, read_only) = self.volume(pod, volume.expect("its volume"), own);
        let at = text(&mount["mountPath"]).into();
        Mount { from, at, read_only: read_only || mount["readOnly"] == true }
    }

    /// Where a volume is on the node, and whether nobody may write it.
    fn volume(&self, pod: &Value, volume: &Value, own: &Path) -> (PathBuf, bool) {
        let fs_group = id(pod, "fsGroup");
        let from = own.join(text(&volume["name"]));
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            // Its programs are those of this machine.
            let from = if path == "/usr" { path.into() } else { self.at(path) };
            if volume["hostPath"]["type"] == "DirectoryOrCreate" && !from.exists() {
                folder(&from, 0o755);
            }
            assert!(from.is_dir(), "{path} is not on the node");
            (from, false)
        } else if volume["emptyDir"].is_object() {
            folder(&from, 0o777);
            fs_group.iter().for_each(|group| give_to(*group, &from, false));
            (from, false)
        } else if volume["persistentVolumeClaim"].is_object() {
            let claim = &volume["persistentVolumeClaim"];
            let (from, read_only) = (self.claim(text(&claim["claimName"])), claim["readOnly"] == true);
            let on_mismatch = pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch";
            let left = |group: u32| read_only || on_mismatch && belongs_to(group, &from);
            fs_group.iter().filter(|group| !left(**group)).for_each(|group| give_to(*group, &from, false));
            (from, read_only)
        } else {
            self.projected_volume(pod, volume, from.clone(), fs_group);
            (from, true)
        }
    }

    /// A volume of files.
    fn projected_volume(&self, pod: &Value, volume: &Value, from: PathBuf, group: Option<u32>) {
        folder(&from, 0o777);
        let kept = |name: &Value| Source::Kept(text(name).to_owned());
        let (said, sources) = if volume["configMap"].is_object() {
            (&volume["configMap"], vec![kept(&volume["configMap"]["name"])])
        } else if volume["secret"].is_object() {
            (&volume["secret"], vec![kept(&volume["secret"]["secretName"])])
        } else {
            let tokens = list(&volume["projected"]["sources"]).iter().map(|one| &one["serviceAccountToken"]);
            let token = |one: &Value| Source::Token {
                audience: text(&one["audience"]).to_owned(),
                file: text(&one["path"]).to_owned(),
            };
            (&volume["projected"], tokens.map(token).collect())
        };
        for source in &sources {
            let there = match source {
                Source::Kept(name) => self.kept.borrow().contains_key(name),
                Source::Token { .. } => true,
            };
            assert!(there || said["optional"] == true, "{source:?} is not there: the pod would not start");
        }
        let token = sources.iter().any(|source| matches!(source, Source::Token { .. }));
        let user = id(pod, "runAsUser").filter(|_| token);
        let mode = said["defaultMode"].as_u64().map_or(0o644, |mode| u32::try_from(mode).expect("a mode"));
        let mut made = Projected {
            sources,
            folder: from,
            // A token is for its user alone, where the pod says who that is.
            mode: if user.is_some() { 0o600 } else { mode },
            owner: user.unwrap_or(0),
            group,
            generation: 0,
        };
        made.put(&self.content(&made.sources));
        self.projected.borrow_mut().push(made);
    }

    /// The volume of a claim, as a fresh file system is: root's, with a folder that is root's alone.
    pub(crate) fn claim(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("claims").join(name);
        if !path.exists() {
            folder(&path, 0o755);
            folder(&path.join("lost+found"), 0o700);
        }
        path
    }

    /// All records of a `directory` destination.
    pub(crate) fn records(&self, path: &str) -> Vec<Value> {
        let mut folders = vec![self.at(path)];
        let mut records = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let mut text = String::new();
                    let file = fs::File::open(&path).expect("a file");
                    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
                    records
                        .extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
                }
            }
        }
        records
    }
}

fn id(pod: &Value, name: &str) -> Option<u32> {
    pod["securityContext"][name].as_u64().and_then(|id| u32::try_from(id).ok())
}
