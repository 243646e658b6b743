//! What `kinetail plan` tells of real logs is what their delivery then comes to.

mod support;

use std::fs;

use support::endpoint::Endpoint;
use support::logs;
use support::process::{Process, kinetail};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// The cells of a row, without the mark of the configured way.
fn row(lines: &[String], name: &str) -> Vec<f64> {
    let row = lines.iter().find_map(|line| line.trim_start().strip_prefix(name)).expect("a row of this name");
    let cells = row.split_whitespace().filter_map(|cell| cell.replace(',', "").parse().ok());
    cells.collect()
}

#[tokio::test]
async fn what_the_plan_tells_is_what_delivery_comes_to() {
    let scene = Scene::on(Endpoint::plain()).await;
    let mut writers = logs::containers(&scene.root(), 3);
    writers.iter_mut().for_each(|writer| writer.lines(700));
    let config = scene.root().join("kinetail.yaml");
    fs::write(&config, scene.config()).unwrap();
    let mut command = kinetail(&scene.root());
    // Over a day, so that the numbers of a day are those of the sample.
    command.args(["plan", "--period", "1d", "--sample"]).arg(scene.root()).arg("--config").arg(&config);
    let planned = Process::start(command).ended().await;
    assert_eq!(planned.status.code(), Some(0), "{planned:?}");
    assert!(planned.lines[0].starts_with("2,1"), "{}", planned.lines[0]);

    scene.once().await;
    scene.exactly(writers.iter().flat_map(|writer| writer.markers()).collect()).await;
    scene.endpoint.look(|account| {
        let audit = account.stream(AUDIT);
        let none = row(&planned.lines, "aggregation: none *");
        assert_eq!((none[0], none[3]), (audit.taken as f64, audit.billed_units as f64), "{planned:?}");
        assert_eq!(audit.taken, 2100);
        // Delivered all at once, lines are packed more tightly than over a day.
        let packed = row(&planned.lines, "packing: newline *");
        assert!(packed[0] >= account.stream(ARCHIVE).taken as f64 && packed[0] <= 2100.0, "{planned:?}");
        let single = row(&planned.lines, "packing: none");
        assert_eq!(single[0], 2100.0);
    });
}

#[tokio::test]
async fn what_cannot_be_planned_is_refused_with_the_way_out() {
    let scene = Scene::on(Endpoint::plain()).await;
    let config = scene.root().join("kinetail.yaml");
    fs::write(&config, scene.config()).unwrap();
    for (arguments, code, says) in [
        ("--sample .", 2, "no route takes one of its"),
        ("--sample nowhere", 2, "nowhere"),
        ("", 2, "--sample <DIR>"),
        ("--rate 5 --sample .", 2, "cannot be used with"),
        ("--rate 0", 2, "lines a second"),
        ("--rate 50 --size 1KiB --nodes 3 --headroom 50", 0, "a day of 3 nodes"),
    ] {
        let mut command = kinetail(&scene.root());
        command.arg("plan").arg("--config").arg(&config).args(arguments.split_whitespace());
        let ended = Process::start(command).ended().await;
        let said = ended.lines.join("\n");
        assert_eq!(ended.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(says), "{arguments}: {said}");
    }
}
