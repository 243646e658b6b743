//! What the simulation promises to the tests that use it.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::pages::PAGE;
use super::*;

fn disk() -> (tempfile::TempDir, SimDisk) {
    let root = tempfile::tempdir().unwrap();
    let disk = SimDisk::over(root.path(), 1);
    (root, disk)
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_some_of_the_rest() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let (root, disk) = disk();
        let [kept, torn] = ["kept", "torn"].map(|name| root.path().join(name));
        let file = disk.create(&kept).unwrap();
        file.write_at(&[b"synced"], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(root.path()).unwrap();
        let file = disk.create(&torn).unwrap();
        file.write_at(&[&[1; 2 * PAGE as usize]], 0).unwrap();
        disk.lose_power(seed);
        assert_eq!(fs::read(&kept).unwrap(), b"synced");
        outcomes.insert(fs::read(&torn).ok());
    }
    // No name; a name without bytes; the length with neither, either or both pages.
    assert_eq!(outcomes.len(), 6);
}

#[test]
fn a_failed_sync_drops_its_pages_for_good() {
    let (root, disk) = disk();
    let path = root.path().join("file");
    let file = disk.create(&path).unwrap();
    disk.sync_folder(root.path()).unwrap();
    file.write_at(&[b"lost"], 0).unwrap();
    disk.set(Weather::SyncsFail);
    assert!(file.sync().is_err());
    disk.set(Weather::Fine);
    file.sync().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"lost", "a live process still sees it");
    disk.lose_power(1);
    assert_eq!(fs::read(&path).unwrap(), [0; 4]);
}

#[test]
fn after_the_stop_nothing_happens_and_of_the_write_it_fell_into_only_a_part() {
    let mut lens = BTreeSet::new();
    for seed in 0..50 {
        let root = tempfile::tempdir().unwrap();
        let disk = SimDisk::over(root.path(), seed);
        let path = root.path().join("file");
        disk.stop_at(2);
        let file = disk.create(&path).unwrap();
        assert!(file.write_at(&[b"abc"], 0).is_err());
        assert!(disk.is_stopped() && disk.remove(&path).is_err());
        lens.insert(fs::read(&path).unwrap().len());
    }
    assert_eq!(lens, [0, 1, 2, 3].into());
}

#[test]
fn a_full_disk_takes_what_was_reserved() {
    let (root, disk) = disk();
    let file = disk.create(&root.path().join("file")).unwrap();
    file.reserve(PAGE).unwrap();
    disk.set(Weather::Full);
    file.write_at(&[&[1; PAGE as usize]], 0).unwrap();
    assert_eq!(file.write_at(&[b"more"], PAGE).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
