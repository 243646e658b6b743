//! `kinetail try` and the tests of a configuration, as they are typed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CONFIG: &str = "
destinations:
  archive: {type: directory, path: ROOT/out}
routes:
  - name: shop
    files: [/var/log/pods/shop_*/*/*.log, 'ROOT/*.log']
    record: {preset: raw}
    process:
      - parse: json
      - add: {seen: true}
    to: archive
";
const POD: &str = "/var/log/pods/shop_web-1_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app/0.log";

fn kinetail(root: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinetail"))
        .args(arguments)
        .env_clear()
        .env("KINETAIL_CONFIG", root.join("k.yaml"))
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads nothing may have closed it by now.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn scene(more: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let text = format!("{CONFIG}{more}").replace("ROOT", &root.path().display().to_string());
    fs::write(root.path().join("k.yaml"), text).expect("written");
    root
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn lines_are_tried_from_standard_input_and_from_files_that_rotation_left() {
    let root = scene("");
    let line = "{\"a\":1}\n";
    let tried = kinetail(root.path(), &["try", "--path", POD], line);
    assert_eq!(tried.status.code(), Some(0), "{tried:?}");
    let records = |output: &Output| {
        let text = text(&output.stdout);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(records(&tried), ["{\"a\":1,\"seen\":true}"]);
    let name = "a.log.20261121-101500.gz";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(line.repeat(3).as_bytes()).expect("in memory");
    fs::write(root.path().join(name), gzip.finish().expect("in memory")).unwrap();
    let tried = kinetail(root.path(), &["try", "--explain", name], "");
    assert_eq!(records(&tried).len(), 3, "{tried:?}");
    assert!(text(&tried.stdout).contains("#     + seen: true\n"), "{tried:?}");
    assert!(!root.path().join("out").exists(), "nothing is sent");
}

#[test]
fn what_cannot_be_tried_is_told_with_the_way_out() {
    let root = scene("");
    for (arguments, code, says) in [
        (&["try"][..], 2, "say with --path"),
        (&["try", "--path", "var/log/x"], 2, "not an absolute path"),
        (&["try", "nowhere.log"], 2, "nowhere.log: No such file"),
        (&["try", "--path", "/var/log/x"], 1, "not shop (/var/log/pods/shop_*/*/*.log, "),
        (&["try", "--config", "none.yaml", "--path", POD], 2, "none.yaml: cannot be read"),
    ] {
        let tried = kinetail(root.path(), arguments, "a\n");
        let told = text(&tried.stdout) + &text(&tried.stderr);
        assert_eq!(tried.status.code(), Some(code), "{arguments:?} {told}");
        assert!(told.contains(says), "{arguments:?} {told}");
    }
}

#[test]
fn a_check_fails_with_a_test_of_the_configuration() {
    let test = |expected: &str| {
        format!("tests: [{{path: {POD}, lines: '{{\"a\":1}}', expect: {{record: {{a: {expected}}}}}}}]\n")
    };
    let good = kinetail(scene(&test("1")).path(), &["check"], "");
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(text(&good.stdout).ends_with("1 test passed\n"), "{good:?}");
    let bad = kinetail(scene(&test("2")).path(), &["check"], "");
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(text(&bad.stderr).contains("tests[0].expect.record.a\n    - 2\n    + 1\n"), "{bad:?}");
}

#[test]
fn labels_are_said_on_the_command_line() {
    let more = "  - {name: rest, files: '/var/log/pods/*/*/*.log', record: {preset: raw}, to: archive}\nkubernetes: {}\n";
    let root = scene(more);
    let file = root.path().join("k.yaml");
    let config = fs::read_to_string(&file).expect("it was written");
    let config =
        config.replace("record: {preset: raw}\n", "match: {labels: {team: a}}\n    record: {preset: raw}\n");
    fs::write(&file, config).expect("written");
    for (label, says) in [
        (&["--label", "team=a"][..], ": route shop,"),
        (&["--label", "team=b", "--explain"], "the label team is b, and `labels` has [a]"),
        (&["--label", "other=a", "--explain"], "there is no label team, and `labels` has [a]"),
        (&[], "say them with --label NAME=VALUE"),
    ] {
        let tried = kinetail(root.path(), &[&["try", "--path", POD], label].concat(), "{}\n");
        let told = text(&tried.stdout);
        assert!(tried.status.success() && told.contains(says), "{label:?} {told}");
        assert!(!told.contains(": and route"), "one route takes it: {told}");
    }
    let wrong = kinetail(root.path(), &["try", "--path", POD, "--label", "team"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("is not NAME=VALUE"), "{wrong:?}");
    let without = kinetail(scene("").path(), &["try", "--path", POD, "--label", "team=a"], "");
    assert!(text(&without.stderr).contains("has no section `kubernetes`"), "{without:?}");
}
