//! The examples: a sidecar over the files of its application, and a job that runs each night.

use std::path::Path;

use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::manifest::Manifest;
use crate::node::Node;
use crate::pod::mode;
use crate::support::container::possible;
use crate::support::logs::Writer;
use crate::volumes::give_to;
use crate::{arrived, with_role_of_account};

/// Whom the examples run as, and the group of their volumes.
const USER: u32 = 65532;

/// As a namespace's range of OpenShift begins.
const OPENSHIFT: u32 = 1_000_680_000;

/// What another user does, who is in the group of the volumes.
fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    let become_it = || {
        let group = Gid::from_raw(USER);
        set_thread_groups(&[group]).and_then(|()| set_thread_gid(group)).expect("we are root");
        set_thread_uid(Uid::from_raw(user)).expect("we are root");
        act()
    };
    std::thread::scope(|scope| scope.spawn(become_it).join().expect("no panic"))
}

#[tokio::test]
async fn the_sidecar_delivers_what_its_application_wrote_through_kills_an_outage_and_a_new_pod() {
    if !possible() {
        return;
    }
    let (node, manifest) = (Node::with(&["app-logs"]).await, Manifest::file("examples/sidecar.yaml"));
    node.apply(&manifest);
    let (first, second) = (with_role_of_account(&manifest), with_role_of_account(&manifest));
    let pod = node.pod_of(first);
    let running = pod.ready().await;
    assert_eq!(running.status("Uid"), format!("{USER}\t{USER}\t{USER}\t{USER}"));
    assert_eq!(
        (running.status("Groups").trim(), running.status("Gid").as_str()),
        ("65532", "65532\t65532\t65532\t65532")
    );
    assert_eq!((running.status("CapEff"), running.status("CapBnd")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!((running.status("NoNewPrivs"), running.status("Seccomp")), ("1".into(), "2".into()));

    let write = |writer: &mut Writer| {
        as_user(USER, || {
            writer.lines(50);
            writer.rotate();
            writer.lines(50);
        });
    };
    let log = |folder: &Path, name: &str| as_user(USER, || Writer::plain(folder.join("app.log"), name));
    let mut app = log(&pod.volume("logs"), "app");
    write(&mut app);
    arrived(&node, "app-logs", [&app]).await;
    running.has_delivered(100).await;

    // Killed in an outage, and started again by kubelet with the pod's volumes as they were.
    node.cloud.endpoint.outage(true);
    write(&mut app);
    running.counts("kinetail_buffer_records", 100).await;
    running.process.kill().await;
    write(&mut app);
    let running = pod.ready().await;
    running.counts("kinetail_buffer_records", 200).await;
    // Evicted: of the pod, what is in its claim alone stays.
    running.process.kill().await;
    pod.delete();

    let pod = node.pod_of(second);
    let running = pod.ready().await;
    let mut next = log(&pod.volume("logs"), "next");
    write(&mut next);
    running.counts("kinetail_buffer_records", 300).await;
    node.cloud.endpoint.outage(false);
    arrived(&node, "app-logs", [&app, &next]).await;
    // The application's last words, just before it ends and kubelet ends the sidecar, are in a volume that goes with the pod.
    running.process.signal(Signal::STOP);
    write(&mut next);
    running.process.signal(Signal::TERM);
    running.process.signal(Signal::CONT);
    let ended = running.process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    pod.delete();
    arrived(&node, "app-logs", [&app, &next]).await;
    let node_id = node.claim("state-app-0").join("node-id");
    assert_eq!(mode(&node_id), 0o600, "what is in data_dir is its own, and kubelet leaves it so");
}

#[tokio::test]
async fn the_cron_job_delivers_each_night_what_is_new_and_an_end_before_that_is_a_failure() {
    if !possible() {
        return;
    }
    let mut manifest = Manifest::file("examples/cronjob.yaml");
    let config = manifest.config();
    assert!(config.contains("drain_timeout: 20s"), "{config}");
    *config = config.replace("drain_timeout: 20s", "drain_timeout: 100ms");
    let node = Node::with(&["batch-logs"]).await;
    node.apply(&manifest);
    // As another pod with the same fsGroup left them.
    let volume = node.claim("batch-logs");
    give_to(USER, &volume, false);
    let report = |day: &str| {
        let path = volume.join("2026").join(day).join("report.log");
        as_user(1000, || {
            let mut writer = Writer::plain(path, day);
            writer.lines(50);
            writer
        })
    };
    let night = || node.pod_of(with_role_of_account(&manifest));

    let mut reports = vec![report("first")];
    let ended = night().start().process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    arrived(&node, "batch-logs", &reports).await;

    as_user(1000, || reports[0].lines(50));
    reports.push(report("second"));
    let ended = night().start().process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    arrived(&node, "batch-logs", &reports).await;
    let ended = night().start().process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "nothing is new: {:#?}", ended.lines);

    // It is tried until the job's time is over; then kubelet ends it.
    node.cloud.endpoint.outage(true);
    reports.push(report("third"));
    let pod = night();
    let running = pod.start();
    running.process.line(|line| line.contains("destination_backing_off")).await;
    running.process.line(|line| line.contains("everything is read")).await;
    running.process.signal(Signal::TERM);
    let ended = running.process.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{:#?}", ended.lines);
    assert!(ended.lines.iter().any(|line| line.contains("drain_timed_out")), "{:#?}", ended.lines);
    assert!(ended.lines.iter().any(|line| line.contains("\"failed\"")), "{:#?}", ended.lines);

    // What it read is in its claim, though the files are gone.
    std::fs::remove_dir_all(volume.join("2026")).expect("it is ours");
    node.cloud.endpoint.outage(false);
    let ended = night().start().process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    arrived(&node, "batch-logs", &reports).await;
}

#[tokio::test]
async fn as_the_user_that_openshift_gives_a_namespace_the_cron_job_delivers_too() {
    if !possible() {
        return;
    }
    let (node, manifest) = (Node::with(&["batch-logs"]).await, Manifest::file("examples/cronjob.yaml"));
    node.apply(&manifest);
    let mut pod = with_role_of_account(&manifest);
    // Without the three, admission says them; a user whom the image does not know is in group 0.
    let security = pod["securityContext"].as_object_mut().expect("a security context");
    for (name, id) in [("runAsUser", OPENSHIFT), ("runAsGroup", 0), ("fsGroup", OPENSHIFT)] {
        assert!(security.insert(name.into(), id.into()).is_some(), "{name} is what is to be left out");
    }
    let volume = node.claim("batch-logs");
    let mut report = Writer::plain(volume.join("report.log"), "report");
    report.lines(50);
    give_to(OPENSHIFT, &volume, false);
    let ended = node.pod_of(pod).start().process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    arrived(&node, "batch-logs", [&report]).await;
}
