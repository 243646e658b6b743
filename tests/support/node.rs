//! A node of a cluster, and on it the DaemonSet's pod as its manifest says it: the same command line, environment, mounts, user
//! and capabilities.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::container::{Container, Mount};
use super::endpoint::patiently;
use super::process::Process;

/// The node's name, which the downward API would give.
pub const NODE: &str = "node-7";

/// A node's file system, as far as the pod's volumes reach into it.
pub struct Node {
    folder: tempfile::TempDir,
    daemon_set: Value,
    /// The ConfigMap's `kinetail.yaml`, for the next pod that starts.
    pub config: String,
}

impl Node {
    /// A node on which this rendered manifest was applied.
    pub fn with(manifest: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(manifest);
        let text = fs::read_to_string(path).expect("the rendered manifest");
        let resources: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| serde::Deserialize::deserialize(document).expect("a resource"))
            .collect();
        let the = |kind: &str| resources.iter().find(|one| one["kind"] == kind).expect(kind).clone();
        // As kubelet makes them: /var/log/pods 0750, files 0640, all of root.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
        let node = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            daemon_set: the("DaemonSet"),
            config: the("ConfigMap")["data"]["kinetail.yaml"].as_str().expect("text").to_owned(),
        };
        fs::create_dir_all(node.on("/var/log/pods")).expect("the node's logs");
        fs::set_permissions(node.on("/var/log/pods"), fs::Permissions::from_mode(0o750)).expect("it is ours");
        node
    }

    /// The same with a component of the manifests.
    pub fn and(mut self, component: &str) -> Self {
        let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components");
        let text = fs::read_to_string(components.join(component).join("kustomization.yaml"));
        let told: Value = serde_yaml::from_str(&text.expect("the component")).expect("YAML");
        let patches = told["patches"].as_array().expect("patches").iter();
        for patch in patches.filter(|patch| patch["target"]["kind"] == "DaemonSet") {
            let patch = patch["patch"].as_str().expect("a JSON patch in a text");
            let operations: Vec<Value> = serde_yaml::from_str(patch).expect("a JSON patch");
            for operation in operations {
                assert_eq!(operation["op"], "add", "{operation}");
                let (parent, key) =
                    operation["path"].as_str().and_then(|path| path.rsplit_once('/')).expect("a path");
                let value = operation["value"].clone();
                match self.daemon_set.pointer_mut(parent).expect("it is in the manifest") {
                    Value::Array(list) => {
                        assert_eq!(key, "-", "{operation}");
                        list.push(value);
                    }
                    parent => parent[key] = value,
                }
            }
        }
        self
    }

    /// A path of the node.
    pub fn on(&self, path: &str) -> PathBuf {
        self.folder.path().join("node").join(path.trim_start_matches('/'))
    }

    /// What kubelet makes of the pod's template.
    pub fn container(&self) -> Container {
        let pod = &self.daemon_set["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();

        assert!(container["envFrom"].is_null(), "what comes so does not change in a running process");
        let value = |variable: &Value| match &variable["value"] {
            Value::Null => {
                assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
                NODE.to_owned()
            }
            value => text(value),
        };
        let environment = list(&container["env"]);
        let environment = environment.iter().map(|variable| (text(&variable["name"]), value(variable)));
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
        let added = security["capabilities"]["add"].as_array().into_iter().flatten();
        let id = |name: &str| pod["securityContext"][name].as_u64().and_then(|id| u32::try_from(id).ok());
        Container {
            arguments: list(&container["args"]).iter().map(text).collect(),
            environment: environment.collect(),
            mounts: list(&container["volumeMounts"]).iter().map(|mount| self.mount(pod, mount)).collect(),
            capabilities: added.map(|capability| text(capability).to_lowercase()).collect(),
            user: (id("runAsUser").expect("a user"), id("runAsGroup").expect("a group")),
            own_network: true,
            ..Container::default()
        }
    }

    fn mount(&self, pod: &Value, mount: &Value) -> Mount {
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("its volume");
        let from = if let Some(path) = volume["hostPath"]["path"].as_str() {
            // Its programs are those of this machine.
            let from = if path == "/usr" { path.into() } else { self.on(path) };
            if volume["hostPath"]["type"] == "DirectoryOrCreate" && !from.exists() {
                fs::create_dir_all(&from).expect("a folder of the node");
                fs::set_permissions(&from, fs::Permissions::from_mode(0o755)).expect("it is ours");
            }
            assert!(from.is_dir(), "{path} is not on the node");
            from
        } else if volume["secret"].is_object() {
            assert_eq!(volume["secret"]["optional"], true, "a role needs none");
            self.secret_folder()
        } else {
            assert!(volume["configMap"].is_object(), "{volume}");
            let from = self.folder.path().join("config");
            fs::create_dir_all(&from).expect("a folder");
            fs::write(from.join("kinetail.yaml"), &self.config).expect("the configuration");
            from
        };
        let at = mount["mountPath"].as_str().expect("a path").into();
        Mount { from, at, read_only: mount["readOnly"] == true }
    }

    /// Where the Secret is mounted, empty as long as there is none.
    fn secret_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("secret");
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// The Secret's files are these from now on, put there as kubelet does it: in a folder beside, to which a link is turned.
    pub fn keep_secret(&self, generation: u32, files: &[(&str, &str)]) {
        let folder = self.secret_folder();
        let version = format!("..{generation}");
        fs::create_dir(folder.join(&version)).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(&version).join(name), text).expect("a file");
            if !folder.join(name).is_symlink() {
                symlink(format!("..data/{name}"), folder.join(name)).expect("a link");
            }
        }
        symlink(&version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("turned");
    }

    /// Starts the pod and waits until its startup probe, and then the others, are content.
    pub async fn start(&self, container: &Container, generation: u32) -> Pod {
        let root = self.folder.path().join(format!("root-{generation}"));
        fs::create_dir_all(&root).expect("a folder");
        let process = container.start(&root);
        let ready = process.line(|line| line.contains("admin_ready")).await;
        let listen: Value = serde_json::from_str(&ready).expect("its log is JSON");
        let port = listen["listen"].as_str().and_then(|at| at.rsplit(':').next()).expect("a port");
        let pod = Pod { port: port.parse().expect("a number"), process, own_network: container.own_network };
        let spec = &self.daemon_set["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = spec[probe]["httpGet"]["path"].as_str().expect("a path");
            let content = async {
                while !pod.get(path).starts_with("HTTP/1.1 200") {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            patiently(|| format!("{probe}: {}", pod.get(path)), content).await;
        }
        if container.own_network {
            assert_eq!(spec["ports"][0]["containerPort"], pod.port);
        }
        pod
    }

    /// All records of a `directory` destination.
    pub fn records(&self, path: &str) -> Vec<Value> {
        let mut folders = vec![self.on(path)];
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

/// A pod that runs.
pub struct Pod {
    pub process: Process,
    port: u16,
    own_network: bool,
}

impl Pod {
    /// Asks its admin port from inside of its network.
    fn get(&self, path: &str) -> String {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.process.id())).expect("its network");
        let (port, own_network) = (self.port, self.own_network);
        let request = format!("GET {path} HTTP/1.1\r\nhost: kinetail\r\nconnection: close\r\n\r\n");
        let asked = std::thread::spawn(move || {
            if own_network {
                use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
                use std::os::fd::AsFd as _;
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root");
            }
            let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the admin port answers");
            socket.write_all(request.as_bytes()).expect("the request is sent");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).expect("the answer is text");
            answer
        });
        asked.join().expect("an answer")
    }

    /// A number of its metrics, over all labels.
    pub fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/metrics");
        let of_routes = answer.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once("} "));
        let values: Vec<u64> = of_routes.map(|(_, value)| value.parse().expect("a number")).collect();
        assert!(!values.is_empty(), "no {name} in\n{answer}");
        values.iter().sum()
    }

    /// Waits until it has delivered so many records.
    pub async fn has_delivered(&self, records: u64) {
        let delivered = async {
            while self.metric("kinetail_delivered_records_total") < records {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        patiently(|| format!("{records} records\n{}", self.process.lines().join("\n")), delivered).await;
    }

    /// SIGTERM; returns how many records it has delivered.
    pub async fn terminate(self) -> u64 {
        let ended = self.process.terminate().await;
        let stopped =
            ended.lines.iter().find(|line| line.contains("\"stopped\"")).expect("it says how it ended");
        let stopped: Value = serde_json::from_str(stopped).expect("its log is JSON");
        stopped["delivered"].as_u64().expect("a number")
    }

    /// A line of its `/proc/PID/status`.
    pub fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.expect(key).to_owned()
    }
}
