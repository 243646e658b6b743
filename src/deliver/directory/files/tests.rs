use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::super::super::shape::Shape;
use super::super::super::testing;
use super::*;
use crate::units::ByteSize;

fn files(folder: &TempDir, compression: Compression) -> Files {
    let settings = Directory {
        path: folder.path().to_owned(),
        max_size: ByteSize(100),
        max_age: Duration::from_secs(60),
        compression,
    };
    Files::new(settings, "archive".into(), crate::disk::HostDisk::shared())
}

fn request(records: &[&[u8]]) -> Request {
    testing::request(Shape::directory(), testing::run_of(1, 0, records))
}

fn noon() -> Timestamp {
    "2026-11-21T12:00:01Z".parse().unwrap()
}

/// Every file below the folder, by its name without the random part.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(top, &path, found);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

fn contents(folder: &Path) -> Vec<String> {
    tree(folder)
        .into_iter()
        .map(|(name, bytes)| {
            assert!(!name.starts_with('.'), "{name} is still open");
            if name.ends_with(".gz") {
                io::read_to_string(flate2::read::MultiGzDecoder::new(&bytes[..])).unwrap()
            } else {
                String::from_utf8(bytes).unwrap()
            }
        })
        .collect()
}

#[test]
fn files_lie_where_firehose_would_put_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&folder, Compression::None);
    files.write(&request(&[b"one", b"two"]), noon(), Instant::now()).unwrap();
    let open = tree(folder.path());
    assert_eq!(open.len(), 1);
    assert!(
        open.keys()
            .all(|name| name.starts_with(".archive-1-2026-11-21-12-00-01-") && name.ends_with(".open"))
    );
    files.close().unwrap();
    let closed = tree(folder.path());
    let (name, bytes) = closed.first_key_value().unwrap();
    assert!(name.starts_with("2026/11/21/12/archive-1-2026-11-21-12-00-01-"), "{name}");
    assert_eq!(name.len(), "2026/11/21/12/archive-1-2026-11-21-12-00-01-".len() + UUID_LEN);
    assert_eq!(bytes, b"one\ntwo\n");
}

#[test]
fn a_file_is_closed_at_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&folder, Compression::None);
    for _ in 0..3 {
        files.write(&request(&[&[b'x'; 59]]), noon(), Instant::now()).unwrap();
    }
    files.close().unwrap();
    assert_eq!(contents(folder.path()).iter().map(String::len).collect::<Vec<_>>(), [60, 60, 60]);
}

#[test]
fn a_file_is_closed_at_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&folder, Compression::None);
    let at = Instant::now();
    files.write(&request(&[b"old"]), noon(), at).unwrap();
    assert_eq!(files.due(), Some(at + Duration::from_secs(60)));
    files.close_if_due(at + Duration::from_secs(59)).unwrap();
    assert!(files.due().is_some());
    files.close_if_due(at + Duration::from_secs(60)).unwrap();
    assert_eq!((contents(folder.path()), files.due()), (vec!["old\n".to_owned()], None));
}

#[test]
fn each_request_is_a_gzip_member_of_one_valid_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&folder, Compression::Gzip);
    files.write(&request(&[b"one"]), noon(), Instant::now()).unwrap();
    files.write(&request(&[b"two"]), noon(), Instant::now()).unwrap();
    files.close().unwrap();
    assert_eq!(contents(folder.path()), ["one\ntwo\n"]);
}

#[test]
fn a_file_cut_at_any_byte_by_a_crash_is_finished_at_its_last_whole_request() {
    for compression in [Compression::None, Compression::Gzip] {
        let written = tempfile::tempdir().unwrap();
        let mut before = files(&written, compression);
        let mut whole = vec![0];
        for record in [&b"one"[..], b"two", b"three"] {
            before.write(&request(&[record]), noon(), Instant::now()).unwrap();
            whole.push(tree(written.path()).values().map(Vec::len).sum());
        }
        let (name, bytes) = tree(written.path()).pop_first().unwrap();
        for cut in 0..=bytes.len() {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(&name), &bytes[..cut]).unwrap();
            let mut after = files(&folder, compression);
            after
                .write(&request(&[b"new"]), "2026-11-22T00:00:00Z".parse().unwrap(), Instant::now())
                .unwrap();
            after.close().unwrap();
            let survived = whole.iter().filter(|end| **end > 0 && **end <= cut).count();
            let mut expected = vec!["new\n".to_owned()];
            if survived > 0 {
                expected.insert(0, ["one\n", "two\n", "three\n"][..survived].concat());
            }
            assert_eq!(contents(folder.path()), expected, "{compression:?} cut at {cut}");
        }
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = ".archive-1-more-1-2026-11-21-12-00-01-00000000-0000-4000-8000-000000000000.open";
    for name in [theirs, ".archive.open", ".archive-1-.open"] {
        fs::write(folder.path().join(name), "theirs\n").unwrap();
    }
    let mut files = files(&folder, Compression::None);
    files.write(&request(&[b"ours"]), noon(), Instant::now()).unwrap();
    files.close().unwrap();
    assert_eq!(tree(folder.path()).keys().filter(|name| name.starts_with('.')).count(), 3);
}

#[test]
fn a_folder_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    fs::write(&path, "a file is in the way").unwrap();
    let mut files = files(&folder, Compression::None);
    files.settings.path = path.clone();
    assert!(files.write(&request(&[b"one"]), noon(), Instant::now()).is_err());
    fs::remove_file(&path).unwrap();
    files.write(&request(&[b"one"]), noon(), Instant::now()).unwrap();
    files.close().unwrap();
    assert_eq!(contents(&path), ["one\n"]);
}

#[test]
fn a_uuid_has_its_version_and_variant() {
    assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
}
