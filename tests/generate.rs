//! A drill as docs/operations.md tells it: generated logs, a partition, throttling and a kill, and the count.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::endpoint::{Endpoint, ErrorAnswer, Fault, Rule};
use support::process::{Ended, Process, kinetail};
use support::scene::{ARCHIVE, AUDIT, Scene};

async fn drill() -> Scene {
    Scene::on(Endpoint::plain())
        .await
        .route(&["files: '{root}/load/*/*/*.log'", "format: cri", "start_at: beginning"])
        .tail("rotate_wait: 100ms")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
}

fn generate(scene: &Scene, flags: &str) -> Process {
    let mut command = kinetail(&scene.root());
    command.args(["generate", "--dir", "load", "--max-files", "1000"]).args(flags.split(' '));
    Process::start(command)
}

async fn count(scene: &Scene, manifest: &Path, arrived: &Path) -> Ended {
    let mut command = kinetail(&scene.root());
    command.args(["count", "--manifest"]).arg(manifest).arg(arrived);
    Process::start(command).ended().await
}

/// The manifest of the only run.
fn manifest(scene: &Scene) -> PathBuf {
    let entries = fs::read_dir(scene.root().join("load")).expect("the logs' folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.extension().is_some_and(|end| end == "json")).expect("a manifest")
}

/// Every record that a stream took, each in a file.
fn save(scene: &Scene, stream: &str) -> PathBuf {
    let folder = scene.root().join("arrived").join(stream);
    fs::create_dir_all(&folder).expect("a folder");
    scene.endpoint.look(|account| {
        for (number, record) in account.stream(stream).records().iter().enumerate() {
            fs::write(folder.join(number.to_string()), &record.data).expect("written");
        }
    });
    folder
}

#[tokio::test]
async fn a_drill_of_partition_throttling_and_a_kill_ends_with_every_line_counted() {
    let scene = drill().await;
    let agent = scene.start().await;
    let generator =
        generate(&scene, "--rate 3000 --lines 6000 --rotate-at 100KiB --mix json,stack,text --seed 5");
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).lines > 500).await;
    scene.endpoint.outage(true);
    agent.logged("destination_backing_off").await;
    agent.kill().await;
    let throttled = Fault::RefuseEntries { chance: 0.3, with: ErrorAnswer::throughput_exceeded() };
    scene.endpoint.inject(Rule::new(throttled));
    scene.endpoint.outage(false);
    let agent = scene.start().await;
    let ended = generator.ended().await;
    assert!(ended.status.success(), "{ended:?}");
    scene.endpoint.wait_until(|account| account.stream(AUDIT).lines > 3000).await;
    scene.endpoint.heal();
    agent.terminate().await;
    scene.once().await;

    let manifest = manifest(&scene);
    for stream in [ARCHIVE, AUDIT] {
        let folder = save(&scene, stream);
        let counted = count(&scene, &manifest, &folder).await;
        assert_eq!(counted.status.code(), Some(0), "{counted:?}");
        assert!(counted.lines[0].contains("6000 lines written, 6000 arrived, 0 lost"), "{counted:?}");

        // What the count would say of a loss: the drill could fail.
        let first = folder.join("0");
        let lines = fs::read_to_string(&first).unwrap().matches("ktm.").count();
        fs::remove_file(first).unwrap();
        let counted = count(&scene, &manifest, &folder).await;
        let lost = counted.lines[0].split(", ").find_map(|part| part.strip_suffix(" lost"));
        // Copies of a record may have come after the partition.
        assert!(lost.is_some_and(|lost| lost.parse::<usize>().unwrap() <= lines), "{counted:?}");
        assert_eq!(counted.status.code(), Some(i32::from(lost != Some("0"))), "{counted:?}");
    }
}

#[tokio::test]
async fn a_generator_that_is_stopped_leaves_its_manifest() {
    let scene = drill().await;
    let generator = generate(&scene, "--rate max --logs 2 --format plain --rotation none");
    generator.line(|line| line.contains("kinetail count --manifest")).await;
    let ended = generator.terminate().await;
    let said = ended.lines.last().unwrap();
    let manifest = manifest(&scene);
    let text: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let lines: u64 = text["logs"].as_array().unwrap().iter().map(|log| log["lines"].as_u64().unwrap()).sum();
    assert!(said.contains(&format!("{lines} lines written to 2 logs")), "{said}");
    assert_eq!(text["complete"], true);
    let counted = count(&scene, &manifest, &scene.root().join("load")).await;
    assert!(counted.lines[0].contains(&format!("{lines} arrived, 0 lost, 0 copies")), "{counted:?}");

    let counted = count(&scene, &scene.root().join("none.json"), &scene.root()).await;
    assert_eq!(counted.status.code(), Some(2));
    assert!(counted.lines[0].contains("none.json"), "{counted:?}");
}
