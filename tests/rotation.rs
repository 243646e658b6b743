//! Whatever rotation does to a file, while kinetail runs and while it does not, its lines arrive once.

mod support;

use std::fs;

use support::endpoint::Endpoint;
use support::logs::{Container, Format, Stream, Writer, compress, containers, siblings};
use support::scene::Scene;

async fn plain_files() -> Scene {
    Scene::plain().await.route(&["files: '{root}/logs/*.log'", "start_at: beginning"])
}

fn plain(scene: &Scene, name: &str) -> Writer {
    Writer::plain(scene.root().join(format!("logs/{name}.log")), name).max_files(50)
}

#[tokio::test]
async fn files_renamed_while_kinetail_runs_are_read_to_their_end() {
    let scene = Scene::plain().await;
    let mut writers: Vec<_> =
        containers(&scene.root(), 4).into_iter().map(|writer| writer.max_files(50)).collect();
    let agent = scene.start().await;
    for round in 1..=10 {
        for writer in &mut writers {
            writer.lines(40);
            writer.rename_away();
            // The runtime goes on in the renamed file until it is told.
            writer.lines(10);
            writer.reopen();
        }
        scene.arrived(round * 100).await;
    }
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn several_generations_made_while_kinetail_is_down_are_all_read() {
    let scene = Scene::plain().await.route(&[
        "files: '{root}/containers/*/*-json.log'",
        "format: docker",
        "start_at: beginning",
    ]);
    let mut writer = Writer::docker(&scene.root(), "app").max_files(50);
    let agent = scene.start().await;
    writer.lines(50);
    scene.arrived(50).await;
    agent.terminate().await;
    writer.lines(50);
    for _ in 0..4 {
        writer.rotate();
        writer.lines(50);
    }
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn a_file_compressed_before_it_was_finished_is_finished_from_there() {
    let scene = Scene::plain().await;
    let mut writer = containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(300);
    scene.arrived(300).await;
    agent.terminate().await;
    writer.lines(300);
    writer.rotate();
    writer.lines(300);
    // Now the first is compressed.
    writer.rotate();
    writer.lines(300);
    assert!(siblings(writer.path())[0].extension().is_some_and(|ending| ending == "gz"));
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn a_file_that_was_finished_is_not_read_again_when_it_is_compressed() {
    let scene = Scene::plain().await;
    let mut writer = containers(&scene.root(), 1).remove(0).max_files(50);
    let agent = scene.start().await;
    for round in 1..=4 {
        writer.lines(100);
        scene.arrived(round * 100).await;
        writer.rotate();
    }
    agent.terminate().await;
    for path in
        siblings(writer.path()).iter().filter(|path| path.extension().is_none_or(|ending| ending != "gz"))
    {
        compress(path);
    }
    writer.lines(100);
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
    // Nor at yet another start, nor when it is renamed once more.
    for path in siblings(writer.path()) {
        let name = path.to_str().expect("text").replace(".log.20", ".log.19");
        fs::rename(&path, name).expect("renames a rotated log");
    }
    writer.lines(100);
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_file_copied_and_truncated_while_kinetail_runs_loses_nothing_that_is_in_the_copy() {
    let scene = plain_files().await;
    let mut writer = plain(&scene, "app");
    let agent = scene.start().await;
    for round in 1..=10 {
        // Whatever of it was not read before the file is truncated stands in the copy.
        writer.lines(200);
        writer.copytruncate();
        scene.arrived(round * 200).await;
    }
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn a_file_copied_and_truncated_while_kinetail_is_down_is_finished_from_the_copy() {
    let scene = plain_files().await;
    for lines_after in [0, 10, 200] {
        // With as many lines as the last it has grown past the place where reading stopped.
        let mut writer = plain(&scene, &format!("app-{lines_after}"));
        let agent = scene.start().await;
        writer.lines(50);
        scene
            .endpoint
            .wait_until(|account| {
                account.streams().all(|(_, stream)| stream.numbers_of(writer.name()).len() == 50)
            })
            .await;
        agent.terminate().await;
        writer.lines(20);
        writer.copytruncate();
        writer.lines(lines_after);
        let agent = scene.start().await;
        scene
            .endpoint
            .wait_until(|account| {
                account
                    .streams()
                    .all(|(_, stream)| stream.numbers_of(writer.name()).len() == 70 + lines_after)
            })
            .await;
        agent.terminate().await;
        scene.endpoint.look(|account| {
            for (_, stream) in account.streams() {
                let mut numbers = stream.numbers_of(writer.name());
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..70 + lines_after as u64));
            }
        });
    }
    scene.ids_are_unique();
}

#[tokio::test]
async fn a_file_truncated_and_grown_past_the_old_place_is_read_from_its_beginning() {
    let scene = plain_files().await;
    let mut writer = plain(&scene, "app").lengths(50..60);
    let agent = scene.start().await;
    for round in 1..=5 {
        writer.lines(100 * round);
        scene.arrived(50 * round * (round + 1)).await;
        // At the next look it is longer than it was.
        writer.copytruncate();
    }
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn the_log_of_a_deleted_pod_is_read_to_its_end() {
    let scene = Scene::on(Endpoint::plain()).await.tail("rotate_wait: 1m");
    let mut writer = containers(&scene.root(), 1).remove(0);
    writer.lines(10);
    let agent = scene.start().await;
    scene.arrived(10).await;
    writer.lines(3000);
    writer.delete_pod();
    // The container takes its time to end.
    writer.lines(100);
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn what_a_deleted_file_still_holds_is_read_before_a_stop() {
    let scene = Scene::on(Endpoint::plain()).await.tail("rotate_wait: 1m");
    let mut writer = containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.arrived(10).await;
    writer.lines(3000);
    writer.begin_line(Stream::Stdout);
    writer.delete_pod();
    agent.terminate().await;
    scene.exactly_once(&[&writer]).await;
}

#[tokio::test]
async fn another_file_under_the_same_inode_number_is_another_file() {
    let scene = plain_files().await;
    let mut writer = plain(&scene, "app");
    let mut written = 0;
    let mut agent = scene.start().await;
    for running in [true, false, true, false] {
        writer.lines(50);
        written += 50;
        scene.arrived(written).await;
        if !running {
            agent.terminate().await;
            writer.replace_keeping_inode();
            writer.lines(70);
            agent = scene.start().await;
        } else {
            writer.replace_keeping_inode();
            writer.lines(70);
        }
        written += 70;
        scene.arrived(written).await;
    }
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn the_log_of_a_new_pod_with_the_inode_of_an_old_one_is_the_new_ones() {
    let scene = Scene::plain().await;
    let agent = scene.start().await;
    let mut old = Writer::container(&scene.root(), &Container::of_pod("old"), Format::Containerd);
    // Nothing was read yet by which the file could be known.
    scene.arrived(0).await;
    old.lines(50);
    scene.arrived(50).await;
    agent.terminate().await;
    old.delete_pod();
    drop(old);
    // File systems such as ext4 give the freed inode to the next file.
    let mut new = Writer::container(&scene.root(), &Container::of_pod("new"), Format::Containerd);
    new.lines(50);
    let agent = scene.start().await;
    scene.arrived(100).await;
    agent.terminate().await;
    for record in scene.records(support::scene::AUDIT) {
        let pod = record["kubernetes"]["pod_name"].as_str().expect("a pod");
        assert!(record["log"].as_str().expect("a text").starts_with(pod), "{record}");
    }
    scene.ids_are_unique();
}

#[tokio::test]
async fn a_link_that_is_pointed_elsewhere_is_followed_and_the_file_it_left_is_finished() {
    let scene =
        Scene::plain().await.route(&["files: '{root}/links/*.log'", "format: cri", "start_at: beginning"]);
    let mut writer = containers(&scene.root(), 1).remove(0);
    let link = scene.root().join("links/app.log");
    writer.link_from(&link);
    let agent = scene.start().await;
    writer.lines(50);
    scene.arrived(50).await;
    writer.lines(50);
    // The container restarts: kubelet points the link to `1.log`.
    writer.restart();
    writer.link_from(&link);
    writer.lines(50);
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn the_file_behind_a_link_is_found_again_where_rotation_left_it() {
    let scene =
        Scene::plain().await.route(&["files: '{root}/links/*.log'", "format: cri", "start_at: beginning"]);
    let mut writer = containers(&scene.root(), 1).remove(0).max_files(50);
    writer.link_from(&scene.root().join("links/app.log"));
    let agent = scene.start().await;
    for round in 1..=3 {
        writer.lines(50);
        writer.rotate();
        writer.lines(50);
        scene.arrived(round * 100).await;
    }
    agent.terminate().await;
    for _ in 0..3 {
        writer.lines(50);
        writer.rotate();
    }
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}
