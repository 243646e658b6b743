//! A panic while a line is decoded, processed or encoded costs that line alone: it becomes a dead letter of each
//! of its file's destinations, and the rest goes on.
//!
//! A block of lines is worked on under one catch, so that a line costs nothing for it. When a panic comes, the
//! next line is taken up by the next catch. What was lost is known by its message where the message was made
//! already, which may be of many lines, and otherwise by the raw line.
//!
//! A message on which a step fails that says `on_error: dead_letter` goes the same way.

use std::collections::HashMap;
use std::mem;
use std::panic::panic_any;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, warn};

use crate::buffer::{DeadLetters, Letter, Origin};
use crate::encode::record_id;
use crate::event::Message;
use crate::source::{Incarnation, RouteName, Stream};
use crate::tail::{Line, Lines};
use crate::telemetry::panics::{Caught, catch};

/// How long a destination waits before dead letters are tried again that could not be kept.
const PAUSE: Duration = Duration::from_secs(1);

/// A message or line that no record could be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Casualty {
    offset: u64,
    stream: Stream,
    text: Vec<u8>,
    reason: &'static str,
    detail: String,
    /// The destinations that lose it; all of the file's without.
    to: Option<Vec<usize>>,
    /// The further route of its file that the record was made for.
    further: Option<RouteName>,
}

/// Who loses a message on its way through one of the routes that its file falls under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stake {
    /// The route, if it is not the file's first.
    pub(super) further: Option<RouteName>,
    /// With a step that fails, the destinations of this route; all of the file's without.
    pub(super) failed: Option<Vec<usize>>,
    /// With a panic, those of this route and of the later ones, which do not see the message any more.
    pub(super) panicked: Option<Vec<usize>>,
}

/// The reason of letters over which a panic came.
const PANIC: &str = "panic";
/// The reason of letters on which a step failed.
const STEP_FAILED: &str = "step_failed";

/// What no record could be made of in one block.
#[derive(Debug, Default)]
pub(super) struct Casualties {
    all: Vec<Casualty>,
    /// How many of them came over by the panic that is about to be caught.
    untold: usize,
}

impl Casualties {
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Gives every line to `take`, and returns how many there were.
    pub(super) fn lines<'a>(
        &mut self,
        lines: &mut Lines<'a>,
        mut take: impl FnMut(&mut Self, Line<'a>),
    ) -> u64 {
        let (mut count, mut current) = (0, None);
        loop {
            let outcome = catch(|| {
                for line in lines.by_ref() {
                    count += 1;
                    current = Some(line);
                    take(self, line);
                }
            });
            let Err(caught) = outcome else { return count };
            if self.untold == 0 {
                let Some(line) = current else { go_on(caught) };
                self.note(line.offset, Stream::Plain, line.bytes, &Stake::default());
            }
            self.tell(&caught);
        }
    }

    /// Has messages given out of what was kept from earlier lines. `give_out` is called until nothing is left.
    pub(super) fn rest(&mut self, mut give_out: impl FnMut(&mut Self)) {
        loop {
            let Err(caught) = catch(|| give_out(self)) else { return };
            if self.untold == 0 {
                // Not over a message: calling it again could go on like this for ever.
                go_on(caught);
            }
            self.tell(&caught);
        }
    }

    /// Does something with a message, and remembers the message if that panics, or returns the name of a step that
    /// failed.
    pub(super) fn message(
        &mut self,
        message: &Message<'_>,
        stake: &Stake,
        work: impl FnOnce(&Message<'_>) -> Option<&'static str>,
    ) {
        struct Witness<'a, 'm>(&'a mut Casualties, &'a Message<'m>, &'a Stake);
        impl Drop for Witness<'_, '_> {
            fn drop(&mut self) {
                self.0.note(self.1.start, self.1.stream, self.1.body, self.2);
            }
        }
        let witness = Witness(self, message, stake);
        let failed = work(witness.1);
        mem::forget(witness);
        if let Some(step) = failed {
            let Message { start: offset, stream, body, .. } = *message;
            let detail = format!("the step `{step}` could not be done");
            let (to, further) = (stake.failed.clone(), stake.further.clone());
            let text = body.to_owned();
            self.all.push(Casualty { offset, stream, text, reason: STEP_FAILED, detail, to, further });
        }
    }

    fn note(&mut self, offset: u64, stream: Stream, text: &[u8], stake: &Stake) {
        let (to, further) = (stake.panicked.clone(), stake.further.clone());
        let (text, detail) = (text.to_owned(), String::new());
        self.all.push(Casualty { offset, stream, text, reason: PANIC, detail, to, further });
        self.untold += 1;
    }

    fn tell(&mut self, caught: &Caught) {
        let untold = mem::take(&mut self.untold);
        for casualty in self.all.iter_mut().rev().take(untold) {
            casualty.detail = format!("panic at {}: {}", caught.place, caught.message);
        }
    }
}

/// A panic that belongs to no line ends the process, as it does anywhere else.
fn go_on(caught: Caught) -> ! {
    panic_any(format!("{} (at {})", caught.message, caught.place))
}

/// Where casualties are buried: the dead letters of all destinations.
pub(super) struct Graves {
    node: u128,
    /// By the index of the destination.
    letters: Vec<DeadLetters>,
    /// What is kept already of lines whose frame its destination did not take yet: they are read again.
    kept: HashMap<(usize, Incarnation), Vec<(u64, Stream)>>,
    /// Destinations whose dead letters could not be kept, and when to try again.
    again: HashMap<usize, Instant>,
}

impl Graves {
    pub(super) fn new(node: u128, letters: Vec<DeadLetters>) -> Self {
        Self { node, letters, kept: HashMap::new(), again: HashMap::new() }
    }

