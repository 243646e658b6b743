//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is over by then is not told of in lines.
const FIRST: Duration = Duration::from_secs(2);
/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// The bar that is on the terminal now. What else is written there has to go above it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// What work is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Bytes.
    Bytes,
    /// Dead letters.
    Letters,
}

impl Of {
    fn bar(self) -> &'static str {
        match self {
            Self::Bytes => {
                "{prefix} [{bar:20}] {binary_bytes} of {binary_total_bytes} ({percent} %), {eta} left{msg}"
            }
            Self::Letters => "{prefix} [{bar:20}] {pos} of {len} letters ({percent} %), {eta} left{msg}",
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Letters => "letters",
        })
    }
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Far {
    what: &'static str,
    unit: Of,
    /// So much is done.
    pub done: u64,
    /// Of so much.
    pub of: u64,
    /// What is to be said besides.
    pub note: String,
}

impl Far {
    /// In hundredths, rounded down: 100 is the end.
    pub fn percent(&self) -> u64 {
        if self.of == 0 { 100 } else { (u128::from(self.done) * 100 / u128::from(self.of)) as u64 }
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, done, of, note } = self;
        write!(f, "{what}: {done} of {of} {unit} ({} %)", self.percent())?;
        if note.is_empty() { Ok(()) } else { write!(f, "; {note}") }
    }
}

/// Shows how far something is: by `line`, where standard error is no terminal.
pub struct Progress<L: FnMut(&Far)> {
    far: Far,
    line: L,
    due: Instant,
    bar: Option<ProgressBar>,
}

impl<L: FnMut(&Far)> Progress<L> {
    /// Of so many bytes, or what else is counted.
    pub fn new(what: &'static str, unit: Of, of: u64, line: L) -> Self {
        Self::on(ProgressDrawTarget::stderr(), what, unit, of, line, Instant::now())
    }

    fn on(target: ProgressDrawTarget, what: &'static str, unit: Of, of: u64, line: L, now: Instant) -> Self {
        let bar = (!target.is_hidden()).then(|| {
            let style =
                ProgressStyle::with_template(unit.bar()).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(of), target)
                .with_style(style.progress_chars("#> "))
                .with_prefix(what)
        });
        Self { far: Far { what, unit, done: 0, of, note: String::new() }, line, due: now + FIRST, bar }
    }

    /// So much is done now, of so much; `note` says what is to be said besides.
    pub fn at(&mut self, done: u64, of: u64, note: &str) {
        self.at_time(done, of, note, Instant::now());
    }

    fn at_time(&mut self, done: u64, of: u64, note: &str, now: Instant) {
        let Self { far, line, due, bar } = self;
        (far.done, far.of) = (done, of.max(done));
        let noted = far.note != note;
        if noted {
            note.clone_into(&mut far.note);
        }
        if let Some(bar) = bar {
            shown().get_or_insert_with(|| bar.clone());
            if noted {
                bar.set_message(if note.is_empty() { String::new() } else { format!("; {note}") });
            }
            bar.set_length(far.of);
            bar.set_position(done);
        } else if now >= *due {
            *due = now + EVERY;
            line(far);
        }
    }

    /// Says how far it came, whatever time has passed.
    pub fn end(mut self) {
        if self.bar.is_none() {
            (self.line)(&self.far);
        }
    }
}

impl<L: FnMut(&Far)> Drop for Progress<L> {
    /// How far it came stays on the terminal, and the next line begins below.
    fn drop(&mut self) {
        let drawn = self.bar.as_ref().and_then(|_| shown().take());
        if let Some(bar) = drawn {
            bar.abandon();
        }
    }
}

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to standard error, above the bar if there is one.
///
/// # Errors
///
/// It cannot be written.
pub fn write_above(bytes: &[u8]) -> io::Result<()> {
    let write = || io::stderr().lock().write_all(bytes);
    match &*shown() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;

    fn in_lines<L: FnMut(&Far)>(what: &'static str, unit: Of, of: u64, line: L, now: Instant) -> Progress<L> {
        Progress::on(ProgressDrawTarget::hidden(), what, unit, of, line, now)
    }

    #[test]
    fn lines_come_now_and_then_and_one_at_the_end() {
        let mut lines = Vec::new();
        let now = Instant::now();
        let write = |far: &Far| lines.push(far.to_string());
        let mut progress = in_lines("replay", Of::Letters, 4, write, now);
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
    fn of_nothing_all_is_done_and_more_than_was_expected_is_no_more_than_all() {
        let mut lines = Vec::new();
        let now = Instant::now();
        let mut progress = in_lines("a", Of::Bytes, 0, |far: &Far| lines.push(far.to_string()), now);
        progress.at_time(0, 0, "", now + FIRST);
        progress.at_time(7, 5, "", now);
        progress.end();
        assert_eq!(lines, ["a: 0 of 0 bytes (100 %)", "a: 7 of 7 bytes (100 %)"]);
    }

    /// A terminal, as everything that is written there.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn put(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.put(line)?;
            self.put("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.put("\r<cleared>\r")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_has_a_bar_as_full_as_the_work_is_done_which_stays_and_no_lines() {
        for (unit, said) in [
            (Of::Letters, ["] 1 of 3 letters (33 %), ", "] 3 of 3 letters (100 %), 0s left; waits"]),
            (Of::Bytes, ["] 1 B of 3 B (33 %), ", "] 3 B of 3 B (100 %), 0s left; waits"]),
        ] {
            let screen = Screen::default();
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255);
            let none = |far: &Far| panic!("a line: {far}");
            let mut progress = Progress::on(target, "replay", unit, 3, none, Instant::now());
            progress.at(1, 3, "");
            let (third, all) = (format!("replay [{}>", "#".repeat(6)), format!("replay [{}", "#".repeat(20)));
            let text = screen.0.lock().unwrap().clone();
            assert!(text.contains(&third) && text.contains(said[0]), "{text}");
            write_above(b"").unwrap();
            let again = screen.0.lock().unwrap().split_off(text.len());
            let (cleared, drawn) = again.rsplit_once("<cleared>").expect("there is room for what is said");
            assert!(!cleared.contains(&third) && drawn.contains(&third), "{again}");
            progress.at(3, 3, "waits");
            progress.end();
            let text = screen.0.lock().unwrap().clone();
            let last = text.rsplit("<cleared>").next().unwrap();
            assert!(last.contains(&all) && last.contains(said[1]), "{text}");
        }
    }
}
