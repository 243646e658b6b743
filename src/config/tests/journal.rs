//! Routes that read the journal.

use std::ffi::OsString;

use super::*;
use crate::decode::Format;
use crate::tail::JournalSettings;

fn route(keys: &str) -> String {
    format!(
        "destinations: {{a: {{type: directory, path: x}}}}\nroutes:\n- {{format: journald, to: a{keys}}}\n"
    )
}

#[test]
fn filters_become_arguments_of_journalctl_that_cannot_be_taken_for_others() {
    let config = good(&route(""));
    let route_of_all = &config.routes[0];
    assert_eq!(route_of_all.decoding.format, Format::Journald);
    let journal = route_of_all.journal.clone().expect("a journal");
    assert_eq!(journal.source, JournalSettings::default());
    assert!(!route_of_all.takes(Path::new("/var/log/journal/x/system.journal")));

    let keys = ", journal: {units: [kubelet, --output=cat], priority: err, matches: ['_PID=1', +, 'A=-x y'], \
                folders: /j, command: [/c, -x], lowercase: true}";
    let journal = good(&route(keys)).routes[0].journal.clone().expect("a journal");
    let filters = ["--unit=kubelet", "--unit=--output=cat", "--priority=3", "--", "_PID=1", "+", "A=-x y"];
    assert_eq!(journal.source.filters, filters.map(OsString::from));
    assert_eq!(journal.source.folders, [Path::new("/j")]);
    assert_eq!(journal.source.command, ["/c", "-x"].map(OsString::from));
    assert!(journal.fields.lowercase && !journal.fields.strip_underscores && !journal.fields.message_as_log);
}

#[test]
fn what_is_for_files_or_for_the_journal_alone_is_refused_at_the_other() {
    let all = "files: /x, exclude: /y, match: {pod: z}, annotations: exclude, multiline: java, continue: true, skip_header_lines: 1";
    let told = messages(&route(&format!(", {all}")));
    for key in ["files", "exclude", "match", "annotations", "multiline", "continue", "skip_header_lines"] {
        let told: Vec<_> = told.iter().filter(|line| line.contains(&format!("routes[0].{key}: "))).collect();
        assert!(told.iter().any(|line| line.contains("reads entries and no files")), "{key}: {told:?}");
    }
    let files = route("").replace("format: journald", "journal: {units: x}");
    let told = messages(&files);
    assert!(told.iter().any(|line| line.contains("routes[0].files: is missing")), "{told:?}");
    assert!(
        told.iter()
            .any(|line| line.ends_with("routes[0].journal: has a meaning only with `format: journald`"))
    );
}

#[test]
fn filters_that_journalctl_would_refuse_or_misread_are_told() {
    let told = |journal: &str| messages(&route(&format!(", journal: {{{journal}}}"))).join("\n");
    for (journal, what) in [
        ("units: ['kube*']", "routes[0].journal.units[0]: is a pattern"),
        ("matches: [x=1]", "\"x=1\" is not FIELD=value"),
        ("matches: [/usr/bin/sshd]", "is not FIELD=value"),
        ("matches: [--all]", "is not FIELD=value"),
        ("matches: [+, A=1]", "matches[0]: stands between two alternatives"),
        ("matches: [A=1, +]", "matches[1]: stands between two alternatives"),
        ("matches: [A=1, +, +, B=1]", "matches[1]: stands between two alternatives"),
        ("command: journalctl", "\"journalctl\" is not an absolute path"),
        ("folders: journal", "folders"),
        ("priority: urgent", "allowed: emerg, alert, crit, err, warning, notice, info, debug"),
    ] {
        let told = told(journal);
        assert!(told.contains(what), "{journal}: {told}");
    }
}
