//! The DaemonSet, as its manifest says it: the same command line, environment, mounts, user and capabilities, over a
//! node's log tree with the permissions that kubelet gives it.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::container::{Container, Mount, possible};
use support::endpoint::{Endpoint, Marker, Settings, Stream, patiently};
use support::kubernetes::{Api, PodObject};
use support::logs::{self, Writer};
use support::process::Process;

/// The node's name, which the downward API would give.
const NODE: &str = "node-7";
/// The key that takes the place of the first one.
const NEXT_KEY: &str = "AKIDNEXT";

/// A node's file system, as far as the pod's volumes reach into it.
struct Node {
    folder: tempfile::TempDir,
    daemon_set: Value,
    config: String,
}

impl Node {
    /// A node on which this rendered manifest was applied.
    fn with(manifest: &str) -> Self {
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

    /// A path of the node.
    fn on(&self, path: &str) -> PathBuf {
        self.folder.path().join("node").join(path.trim_start_matches('/'))
    }

    /// What kubelet makes of the pod's template.
    fn container(&self) -> Container {
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
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"]}));
        let id = |name: &str| pod["securityContext"][name].as_u64().and_then(|id| u32::try_from(id).ok());
        Container {
            arguments: list(&container["args"]).iter().map(text).collect(),
            environment: environment.collect(),
            mounts: list(&container["volumeMounts"]).iter().map(|mount| self.mount(pod, mount)).collect(),
            user: (id("runAsUser").expect("a user"), id("runAsGroup").expect("a group")),
            own_network: true,
            ..Container::default()
        }
    }

    fn mount(&self, pod: &Value, mount: &Value) -> Mount {
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("its volume");
        let from = if let Some(path) = volume["hostPath"]["path"].as_str() {
            let from = self.on(path);
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
    fn keep_secret(&self, generation: u32, files: &[(&str, &str)]) {
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
    async fn start(&self, container: &Container, generation: u32) -> Pod {
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
    fn records(&self, path: &str) -> Vec<Value> {
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
struct Pod {
    process: Process,
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
    fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/metrics");
        let of_routes = answer.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once("} "));
        let values: Vec<u64> = of_routes.map(|(_, value)| value.parse().expect("a number")).collect();
        assert!(!values.is_empty(), "no {name} in\n{answer}");
        values.iter().sum()
    }

    /// Waits until it has delivered so many records.
    async fn has_delivered(&self, records: u64) {
        let delivered = async {
            while self.metric("kinetail_delivered_records_total") < records {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        patiently(|| format!("{records} records\n{}", self.process.lines().join("\n")), delivered).await;
    }

    /// SIGTERM; returns how many records it has delivered.
    async fn terminate(self) -> u64 {
        let ended = self.process.terminate().await;
        let stopped =
            ended.lines.iter().find(|line| line.contains("\"stopped\"")).expect("it says how it ended");
        let stopped: Value = serde_json::from_str(stopped).expect("its log is JSON");
        stopped["delivered"].as_u64().expect("a number")
    }

    /// A line of its `/proc/PID/status`.
    fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.expect(key).to_owned()
    }
}

/// Every written line came once, and none twice.
fn exactly_once(records: &[Value], writers: &[Writer]) {
    let mut arrived: Vec<&str> =
        records.iter().map(|record| record["log"].as_str().expect("a text")).collect();
    let mut written: Vec<&str> =
        writers.iter().flat_map(Writer::written).map(|line| line.text.as_str()).collect();
    arrived.sort_unstable();
    written.sort_unstable();
    assert!(arrived == written, "{} records of {} lines", arrived.len(), written.len());
}

#[tokio::test]
async fn the_daemonset_reads_pods_as_user_0_without_capabilities_and_an_update_loses_no_line() {
    if !possible() {
        return;
    }
    let node = Node::with("local.yaml");
    let container = node.container();
    let first = node.start(&container, 1).await;
    assert_eq!(first.status("Uid"), "0\t0\t0\t0");
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(first.status(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(first.status("NoNewPrivs"), "1");

    let mut writers = logs::containers(&node.on("/var/log"), 4);
    writers.iter_mut().for_each(|writer| writer.lines(50));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!((mode(&node.on("/var/log/pods")), mode(writers[0].path())), (0o750, 0o640));
    // Of another user, which user 0 without capabilities may not read: it costs the others nothing.
    let mut foreign = Writer::plain(node.on("/var/log/pods/shop_other_1/app/0.log"), "other");
    chown(foreign.path(), Some(1000), Some(1000)).expect("we are root");
    foreign.lines(5);
    first.has_delivered(200).await;
    first.process.line(|line| line.contains("shop_other_1") && line.contains("ermission denied")).await;
    let delivered = first.terminate().await;

    // Between the old pod and the new one containers write and kubelet rotates.
    for writer in &mut writers {
        writer.lines(20);
        writer.rotate();
        writer.lines(20);
    }
    let second = node.start(&container, 2).await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    second.has_delivered(400 - delivered).await;
    second.terminate().await;

    let records = node.records("/var/spool/kinetail");
    exactly_once(&records, &writers);
    let record = &records[0];
    assert_eq!(record["host"], NODE);
    assert_eq!(record["kubernetes"]["namespace_name"], "shop");
    assert_eq!(mode(&node.on("/var/lib/kinetail/node-id")) & 0o077, 0, "what is in data_dir is its own");
}

#[tokio::test]
async fn the_daemonset_asks_the_api_of_its_cluster_as_its_service_account() {
    if !possible() {
        return;
    }
    let api = Api::tls().await;
    let labels = serde_json::json!({"topology.kubernetes.io/zone": "eu-central-1b"});
    api.put("nodes", serde_json::json!({"metadata": {"name": NODE, "labels": &labels}}));
    let app = logs::Container::of_pod("app");
    api.pod(&PodObject { node: NODE.into(), ..PodObject::of(&app) });
    let mut node = Node::with("local.yaml");
    // It shares the network with the API, and so the port with whoever else runs on this machine.
    node.config = node.config.replace("0.0.0.0:9602", "127.0.0.1:0");
    let mut container = Container { own_network: false, files: api.account(), ..node.container() };
    container.environment.extend(api.variables());
    let pod = node.start(&container, 1).await;
    api.asked("pods are watched", |requests| {
        requests.iter().any(|one| one.path == "/api/v1/pods" && one.is_watch())
    })
    .await;
    let mut writer = Writer::container(&node.on("/var/log"), &app, logs::Format::Crio);
    writer.lines(5);
    pod.has_delivered(5).await;
    pod.terminate().await;
    let records = node.records("/var/spool/kinetail");
    let told = &records[0]["kubernetes"];
    assert_eq!((&told["owner_name"], &told["host"]), (&"web".into(), &NODE.into()));
    assert_eq!(told["node_labels"], labels);
    exactly_once(&records, &[writer]);
}

#[tokio::test]
async fn with_the_capability_of_the_host_logs_component_files_of_other_users_are_read() {
    if !possible() {
        return;
    }
    let component =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/host-logs/kustomization.yaml");
    let component = fs::read_to_string(component).expect("the component");
    assert!(component.contains("value: [DAC_READ_SEARCH]"), "{component}");
    let node = Node::with("local.yaml");
    let container = Container { capabilities: vec!["dac_read_search".into()], ..node.container() };
    let pod = node.start(&container, 1).await;
    let container = logs::Container::of_pod("app");
    let mut writer = Writer::container(&node.on("/var/log"), &container, logs::Format::Crio);
    chown(writer.path(), Some(1000), Some(1000)).expect("we are root");
    writer.lines(30);
    pod.has_delivered(30).await;
    pod.terminate().await;
    exactly_once(&node.records("/var/spool/kinetail"), &[writer]);
}

#[tokio::test]
async fn openshifts_manifest_tells_application_infrastructure_and_audit_logs_apart() {
    if !possible() {
        return;
    }
    let streams = ["kinetail-application", "kinetail-infrastructure", "kinetail-audit"];
    let endpoint: Settings = Endpoint::tls()
        .access_key(support::clients::ACCESS_KEY, support::clients::SECRET_KEY)
        .access_key(NEXT_KEY, "next");
    let endpoint =
        streams.iter().fold(endpoint, |endpoint, stream| endpoint.stream(Stream::firehose(*stream)));
    let endpoint = endpoint.start().await;
    let mut node = Node::with("openshift.yaml");
    // It shares the network with the endpoint, and so the port with whoever else runs on this machine.
    node.config = node.config.replace("0.0.0.0:9602", "127.0.0.1:0");
    let config = format!("[default]\nendpoint_url = {}\n", endpoint.url());
    let keys = |id: &str, secret: &str| {
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
    };
    let first = keys(support::clients::ACCESS_KEY, support::clients::SECRET_KEY);
    node.keep_secret(1, &[("credentials", &first), ("config", &config)]);
    // The image has certificates, and the runtime says who localhost is.
    let files = vec![
        ("/etc/ssl/certs/ca-certificates.crt", fs::read(endpoint.ca_bundle()).expect("its certificate")),
        ("/etc/hosts", b"127.0.0.1 localhost\n".to_vec()),
    ];
    let container = Container { own_network: false, files, ..node.container() };
    let pod = node.start(&container, 1).await;

    let pod_of = |namespace: &str, name: &str| {
        let container = logs::Container { namespace: namespace.into(), ..logs::Container::of_pod(name) };
        Writer::container(&node.on("/var/log"), &container, logs::Format::Crio)
    };
    let own = |path: &str| Writer::plain(node.on(path), path.rsplit('/').nth(1).expect("a folder"));
    let mut kinds = [
        vec![pod_of("shop", "cart"), pod_of("kubernetes-dashboards", "grafana")],
        vec![pod_of("openshift-dns", "dns"), pod_of("kube-system", "proxy"), pod_of("default", "registry")],
        vec![
            own("/var/log/kube-apiserver/audit.log"),
            own("/var/log/audit/audit.log"),
            own("/var/log/ovn/acl-audit-log.log"),
        ],
    ];
    let mut itself = pod_of("kinetail", "kinetail");
    itself.lines(20);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        let expected: Vec<Marker> = writers.iter().flat_map(Writer::markers).collect();
        endpoint.wait_until(|account| account.stream(stream).distinct() >= expected.len()).await;
        endpoint.look(|account| account.stream(stream).assert_exactly_once(expected));
    }

    // Other keys, and who still uses the old ones is refused.
    node.keep_secret(2, &[("credentials", &keys(NEXT_KEY, "next")), ("config", &config)]);
    endpoint.revoke(support::clients::ACCESS_KEY);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        let expected: Vec<Marker> = writers.iter().flat_map(Writer::markers).collect();
        endpoint.wait_until(|account| account.stream(stream).distinct() >= expected.len()).await;
        endpoint.look(|account| account.stream(stream).assert_exactly_once(expected));
    }
    pod.terminate().await;
}