    /// Whether dead letters of this destination may be tried now.
    pub(super) fn is_open(&self, out: usize, now: Instant) -> bool {
        self.again.get(&out).is_none_or(|again| *again <= now)
    }

    /// Makes dead letters of casualties for a destination; durable when it returns. Returns `false` if they
    /// could not be kept: then reading must not pass their lines.
    pub(super) fn bury(
        &mut self,
        out: usize,
        incarnation: Incarnation,
        path: &Path,
        casualties: &Casualties,
        now: Instant,
        wall: SystemTime,
    ) -> bool {
        let kept = self.kept.get(&(out, incarnation)).map_or(&[][..], Vec::as_slice);
        let fresh: Vec<&Casualty> = casualties
            .all
            .iter()
            .filter(|casualty| casualty.to.as_ref().is_none_or(|to| to.contains(&out)))
            .filter(|casualty| !kept.contains(&(casualty.offset, casualty.stream)))
            .collect();
        if fresh.is_empty() {
            return true;
        }
        let node = self.node;
        let letters = fresh.iter().map(|casualty| letter(node, incarnation, path, casualty));
        if let Err(error) = self.letters[out].keep(letters, wall) {
            error!(event = "dead_letter_failed", path = %path.display(), %error,
                "a dead letter cannot be kept; its file waits for that destination, and it is tried again");
            self.again.insert(out, now + PAUSE);
            return false;
        }
        warn!(event = "dead_letter", path = %path.display(), lines = fresh.len(), reason = fresh[0].reason,
            folder = %self.letters[out].folder().display(), "lines that became no record are kept as dead letters");
        let ids: Vec<(u64, Stream)> =
            fresh.iter().map(|casualty| (casualty.offset, casualty.stream)).collect();
        self.kept.entry((out, incarnation)).or_default().extend(ids);
        self.again.remove(&out);
        true
    }

    /// A destination took everything up to here.
    pub(super) fn passed(&mut self, out: usize, incarnation: Incarnation) {
        self.kept.remove(&(out, incarnation));
    }

    /// The dead letters of a destination.
    pub(super) fn of(&self, out: usize) -> &DeadLetters {
        &self.letters[out]
    }

    /// Those of all destinations.
    pub(super) fn all(&self) -> &[DeadLetters] {
        &self.letters
    }

    /// The destinations' dead letters, for [`rewire`](Self::rewire).
    pub(super) fn take_letters(&mut self) -> Vec<DeadLetters> {
        mem::take(&mut self.letters)
    }

    /// The destinations are these now; of each that was there before, `now_at` says where it is.
    pub(super) fn rewire(&mut self, letters: Vec<DeadLetters>, now_at: &[Option<usize>]) {
        self.letters = letters;
        let now_at = |out: usize| now_at.get(out).copied().flatten();
        let kept = mem::take(&mut self.kept).into_iter();
        self.kept =
            kept.filter_map(|((out, incarnation), kept)| Some(((now_at(out)?, incarnation), kept))).collect();
        let again = mem::take(&mut self.again).into_iter();
        self.again = again.filter_map(|(out, again)| Some((now_at(out)?, again))).collect();
    }

