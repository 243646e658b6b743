//! A pod on its node, and its container while it runs.

use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::manifest::{list, text};
use crate::node::Node;
use crate::support::container::Container;
use crate::support::endpoint::patiently;
use crate::support::network::PodNetwork;
use crate::support::process::{Ended, Process, until};

/// A pod that a node has taken on. Its container can be started again and again, as kubelet does when it ends.
pub(crate) struct Pod<'a> {
    node: &'a Node,
    folder: PathBuf,
    network: PodNetwork,
    /// What its manifest says of the container.
    spec: Value,
    pub(crate) container: Container,
    starts: Cell<u32>,
}

impl<'a> Pod<'a> {
    pub(crate) fn new(
        node: &'a Node,
        folder: PathBuf,
        network: PodNetwork,
        spec: Value,
        container: Container,
    ) -> Self {
        Self { node, folder, network, spec, container, starts: Cell::new(0) }
    }

    /// One of its volumes that end with it.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts its container.
    pub(crate) fn start(&self) -> Running<'_> {
        self.starts.set(self.starts.get() + 1);
        let root = self.folder.join(format!("root-{}", self.starts.get()));
        fs::create_dir_all(&root).expect("a folder");
        let port = list(&self.spec["ports"]).first().map(|port| &port["containerPort"]);
        let port = port.map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port"));
        let address = port.map(|port| SocketAddr::from((self.network.address, port)));
        Running { node: self.node, process: self.container.start(&root), address, spec: &self.spec }
    }

    /// The same, and waits until its startup probe, and then the others, are content.
    pub(crate) async fn ready(&self) -> Running<'_> {
        let running = self.start();
        running.process.line(|line| line.contains("admin_ready")).await;
        running.content("startupProbe").await;
        for probe in
            ["livenessProbe", "readinessProbe"].into_iter().filter(|probe| self.spec[*probe].is_object())
        {
            running.content(probe).await;
        }
        running
    }

    /// The pod is gone, and with it what was its own.
    pub(crate) fn delete(self) {
        fs::remove_dir_all(&self.folder).expect("it is ours");
    }
}

/// A container that runs.
pub(crate) struct Running<'a> {
    node: &'a Node,
    pub(crate) process: Process,
    address: Option<SocketAddr>,
    spec: &'a Value,
}

impl Running<'_> {
    /// Asks its admin port from the node, as kubelet and Prometheus do.
    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut socket = self.node.cloud.network.connect(self.address.expect("a port"))?;
        write!(socket, "GET {path} HTTP/1.1\r\nhost: kinetail\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What one of its probes is told now.
    pub(crate) fn probe(&self, probe: &str) -> String {
        let asked = &self.spec[probe]["httpGet"];
        let port = &list(&self.spec["ports"])[0];
        assert_eq!(asked["port"], port["name"], "it asks the one port that there is");
        self.get(text(&asked["path"])).unwrap_or_else(|error| error.to_string())
    }

    /// Waits until a probe is content.
    pub(crate) async fn content(&self, probe: &str) {
        let content = until(async || self.probe(probe).starts_with("HTTP/1.1 200"));
        patiently(|| format!("{probe}: {}", self.probe(probe)), content).await;
    }

    /// A number of its metrics, over all labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/metrics").expect("the admin port");
        let of_routes = answer.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once("} "));
        let values: Vec<u64> = of_routes.map(|(_, value)| value.parse().expect("a number")).collect();
        assert!(!values.is_empty(), "no {name} in\n{answer}");
        values.iter().sum()
    }

    /// Waits until one of its metrics is so large.
    pub(crate) async fn counts(&self, name: &str, least: u64) {
        let counted = until(async || self.metric(name) >= least);
        patiently(|| format!("{name} of {least}\n{}", self.process.lines().join("\n")), counted).await;
    }

    /// Waits until it has delivered so many records, and knows.
    pub(crate) async fn has_delivered(&self, records: u64) {
        self.counts("kinetail_delivered_records_total", records).await;
    }

    /// A line of its `/proc/PID/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        line.expect(key).to_owned()
    }

    /// SIGTERM; returns how many records it has delivered.
    pub(crate) async fn terminate(self) -> u64 {
        delivered(&self.process.terminate().await)
    }
}

/// How many records a container that ended has delivered.
pub(crate) fn delivered(ended: &Ended) -> u64 {
    let stopped = ended.lines.iter().find(|line| line.contains("\"stopped\"")).expect("it says how it ended");
    let stopped: Value = serde_json::from_str(stopped).expect("its log is JSON");
    stopped["delivered"].as_u64().expect("a number")
}

/// The mode of a file or folder.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).expect("it is there").mode() & 0o7777
}
