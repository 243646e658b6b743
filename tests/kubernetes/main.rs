//! What the API of Kubernetes tells of pods is in their records: soon, never at the price of a line or of a long wait, and
//! whatever befalls the API. The API server is a stand-in that lists, watches, forgets, breaks off and does not answer.

#[path = "../support/mod.rs"]
mod support;

mod annotations;
mod metadata;
mod outages;
mod routing;

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use support::kubernetes::{Api, PodObject, Request, namespace};
use support::logs::{Container, Format, Writer};
use support::process::{Agent, until};
use support::scene::{ARCHIVE, Scene};

/// A node with an API server and the log of one pod, which is not written yet.
struct Node {
    scene: Scene,
    api: Api,
    web: Container,
}

impl Node {
    /// Records wait for this long; `more` are other lines under `kubernetes`.
    async fn with(wait: &str, more: &str) -> Self {
        Self::asking(Api::start().await, wait, more).await
    }

    async fn asking(api: Api, wait: &str, more: &str) -> Self {
        let scene = Scene::plain().await;
        api.put("namespaces", namespace("shop", ("tier", "gold")));
        let token = scene.root().join("token");
        let config = api.config(&token, &format!("wait: {wait}\n{more}"));
        let scene = scene.setting("admin: {listen: '127.0.0.1:0'}").setting(&config);
        Self { scene, api, web: Container::of_pod("web-7d9f8c-x2k4q") }
    }

    fn pod(&self) -> PodObject {
        PodObject::of(&self.web)
    }

    fn log(&self) -> Writer {
        Writer::container(&self.scene.root(), &self.web, Format::Crio)
    }

    /// What this many records of a pod say under `kubernetes`, in the order of its lines.
    async fn told(&self, pod: &Container, lines: usize) -> Vec<Value> {
        self.told_to(ARCHIVE, pod, lines).await
    }

    async fn told_to(&self, stream: &str, pod: &Container, lines: usize) -> Vec<Value> {
        let of_pod = |record: &Value| record["kubernetes"]["pod_name"] == *pod.pod;
        self.scene
            .endpoint
            .wait_until(|account| account.stream(stream).json().filter(of_pod).count() >= lines)
            .await;
        let mut records: Vec<Value> = self.scene.records(stream).into_iter().filter(of_pod).collect();
        records.sort_by_key(|record| record["time"].as_str().expect("a time").to_owned());
        assert_eq!(records.len(), lines);
        records.into_iter().map(|mut record| record["kubernetes"].take()).collect()
    }

    /// Has another configuration loaded, for the `times`th time.
    async fn reload(&self, agent: &Agent, config: &str, times: usize) {
        fs::write(self.scene.root().join("kinetail.yaml"), config).expect("it is written");
        agent.process().signal(Signal::HUP);
        let said = || agent.process().lines().iter().filter(|line| line.contains("\"reloaded\"")).count();
        until(async || said() == times).await;
    }

    /// The pods' lists and watches that were asked for.
    fn of_pods(requests: &[Request]) -> Vec<&Request> {
        requests.iter().filter(|request| request.path == "/api/v1/pods").collect()
    }

    fn lists(requests: &[Request]) -> usize {
        Self::of_pods(requests).iter().filter(|request| !request.is_watch()).count()
    }

    fn watches(requests: &[Request]) -> usize {
        Self::of_pods(requests).iter().filter(|request| request.is_watch()).count()
    }
}

async fn files(agent: &Agent, metadata: &str) -> f64 {
    agent.metric(&format!("kinetail_kubernetes_files_total{{metadata=\"{metadata}\"}}")).await
}

async fn records(agent: &Agent, metadata: &str) -> f64 {
    agent.metric(&format!("kinetail_kubernetes_records_total{{metadata=\"{metadata}\"}}")).await
}
