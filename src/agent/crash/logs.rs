//! The logs of one container.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::account::Account;

/// What a container and its runtime do.
pub(super) struct Logs {
    pub(super) folder: PathBuf,
    file: File,
    /// How many files there were before this one.
    rotations: u32,
    /// The last message of each stream in this file.
    last: [u32; 2],
    /// The rest of a line of stdout whose first part is written.
    open: Option<String>,
    /// How many such lines there were.
    begun: u32,
    /// How many messages there were that are no records.
    refused: u32,
}

impl Logs {
    pub(super) fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let file = File::create(folder.join("app.log")).unwrap();
        Self { folder, file, rotations: 0, last: [0; 2], open: None, begun: 0, refused: 0 }
    }

    /// Whole messages, in turn on stderr and stdout. While a message is open on stdout only stderr goes on.
    pub(super) fn write(&mut self, lines: u32, account: &mut Account) {
        for line in 0..lines {
            let stdout = line % 2 == 1 && self.open.is_none();
            let text = self.message(stdout, account);
            self.line(stdout, 'F', &text);
        }
    }

    pub(super) fn write_long(&mut self, account: &mut Account) {
        let text = format!("{}-001", "x".repeat(20_000));
        account.wrote(&text);
        self.line(false, 'F', &text);
    }

    /// The first part of a line of stdout. Every other time it is within a trace, which is one record.
    pub(super) fn begin_part(&mut self, account: &mut Account) {
        let mut text = if self.begun.is_multiple_of(2) {
            let trace = format!("{} trace\n  at one\n  at two", self.name(true));
            account.wrote(&trace);
            for line in trace.lines().take(2) {
                self.line(true, 'F', line);
            }
            "  at two".to_owned()
        } else {
            self.message(true, account)
        };
        self.begun += 1;
        self.open = Some(text.split_off(3));
        self.line(true, 'P', &text);
    }

    /// A trace on stderr, which goes on for as long as nothing else comes there.
    pub(super) fn write_trace(&mut self, account: &mut Account) {
        let trace = format!("{} trace\n  at one\n  at two", self.name(false));
        account.wrote(&trace);
        trace.lines().for_each(|line| self.line(false, 'F', line));
    }

    /// A message on which a step fails, one over which a step panics, and one that is dropped.
    pub(super) fn write_refused(&mut self, account: &mut Account) {
        self.refused += 1;
        for what in ["poison", "panic"] {
            let text = format!("{what}-{:03}", self.refused);
            account.refused(&text);
            self.line(false, 'F', &text);
        }
        self.line(false, 'F', "debug: of no use");
    }

    /// The last part of a line of stdout, if one is open.
    pub(super) fn end_part(&mut self) {
        if let Some(rest) = self.open.take() {
            self.line(true, 'F', &rest);
        }
    }

    /// The file gets another name; what is written still goes into it.
    pub(super) fn rename(&mut self) {
        let name = format!("app.log.{}", self.rotations + 1);
        fs::rename(self.folder.join("app.log"), self.folder.join(name)).unwrap();
    }

    /// Another file takes its place.
    pub(super) fn begin(&mut self) {
        self.file = File::create(self.folder.join("app.log")).unwrap();
        self.rotations += 1;
        self.last = [0; 2];
    }

    fn message(&mut self, stdout: bool, account: &mut Account) -> String {
        let text = self.name(stdout);
        account.wrote(&text);
        text
    }

    /// What the next message of a stream begins with.
    fn name(&mut self, stdout: bool) -> String {
        let last = &mut self.last[usize::from(stdout)];
        *last += 1;
        let stream = if stdout { "out" } else { "err" };
        format!("file{}{stream}-{last:03}", self.rotations)
    }

    fn line(&mut self, stdout: bool, tag: char, text: &str) {
        let stream = if stdout { "stdout" } else { "stderr" };
        writeln!(self.file, "2026-01-02T03:04:05.123456789Z {stream} {tag} {text}").unwrap();
    }
}
