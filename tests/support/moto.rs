//! The independent judge: moto, which implements Firehose, Kinesis and S3, read back with boto3.
//!
//! Both live in a virtual environment that is made on first use, of the versions pinned in
//! `moto-requirements.txt`. Where that cannot be had, a test says why and is skipped; with `CI` set it fails.
//!
//! What moto does not do as AWS does, and scenarios must respect:
//!
//! - Its Firehose writes one S3 object for each call at once: `<prefix>/YYYY/MM/DD/HH/<stream>-1-<time>-<uuid>`, the
//!   records' data one after the other with nothing between. There is no buffering, no compression, no limit on
//!   records or bytes, and no entry ever fails.
//! - Its Kinesis takes at most 5 MiB a call and 1 MiB a record, and counts a key's characters, not its bytes.
//! - Called on several threads, its Kinesis loses records; so calls wait for each other (`moto_server.py`).
//! - It checks no signature, and knows no throttling.
//! - It does not know the protocol in which the SDK speaks to CloudWatch; `moto_server.py` says it in one that it knows.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::process::Process;

const REQUIREMENTS: &str = include_str!("moto-requirements.txt");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/moto_server.py");
const CONSUMERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/consume.py");
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/moto_read.py");

/// A running moto server with nothing in it; killed when dropped.
pub struct Moto {
    server: Process,
    url: String,
    python: PathBuf,
}

/// An object of a bucket.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    pub key: String,
    #[serde(deserialize_with = "base64")]
    pub data: Vec<u8>,
}

/// A record of a data stream.
#[derive(Clone, Debug, Deserialize)]
pub struct DataRecord {
    pub shard: String,
    pub partition_key: String,
    #[serde(deserialize_with = "base64")]
    pub data: Vec<u8>,
}

/// A metric of CloudWatch, with what was put within the hour.
#[derive(Clone, Debug, Deserialize)]
pub struct SentMetric {
    pub name: String,
    pub dimensions: std::collections::BTreeMap<String, String>,
    pub sum: f64,
    pub units: Vec<String>,
}

impl Moto {
    /// Starts a server on a free port of 127.0.0.1. None where Python or its packages cannot be had; then the test
    /// has been told why and has nothing more to do.
    pub async fn start() -> Option<Self> {
        let made = tokio::task::spawn_blocking(environment).await.expect("no panic");
        let python = match made {
            Ok(python) => python,
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "moto cannot be had: {why}");
                eprintln!("skipped, as moto cannot be had: {why}");
                return None;
            }
        };
        let mut command = Command::new(&python);
        command.arg(SERVER);
        let server = Process::start(command);
        let running = "Running on http://127.0.0.1:";
        let line = server.line(|line| line.contains(running)).await;
        let port: u16 = line
            .split(running)
            .nth(1)
            .and_then(|rest| rest.trim().parse().ok())
            .unwrap_or_else(|| panic!("{line:?} ends in a port"));
        Some(Self { server, url: format!("http://127.0.0.1:{port}"), python })
    }

    /// Where it is, as an `endpoint` setting takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every request that it served, as its log shows them.
    pub fn log(&self) -> Vec<String> {
        self.server.lines()
    }

    /// Makes a bucket, and a delivery stream that writes to it below this prefix.
    pub async fn create_delivery_stream(&self, name: &str, bucket: &str, prefix: &str) {
        self.run::<()>(&["create-delivery-stream", name, bucket, prefix], "").await;
    }

    /// Makes a data stream.
    pub async fn create_data_stream(&self, name: &str, shards: usize) {
        self.run::<()>(&["create-data-stream", name, &shards.to_string()], "").await;
    }

    /// Puts records by boto3 in one call. Returns how many failed.
    pub async fn put_batch(&self, stream: &str, data: &[Vec<u8>]) -> usize {
        let data: Vec<_> = data.iter().map(|data| BASE64.encode(data)).collect();
        self.run(&["put-batch", stream], &json!(data).to_string()).await
    }

    /// Puts records, each a partition key and data, by boto3 in one call. Returns how many failed.
    pub async fn put_records(&self, stream: &str, records: &[(&str, Vec<u8>)]) -> usize {
        let records: Vec<_> = records.iter().map(|(key, data)| (key, BASE64.encode(data))).collect();
        self.run(&["put-records", stream], &json!(records).to_string()).await
    }

    /// All objects of a bucket, sorted by key.
    pub async fn objects(&self, bucket: &str) -> Vec<Object> {
        self.run(&["objects", bucket], "").await
    }

    /// All records of a data stream, shard by shard.
    pub async fn records(&self, stream: &str) -> Vec<DataRecord> {
        self.run(&["records", stream], "").await
    }

    /// All records of a data stream, KPL aggregates taken apart by AWS' own library.
    pub async fn user_records(&self, stream: &str) -> Vec<DataRecord> {
        self.run(&["user-records", stream], "").await
    }

    /// All metrics of a namespace of CloudWatch.
    pub async fn metrics(&self, namespace: &str) -> Vec<SentMetric> {
        self.run(&["metrics", namespace], "").await
    }

    /// What the consumers in this folder make of everything that is here.
    pub async fn consume<T: DeserializeOwned>(&self, folder: &Path) -> T {
        self.script(CONSUMERS, &[folder.to_str().expect("a path that is text")], "").await
    }

    async fn run<T: DeserializeOwned>(&self, arguments: &[&str], input: &str) -> T {
        self.script(READER, arguments, input).await
    }

    async fn script<T: DeserializeOwned>(&self, script: &str, arguments: &[&str], input: &str) -> T {
        let mut child = Command::new(&self.python)
            .arg(script)
            .arg(&self.url)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the environment's Python starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("the reader reads");
        drop(stdin);
        let output = child.wait_with_output().await.expect("the reader ends");
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log().join("\n")
        );
        serde_json::from_slice(&output.stdout).expect("the reader prints JSON")
    }
}

/// The Python of the environment, which is made unless it is there with just these requirements. Test binaries run
/// at the same time: only one makes it, the others wait.
fn environment() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join("moto-venv");
    let python = folder.join("bin/python");
    // Written last: an installation that was cut off is made anew.
    let stamp = folder.join("kinetail-requirements.txt");

    let lock = target.join("moto-venv.lock");
    let lock = File::create(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    lock.lock().map_err(|error| format!("the lock: {error}"))?;

    let whole = fs::read_to_string(&stamp).is_ok_and(|made| made == REQUIREMENTS);
    // The Python that an environment was made of can have gone since.
    if whole && output(std::process::Command::new(&python).arg("--version")).is_ok() {
        return Ok(python);
    }
    if let Err(error) = fs::remove_dir_all(&folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(format!("{}: {error}", folder.display()));
    }
    output(std::process::Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let requirements = folder.join("wanted.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(|error| error.to_string())?;
    output(
        std::process::Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    fs::rename(&requirements, &stamp).map_err(|error| error.to_string())?;
    Ok(python)
}

/// Runs a command to its end; its output says why it failed.
fn output(command: &mut std::process::Command) -> Result<Output, String> {
    match command.stdin(Stdio::null()).output() {
        Err(error) => Err(format!("{command:?}: {error}")),
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => Err(format!(
            "{command:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map_err(serde::de::Error::custom)
}
