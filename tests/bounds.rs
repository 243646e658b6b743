//! Memory does not grow with the backlog, the number of files or what is unfinished in them, and a start does not look
//! at the backlog.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tokio::sync::Mutex;

use serde_json::json;
use support::endpoint::{Fault, Gate, Rule};
use support::kubernetes::{Api, PodObject};
use support::logs::{Container, Format, Writer};
use support::process::{MemoryWatch, until};
use support::scene::{ARCHIVE, AUDIT, Scene};

const MIB: u64 = 1 << 20;
/// One test at a time: each takes a gigabyte or two on disk.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Anonymous memory of the whole process, a build without optimisation. Most of it is what AWS's clients, TLS and
/// requests under way take.
const BOUND: u64 = 96 * MIB;

/// How many bytes a process has read from anywhere, as the kernel counts (proc_pid_io(5)).
fn bytes_read(id: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{id}/io")).expect("it runs");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("the kernel counts");
    read.parse().expect("a number")
}

fn scene(scene: Scene, pattern: &str, format: &str) -> Scene {
    scene
        .route(&[
            &format!("files: '{{root}}/{pattern}'"),
            &format!("format: {format}"),
            "start_at: beginning",
        ])
        .setting("buffer: {min_disk_free: 0}")
        .setting("drain_timeout: 0s")
        .setting("log: {level: debug}")
}

/// Lines of four kilobytes, so many bytes of them.
fn write_long_lines(path: &Path, bytes: u64) {
    let line = format!("{:x<4095}\n", path.display());
    let mut file = fs::File::create(path).expect("a file");
    (0..bytes / line.len() as u64).for_each(|_| file.write_all(line.as_bytes()).expect("room on disk"));
}

#[tokio::test]
async fn a_gigabyte_that_waits_in_the_buffer_takes_no_memory_and_no_time_at_a_start() {
    let _alone = ALONE.lock().await;
    let scene = scene(Scene::plain().await, "app-*.log", "plain").destination("buffer: {max_size: 512MiB}");
    let gate = Gate::closed();
    scene.endpoint.inject(Rule::new(Fault::Hang(gate.clone())));
    for number in 0..8 {
        write_long_lines(&scene.root().join(format!("app-{number}.log")), 72 * MIB);
    }
    let agent = scene.start().await;
    let memory = MemoryWatch::of(agent.process());
    for destination in [ARCHIVE, AUDIT] {
        let named = format!("\"{destination}\"");
        agent.process().line(|line| line.contains("buffer_full") && line.contains(&named)).await;
    }
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes while the buffers fill");
    agent.terminate().await;

    let on_disk = |name: &str| -> u64 {
        let folder = fs::read_dir(scene.data_dir().join("buffer").join(name)).expect("a buffer");
        folder.map(|file| file.expect("an entry").metadata().expect("it stays").len()).sum()
    };
    let backlog = on_disk(ARCHIVE) + on_disk(AUDIT);
    assert!(backlog > 1000 * MIB, "{backlog} bytes wait");
    let agent = scene.start().await;
    let memory = MemoryWatch::of(agent.process());
    let read = bytes_read(agent.process().id());
    assert!(read < 64 * MIB, "{read} bytes were read to start");
    scene.endpoint.heal();
    gate.open();
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken > 20_000).await;
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes while the backlog goes out");
    agent.terminate().await;
}

#[tokio::test]
async fn two_thousand_files_take_a_few_kilobytes_each() {
    let _alone = ALONE.lock().await;
    let scene = scene(Scene::plain().await, "pods/*/app/*.log", "cri");
    let write = |files: std::ops::Range<u32>| {
        for number in files {
            let folder = scene.root().join(format!("pods/shop_web-{number}_{number:032x}/app"));
            fs::create_dir_all(&folder).expect("a folder");
            let line = format!("2026-01-02T03:04:05.000000000Z stdout F line of {number}\n");
            fs::write(folder.join("0.log"), line.repeat(5)).expect("a log");
        }
    };
    write(0..100);
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken == 5 * 100).await;
    let before = MemoryWatch::of(agent.process()).most();
    write(100..2100);
    let memory = MemoryWatch::of(agent.process());
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken == 5 * 2100).await;
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes with 2,100 files");
    let each = most.saturating_sub(before) / 2000;
    assert!(each < 12 * 1024, "{each} bytes for each further file");
    agent.terminate().await;
}

#[tokio::test]
async fn a_thousand_unfinished_lines_of_a_mebibyte_share_one_budget_and_are_whole_when_they_end() {
    // What a runtime makes of a line of nearly a mebibyte, as long as its end has not come.
    let open = format!("{TIME} stdout P {}\n", "x".repeat(16 << 10)).repeat(60);
    let whole = "x".repeat(60 * (16 << 10)) + LAST;
    let scene = scene(Scene::plain().await, "pods/*/app/*.log", "cri").tail("flush_after: 1h");
    open_groups(scene, &open, &whole).await;
}

