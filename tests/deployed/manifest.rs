//! What was applied to the cluster: the files of `manifests/` as they are, read as the API server reads them.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The resources of one file.
pub(crate) struct Manifest {
    resources: Vec<Value>,
}

impl Manifest {
    /// A file below `manifests/`.
    pub(crate) fn file(name: &str) -> Self {
        let path = manifests().join(name);
        Self::of(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// An overlay with components added to it, as somebody would write it down beside this repository. None where there is
    /// no kubectl; then the test has been told so.
    pub(crate) fn with_components(overlay: &str, components: &[&str]) -> Option<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).canonicalize().expect("the target folder");
        let folder = tempfile::tempdir_in(target).expect("a folder");
        // Bases are named by relative paths.
        let up = folder.path().components().filter(|step| matches!(step, Component::Normal(_))).count();
        let root = manifests().canonicalize().expect("the manifests");
        let root = format!("{}{}", "../".repeat(up), root.display().to_string().trim_start_matches('/'));
        let components: Vec<String> =
            components.iter().map(|component| format!("{root}/components/{component}")).collect();
        let own = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [format!("{root}/overlays/{overlay}")],
            "components": components,
        });
        fs::write(folder.path().join("kustomization.yaml"), own.to_string()).expect("written");
        let Some(mut kubectl) = kubectl() else {
            assert!(std::env::var_os("CI").is_none(), "CI must have kubectl");
            eprintln!("skipped: there is no kubectl");
            return None;
        };
        let rendered = kubectl.arg("kustomize").arg(folder.path()).output().expect("kubectl starts");
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        Some(Self::of(&String::from_utf8(rendered.stdout).expect("text")))
    }

    fn of(text: &str) -> Self {
        let documents = serde_yaml::Deserializer::from_str(text);
        let resources = documents.map(|one| serde::Deserialize::deserialize(one).expect("a resource"));
        Self { resources: resources.filter(|one: &Value| !one.is_null()).collect() }
    }

    /// The one resource of this kind.
    pub(crate) fn the(&self, kind: &str) -> &Value {
        let mut found = self.resources.iter().filter(|one| one["kind"] == kind);
        let the = found.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.next().is_none(), "more than one {kind}");
        the
    }

    /// The text of the configuration in its ConfigMap, to be changed.
    pub(crate) fn config(&mut self) -> &mut String {
        let map = self.resources.iter_mut().find(|one| one["kind"] == "ConfigMap").expect("a ConfigMap");
        match &mut map["data"]["kinetail.yaml"] {
            Value::String(text) => text,
            other => panic!("{other} is not a configuration"),
        }
    }

    /// What keeps kinetail's pods: a DaemonSet, a StatefulSet or a CronJob.
    pub(crate) fn workload(&self) -> &Value {
        let kinds = ["DaemonSet", "StatefulSet", "CronJob"];
        self.resources.iter().find(|one| kinds.iter().any(|kind| one["kind"] == *kind)).expect("a workload")
    }

    /// The spec of its pods.
    pub(crate) fn pod(&self) -> Value {
        let spec = &self.workload()["spec"];
        let spec = if spec["jobTemplate"].is_object() { &spec["jobTemplate"]["spec"] } else { spec };
        let mut pod = spec["template"]["spec"].clone();
        // What a StatefulSet adds to each of its pods.
        if let Some(claims) = spec["volumeClaimTemplates"].as_array() {
            let volumes = pod["volumes"].as_array_mut().expect("volumes");
            for name in claims.iter().map(|claim| &claim["metadata"]["name"]) {
                let claim = format!("{}-{}-0", text(name), text(&self.workload()["metadata"]["name"]));
                volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
            }
        }
        pod
    }

    /// The ConfigMaps and Secrets, each with its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, Vec<(&str, &str)>)> {
        let kept = self.resources.iter().filter(|one| one["kind"] == "ConfigMap" || one["kind"] == "Secret");
        kept.map(|one| {
            let files = [&one["data"], &one["stringData"]].into_iter().filter_map(Value::as_object).flatten();
            (
                text(&one["metadata"]["name"]),
                files.map(|(name, content)| (name.as_str(), text(content))).collect(),
            )
        })
    }
}

/// A text of a manifest.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

/// A list of a manifest, which may be missing.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// The one that CI brings along, or the machine's.
fn kubectl() -> Option<Command> {
    let of_ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-venv/bin/kubectl");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_machine = std::env::split_paths(&path).map(|folder| folder.join("kubectl"));
    std::iter::once(of_ci).chain(of_machine).find(|path| path.exists()).map(Command::new)
}