    /// A file is left.
    pub(super) fn forget(&mut self, incarnation: Incarnation) {
        self.kept.retain(|(_, other), _| *other != incarnation);
    }
}

fn letter(node: u128, incarnation: Incarnation, path: &Path, casualty: &Casualty) -> Letter<'static> {
    let Casualty { offset, stream, further, .. } = casualty;
    let id = record_id(node, incarnation, further.as_ref(), *offset, *stream).hex();
    Letter {
        reason: casualty.reason,
        detail: casualty.detail.clone(),
        origin: Origin {
            file: Some(path.to_string_lossy().into_owned()),
            offset: Some(*offset),
            record_id: Some(String::from_utf8_lossy(&id).into_owned()),
        },
        record: String::from_utf8_lossy(&casualty.text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoder, Format, Limits};

    const TIME: &str = "2026-01-02T03:04:05Z";

    /// What comes out of a file in CRI form when processing panics over messages that hold `poison`.
    fn decoded(text: &str) -> (Vec<String>, Vec<Casualty>) {
        let mut decoder = Decoder::new(Format::Cri, Limits::default());
        let (mut casualties, mut out) = (Casualties::default(), Vec::new());
        let now = Instant::now();
        let mut work = |message: &Message<'_>| {
            let text = String::from_utf8_lossy(message.body).into_owned();
            assert!(!text.contains("poison"), "over {text}");
            if text.contains("refused") {
                return Some("parse: json");
            }
            out.push(text);
            None
        };
        let mut lines = Lines::new(text.as_bytes(), 0, false, 1 << 20, true);
        let count = casualties.lines(&mut lines, |casualties, line| {
            decoder.line(line.offset, line.bytes, line.cut, now, |message| {
                casualties.message(&message, &Stake::default(), &mut work);
            });
        });
        assert_eq!(count, text.lines().count() as u64);
        casualties.rest(|casualties| {
            decoder.flush(|message| casualties.message(&message, &Stake::default(), &mut work))
        });
        assert!(decoder.open().is_empty());
        (out, casualties.all)
    }

    fn cri(stream: &str, tag: &str, text: &str) -> String {
        format!("{TIME} {stream} {tag} {text}\n")
    }

    #[test]
    fn a_panic_over_a_message_costs_that_message_and_no_other() {
        let texts = ["one", "poison 1", "two", "poison 2", "poison 3", "three"];
        let (out, casualties) = decoded(&texts.map(|text| cri("stdout", "F", text)).concat());
        assert_eq!(out, ["one", "two", "three"]);
        let lost: Vec<&str> =
            casualties.iter().map(|casualty| str::from_utf8(&casualty.text).unwrap()).collect();
        assert_eq!(lost, ["poison 1", "poison 2", "poison 3"]);
        assert_eq!(casualties[0].offset, cri("stdout", "F", "one").len() as u64);
        assert!(casualties[0].detail.ends_with("over poison 1"), "{}", casualties[0].detail);
    }

    #[test]
    fn a_message_that_a_step_refuses_is_told_from_one_that_a_panic_came_over() {
        let texts = ["refused 1", "poison 1", "refused 2", "one"];
        let (out, casualties) = decoded(&texts.map(|text| cri("stdout", "F", text)).concat());
        assert_eq!(out, ["one"]);
        let reasons: Vec<&str> = casualties.iter().map(|casualty| casualty.reason).collect();
        assert_eq!(reasons, [STEP_FAILED, PANIC, STEP_FAILED]);
        assert!(casualties[1].detail.ends_with("over poison 1"));
        assert_eq!(casualties[2].detail, "the step `parse: json` could not be done");
        assert_eq!(casualties[2].text, b"refused 2");
    }

    #[test]
    fn of_a_split_line_the_whole_text_is_kept_and_other_streams_go_on() {
        let text = [
            cri("stdout", "P", "poi"),
            cri("stderr", "P", "er"),
            cri("stdout", "F", "son"),
            cri("stderr", "F", "ror"),
        ];
        let (out, casualties) = decoded(&text.concat());
        assert_eq!(out, ["error"]);
        assert_eq!((casualties.len(), &casualties[0].text[..]), (1, &b"poison"[..]));
        assert_eq!((casualties[0].offset, casualties[0].stream), (0, Stream::Stdout));
    }

    #[test]
    fn groups_that_come_out_at_the_end_are_caught_too() {
        let (out, casualties) = decoded(&[cri("stdout", "P", "poison"), cri("stderr", "P", "fine")].concat());
        assert_eq!((out.len(), casualties.len()), (1, 1));
    }

    #[test]
    fn a_panic_in_the_decoder_itself_costs_its_raw_line() {
        let mut casualties = Casualties::default();
        let mut lines = Lines::new(b"a\nbad\nc\n", 100, false, 1 << 20, false);
        let mut taken = Vec::new();
        casualties.lines(&mut lines, |_, line| {
            assert!(line.bytes != b"bad");
            taken.push(line.bytes.to_owned());
        });
        assert_eq!(taken, [b"a", b"c"]);
        let Casualty { offset, stream, text, .. } = &casualties.all[0];
        assert_eq!((*offset, *stream, &text[..]), (102, Stream::Plain, &b"bad"[..]));
    }

    #[test]
    #[should_panic(expected = "of its own")]
    fn a_panic_that_belongs_to_no_line_goes_on() {
        Casualties::default().rest(|_| panic!("of its own"));
    }
}
