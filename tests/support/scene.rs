//! A folder with logs, an endpoint, and the agent between them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::endpoint::{Account, Endpoint, Marker, Settings, Stream};
use super::logs::Writer;
use super::process::Agent;

/// The delivery stream of a scene, and the name of its destination.
pub const ARCHIVE: &str = "archive";
/// The data stream of a scene, and the name of its destination.
pub const AUDIT: &str = "audit";

/// Logs below a folder, followed by one route to a delivery stream and a data stream.
pub struct Scene {
    folder: tempfile::TempDir,
    pub endpoint: Endpoint,
    /// Lines of YAML under `tail`.
    tail: String,
    /// Lines of YAML of the route.
    route: String,
    /// Lines of YAML of both destinations.
    destination: String,
    /// How records of both destinations are put together in requests.
    batch: &'static str,
    /// Lines of YAML of [`AUDIT`] alone.
    audit: String,
    /// Where it is, if not at the endpoint.
    audit_url: Option<String>,
    rest: String,
}

impl Scene {
    /// With both streams on this endpoint. Files are those of pods, in CRI form, read from their beginning.
    pub async fn on(endpoint: Settings) -> Self {
        let endpoint =
            endpoint.stream(Stream::firehose(ARCHIVE)).stream(Stream::kinesis(AUDIT).shards(4)).start().await;
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            endpoint,
            tail: String::new(),
            route: "files: '{root}/pods/*/*/*.log'\n    format: cri\n    start_at: beginning".into(),
            destination: String::new(),
            batch: "max_age: 50ms",
            audit: String::new(),
            audit_url: None,
            rest: String::new(),
        }
    }

    /// The same without TLS, with short times for rotation.
    pub async fn plain() -> Self {
        Self::on(Endpoint::plain()).await.tail("rotate_wait: 100ms")
    }

    /// Another line under `tail`.
    pub fn tail(mut self, line: &str) -> Self {
        let _ = writeln!(self.tail, "  {line}");
        self
    }

    /// Another line of both destinations, such as `retry: {max_backoff: 1s}`.
    pub fn destination(mut self, line: &str) -> Self {
        let _ = writeln!(self.destination, "    {line}");
        self
    }

    /// Another line of [`AUDIT`] alone.
    pub fn audit(mut self, line: &str) -> Self {
        let _ = writeln!(self.audit, "    {line}");
        self
    }

    /// [`AUDIT`] is at this URL, from the next start on; the endpoint again with none.
    pub fn audit_at(&mut self, url: Option<String>) {
        self.audit_url = url;
    }

    /// How records of both destinations are put together in requests, in place of `max_age: 50ms`.
    pub fn batch(mut self, keys: &'static str) -> Self {
        self.batch = keys;
        self
    }

    /// Another line at the top.
    pub fn setting(mut self, line: &str) -> Self {
        let _ = writeln!(self.rest, "{line}");
        self
    }

    /// The route's lines in place of those for pods; `{root}` stands for the folder.
    pub fn route(mut self, lines: &[&str]) -> Self {
        self.route = lines.join("\n    ");
        self
    }

    /// The folder with the logs.
    pub fn root(&self) -> PathBuf {
        std::fs::canonicalize(self.folder.path()).expect("it is there")
    }

    /// kinetail's own folder.
    pub fn data_dir(&self) -> PathBuf {
        self.root().join("data")
    }

    /// The whole configuration.
    pub fn config(&self) -> String {
        let root = self.root();
        let mut aws = format!("region: eu-central-1\n{}", self.destination);
        let url = self.endpoint.url();
        if url.starts_with("https") {
            let _ = writeln!(aws, "    ca_bundle: '{}'", self.endpoint.ca_bundle().display());
        }
        format!(
            "data_dir: '{root}/data'
{rest}tail:
  allowed_roots: ['{root}']
{tail}destinations:
  {ARCHIVE}:
    type: firehose
    stream: {ARCHIVE}
    packing: newline
    endpoint: '{url}'
    batch: {{{batch}}}
    {aws}
  {AUDIT}:
    type: kinesis
    stream: {AUDIT}
    aggregation: none
    endpoint: '{audit_url}'
    batch: {{{batch}}}
{audit}    {aws}
routes:
  - name: logs
    {route}
    to: [{ARCHIVE}, {AUDIT}]
",
            root = root.display(),
            rest = self.rest,
            batch = self.batch,
            audit = self.audit,
            audit_url = self.audit_url.as_ref().unwrap_or(&url),
            tail = self.tail,
            route = self.route.replace("{root}", &root.display().to_string()),
        )
    }

    /// `kinetail run`, which may still be starting.
    pub fn spawn(&self) -> Agent {
        Agent::start(&self.config(), &self.root())
    }

    /// `kinetail run`, met with its files.
    pub async fn start(&self) -> Agent {
        let agent = self.spawn();
        agent.logged("\"ready\"").await;
        agent
    }

    /// `kinetail run --once`, to its end, which must be good.
    pub async fn once(&self) -> Vec<String> {
        let ended = Agent::once(&self.config(), &self.root()).ended().await;
        assert!(ended.status.success(), "{}", ended.lines.join("\n"));
        ended.lines
    }

    /// Waits until both streams hold this many different lines.
    pub async fn arrived(&self, lines: usize) {
        self.endpoint
            .wait_until(|account| {
                [ARCHIVE, AUDIT].iter().all(|stream| account.stream(stream).distinct() >= lines)
            })
            .await;
    }

    /// Waits until everything that was written is there, and makes sure that it is there once, and nothing else.
    pub async fn exactly_once(&self, writers: &[&Writer]) {
        self.exactly(writers.iter().flat_map(|writer| writer.markers()).collect()).await;
    }

    /// The same for these lines.
    pub async fn exactly(&self, expected: Vec<Marker>) {
        let streams = [ARCHIVE, AUDIT];
        let tells = |account: &Account| {
            let tally =
                |stream| format!("{stream}: {}", account.stream(stream).tally(expected.iter().cloned()));
            format!("{account}\n{}", streams.map(tally).join("\n"))
        };
        let all = |account: &Account| {
            streams.iter().all(|stream| account.stream(stream).distinct() >= expected.len())
        };
        self.endpoint.wait_until_or(all, tells).await;
        self.endpoint.look(|account| {
            assert!(account.refused_calls.is_empty(), "{:?}", account.last_refusal);
            for stream in streams {
                account.stream(stream).assert_exactly_once(expected.iter().cloned());
            }
        });
    }

    /// All records of a stream, as JSON.
    pub fn records(&self, stream: &str) -> Vec<serde_json::Value> {
        self.endpoint.look(|account| account.stream(stream).json().collect())
    }

    /// All dead letters of a destination, the oldest first.
    pub fn dead_letters(&self, destination: &str) -> Vec<serde_json::Value> {
        let texts = self.dead_letter_files(destination).into_iter();
        let texts: Vec<String> =
            texts.map(|path| std::fs::read_to_string(path).expect("a file of dead letters")).collect();
        texts
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| serde_json::from_str(line).expect("a dead letter is a JSON object"))
            .collect()
    }

    /// The files that they are in.
    pub fn dead_letter_files(&self, destination: &str) -> Vec<PathBuf> {
        let folder = self.data_dir().join("dead_letters").join(destination);
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    }

    /// The lines whose records lie in a destination's buffer, those that were acknowledged included.
    pub fn in_buffer(&self, destination: &str) -> Vec<Marker> {
        let folder = std::fs::read_dir(self.data_dir().join("buffer").join(destination)).expect("a buffer");
        folder
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "chunk"))
            // One that was just removed holds nothing.
            .filter_map(|path| std::fs::read(path).ok())
            .flat_map(|chunk| chunk.split(|byte| *byte == b'\n').filter_map(Marker::find).collect::<Vec<_>>())
            .collect()
    }

    /// No two records with different texts share an id, and each has one.
    pub fn ids_are_unique(&self) {
        for stream in [ARCHIVE, AUDIT] {
            let mut texts = std::collections::HashMap::new();
            for record in self.records(stream) {
                let id = record["record_id"].as_str().expect("every record has an id").to_owned();
                assert_eq!(id.len(), 32);
                let text = record["log"].clone();
                if let Some(other) = texts.insert(id.clone(), text.clone()) {
                    assert_eq!(other, text, "two lines share the record id {id}");
                }
            }
        }
    }
}

/// The markers of lines by their texts' numbers, for lines that a test wrote by hand.
pub fn markers(name: &str, numbers: std::ops::Range<u64>) -> Vec<Marker> {
    numbers.map(|number| Marker::new(name, number)).collect()
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a file lies in a folder")
}
