//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Work that is over by then is not told of in lines.
const FIRST: Duration = Duration::from_secs(2);
/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);
/// Between two pictures of a bar.
const FRAME: Duration = Duration::from_millis(200);
/// The characters of a bar.
const WIDTH: usize = 30;
/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// The bar that is on the terminal now, in the last line. What else is written there has to go above it.
static SHOWN: Mutex<String> = Mutex::new(String::new());

/// Where lines go.
pub type Line<'a> = Box<dyn FnMut(&str) + 'a>;

/// How far something is.
pub struct Progress<'a> {
    what: &'static str,
    unit: &'static str,
    done: u64,
    of: u64,
    note: String,
    bar: bool,
    line: Line<'a>,
    due: Instant,
}

impl<'a> Progress<'a> {
    /// Of `of` bytes, letters or what else `unit` says. `line` writes a line where standard error is no terminal.
    pub fn new(what: &'static str, unit: &'static str, of: u64, line: Line<'a>) -> Self {
        Self::on(io::stderr().is_terminal(), what, unit, of, line, Instant::now())
    }

    fn on(bar: bool, what: &'static str, unit: &'static str, of: u64, line: Line<'a>, now: Instant) -> Self {
        let due = if bar { now } else { now + FIRST };
        Self { what, unit, done: 0, of, note: String::new(), bar, line, due }
    }

    /// So much is done now, of so much; `note` says what is to be said besides.
    pub fn at(&mut self, done: u64, of: u64, note: &str) {
        self.at_time(done, of, note, Instant::now());
    }

    fn at_time(&mut self, done: u64, of: u64, note: &str, now: Instant) {
        (self.done, self.of) = (done, of.max(done));
        if self.note != note {
            note.clone_into(&mut self.note);
        }
        if now >= self.due {
            self.due = now + if self.bar { FRAME } else { EVERY };
            self.show();
        }
    }

    /// Says how far it came, whatever time has passed.
    pub fn end(mut self) {
        self.show();
    }

    fn show(&mut self) {
        if self.bar {
            draw(format!("{} {}", picture(self.done, self.of), self.text()));
        } else {
            let text = self.text();
            (self.line)(&text);
        }
    }

    fn text(&self) -> String {
        let Self { what, unit, done, of, note, .. } = self;
        let percent = share(*done, *of, 100);
        let note = if note.is_empty() { String::new() } else { format!("; {note}") };
        format!("{what}: {done} of {of} {unit} ({percent} %){note}")
    }
}

impl Drop for Progress<'_> {
    /// What was shown last stays, and the next line begins below.
    fn drop(&mut self) {
        if self.bar && !std::mem::take(&mut *shown()).is_empty() {
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }
}

/// So many of `whole` parts.
fn share(done: u64, of: u64, whole: u64) -> u64 {
    if of == 0 { whole } else { (u128::from(done) * u128::from(whole) / u128::from(of)) as u64 }
}

fn picture(done: u64, of: u64) -> String {
    let full = share(done, of, WIDTH as u64) as usize;
    format!("[{}{}]", "#".repeat(full), " ".repeat(WIDTH - full.min(WIDTH)))
}

fn draw(bar: String) {
    let mut shown = shown();
    let _ = write!(io::stderr().lock(), "{CLEAR}{bar}");
    *shown = bar;
}

fn shown() -> MutexGuard<'static, String> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to standard error, above the bar if there is one.
///
/// # Errors
///
/// It cannot be written.
pub fn write_above(bytes: &[u8]) -> io::Result<()> {
    let shown = shown();
    let mut err = io::stderr().lock();
    if shown.is_empty() {
        return err.write_all(bytes);
    }
    err.write_all(CLEAR.as_bytes())?;
    err.write_all(bytes)?;
    err.write_all(shown.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_now_and_then_and_one_at_the_end() {
        let mut lines = Vec::new();
        let now = Instant::now();
        let write: Line<'_> = Box::new(|line: &str| lines.push(line.to_owned()));
        let mut progress = Progress::on(false, "replay", "letters", 4, write, now);
        progress.at_time(1, 4, "", now + Duration::from_secs(1));
        progress.at_time(2, 4, "", now + Duration::from_secs(2));
        progress.at_time(3, 4, "waits", now + Duration::from_secs(5));
        progress.at_time(3, 4, "waits", now + Duration::from_secs(12));
        progress.at_time(4, 4, "", now + Duration::from_secs(13));
        progress.end();
        let expected = ["2 of 4 letters (50 %)", "3 of 4 letters (75 %); waits", "4 of 4 letters (100 %)"];
        assert_eq!(lines, expected.map(|line| format!("replay: {line}")));
    }

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(picture(1, 3), format!("[{}{}]", "#".repeat(10), " ".repeat(20)));
        assert_eq!(picture(0, 0), format!("[{}]", "#".repeat(WIDTH)));
    }

    #[test]
    fn of_nothing_all_is_done_and_more_than_was_expected_is_no_more_than_all() {
        let mut lines = Vec::new();
        let now = Instant::now();
        let mut progress =
            Progress::on(false, "a", "bytes", 0, Box::new(|line: &str| lines.push(line.to_owned())), now);
        progress.at_time(0, 0, "", now + FIRST);
        progress.at_time(7, 5, "", now);
        progress.end();
        assert_eq!(lines, ["a: 0 of 0 bytes (100 %)", "a: 7 of 7 bytes (100 %)"]);
    }
}