#[tokio::test]
async fn a_thousand_open_traces_of_a_mebibyte_share_one_budget_and_are_whole_when_they_end() {
    let line = "x".repeat(16 << 10);
    let open = format!("{TIME} stdout F trace\n") + &format!("{TIME} stdout F {line}\n").repeat(60);
    let whole = format!("trace{}\n{LAST}", format!("\n{line}").repeat(60));
    let format = "cri\n    multiline: {start: '^trace$', end: '^the end$', max_size: 1MiB, flush_after: 1h}";
    open_groups(scene(Scene::plain().await, "pods/*/app/*.log", format), &open, &whole).await;
}

const TIME: &str = "2026-01-02T03:04:05.000000000Z";
/// What ends a text that is open.
const LAST: &str = "the end";
/// A line of the other stream.
const SEEN: &str = "seen";

/// A thousand files end with a text that is open, of which some are ended later: then they are `whole`.
async fn open_groups(scene: Scene, open: &str, whole: &str) {
    let _alone = ALONE.lock().await;
    let path = |number: u32| scene.root().join(format!("pods/shop_web-{number}_{number:032x}/app/0.log"));
    // A line beside it tells that all of it was read.
    let parts = format!("{open}{TIME} stderr F {SEEN}\n");
    for number in 0..1000 {
        fs::create_dir_all(path(number).parent().expect("a folder")).expect("a folder");
        fs::write(path(number), &parts).expect("room on disk");
    }
    let agent = scene.start().await;
    let memory = MemoryWatch::of(agent.process());
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken == 1000).await;
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes with a thousand open groups");

    let memory = MemoryWatch::of(agent.process());
    for number in (0..1000).step_by(50) {
        let mut log = fs::OpenOptions::new().append(true).open(path(number)).expect("it is there");
        log.write_all(format!("{TIME} stdout F {LAST}\n").as_bytes()).expect("room on disk");
    }
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken == 1020).await;
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes while they end");
    let records = scene.records(AUDIT);
    let texts = records.iter().filter_map(|record| record["log"].as_str());
    let ended: Vec<&str> = texts.filter(|text| *text != SEEN).collect();
    assert_eq!(ended.len(), 20);
    assert!(ended.iter().all(|text| *text == whole));
    agent.terminate().await;
}

#[tokio::test]
async fn what_the_api_tells_of_a_large_cluster_takes_little_memory() {
    let _alone = ALONE.lock().await;
    let api = Api::start().await;
    let text = "x".repeat(60);
    // More than half of `max_memory`, which is what they may take.
    for number in 0..3500 {
        let labels: serde_json::Map<String, serde_json::Value> =
            (0..20).map(|label| (format!("example.com/label-{label}"), json!(text))).collect();
        let name = format!("team-{number}");
        api.put("namespaces", json!({"metadata": {"name": name, "uid": name, "labels": labels}}));
    }
    let pods: Vec<Container> = (0..250).map(|number| Container::of_pod(&format!("web-{number}"))).collect();
    for (number, pod) in pods.iter().enumerate() {
        // Nearly all that is kept of one pod, and of every fifth one more than that.
        let long = "y".repeat(if number % 5 == 4 { 32 << 10 } else { 15 << 10 });
        api.pod(&PodObject::of(pod).label("team", &text).annotation("example.com/manifest", &long));
    }
    let scene =
        scene(Scene::plain().await, "pods/*/app/*.log", "cri").setting("admin: {listen: '127.0.0.1:0'}");
    let asked = api.config(&scene.root().join("token"), "wait: 1h\nannotations: [example.com/*]");
    let scene = scene.setting(&asked);
    Writer::container(&scene.root(), &pods[0], Format::Crio).lines(1);
    let agent = scene.start().await;
    let memory = MemoryWatch::of(agent.process());
    let watched =
        |request: &support::kubernetes::Request| request.is_watch() && request.path.ends_with("namespaces");
    api.asked("namespaces are watched", |requests| requests.iter().any(watched)).await;
    let of_kubernetes = async |name: &str| agent.metric(&format!("kinetail_kubernetes_{name}")).await;
    until(async || of_kubernetes("pods").await == 250.0).await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).taken == 1).await;
    let most = memory.most();
    assert!(most < BOUND, "{most} bytes");
    let told = of_kubernetes("memory_bytes").await as u64;
    assert!((10 * MIB..=16 * MIB).contains(&told), "{told} bytes, as it counts them itself");
    assert!(of_kubernetes("namespaces_refused_total").await > 0.0);
    assert_eq!(of_kubernetes("pods_refused_total").await, 0.0);
    assert_eq!(of_kubernetes("annotations_left_out_total").await, 50.0);
    // However many namespaces there are, this node's own pods are known.
    let record = &scene.records(AUDIT)[0]["kubernetes"];
    assert_eq!((&record["pod_name"], &record["labels"]["team"]), (&json!("web-0"), &json!(text)));
    assert_eq!(record["annotations"]["example.com/manifest"].as_str().map(str::len), Some(15 << 10));
    agent.terminate().await;
}
