//! The presets.

use super::{decoding, read, texts};
use crate::decode::Format;
use crate::decode::multiline::{Multiline, Preset};
use crate::source::Stream;

/// The records of a language's log.
fn records(preset: Preset) -> Vec<&'static str> {
    let log = match preset {
        Preset::Java => include_str!("traces/java.txt"),
        Preset::Python => include_str!("traces/python.txt"),
        Preset::Go => include_str!("traces/go.txt"),
        Preset::Ruby => include_str!("traces/ruby.txt"),
        Preset::Dotnet => include_str!("traces/dotnet.txt"),
        Preset::Node => include_str!("traces/node.txt"),
    };
    log.trim_end().split("\n%%\n").collect()
}

fn log(preset: Preset) -> String {
    records(preset).join("\n") + "\n"
}

fn traces_are_one_record_each(preset: Preset) {
    compare(&texts(Multiline::traces(&[preset]), &log(preset)), &records(preset));
}

/// One by one, so that a failure can be read.
#[track_caller]
fn compare(joined: &[impl AsRef<str>], wanted: &[&str]) {
    for (joined, wanted) in joined.iter().zip(wanted) {
        assert_eq!(joined.as_ref(), *wanted);
    }
    assert_eq!(joined.len(), wanted.len());
}

#[test]
fn traces_of_java_are_one_record_each_with_causes_and_what_they_suppress() {
    traces_are_one_record_each(Preset::Java);
}

#[test]
fn traces_of_python_are_one_record_each_with_chains_and_groups() {
    traces_are_one_record_each(Preset::Python);
}

#[test]
fn traces_of_go_are_one_record_each_with_all_goroutines() {
    traces_are_one_record_each(Preset::Go);
}

#[test]
fn traces_of_ruby_are_one_record_each_with_causes() {
    traces_are_one_record_each(Preset::Ruby);
}

#[test]
fn traces_of_dotnet_are_one_record_each_with_inner_exceptions() {
    traces_are_one_record_each(Preset::Dotnet);
}

#[test]
fn traces_of_node_are_one_record_each_with_causes_and_errors_of_an_aggregate() {
    traces_are_one_record_each(Preset::Node);
}

#[test]
fn with_all_presets_each_languages_traces_are_what_they_are_with_its_own() {
    for preset in Preset::ALL {
        compare(&texts(Multiline::traces(&Preset::ALL), &log(preset)), &records(preset));
    }
}

#[test]
fn traces_of_two_streams_do_not_mix_whatever_lines_come_between_and_however_the_runtime_splits_them() {
    let decoding = decoding(Format::Cri, Multiline::traces(&[Preset::Java, Preset::Python]));
    let (java, python) = (log(Preset::Java), log(Preset::Python));
    let (mut out, mut err) = (java.lines().enumerate(), python.lines());
    let mut file = String::new();
    let time = "2026-03-04T09:12:44.000000001Z";
    loop {
        let (a, b) = (out.next(), err.next());
        if a.is_none() && b.is_none() {
            break;
        }
        if let Some((number, line)) = a {
            // Every third is split where the runtime's buffer ends; a line of the other stream comes between.
            let mut at = if number % 3 == 0 { line.len() / 2 } else { 0 };
            while !line.is_char_boundary(at) {
                at += 1;
            }
            if at > 0 {
                file += &format!("{time} stdout P {}\n", &line[..at]);
            }
            if let Some(line) = b {
                file += &format!("{time} stderr F {line}\n");
            }
            file += &format!("{time} stdout F {}\n", &line[at..]);
        } else if let Some(line) = b {
            file += &format!("{time} stderr F {line}\n");
        }
    }
    let joined = read(&decoding, &file);
    let of = |stream: Stream| -> Vec<&str> {
        joined.iter().filter(|(other, _)| *other == stream).map(|(_, text)| &**text).collect()
    };
    compare(&of(Stream::Stdout), &records(Preset::Java));
    compare(&of(Stream::Stderr), &records(Preset::Python));
}
