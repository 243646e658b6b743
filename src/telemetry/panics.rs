//! Panics are said in the log, like everything else that goes wrong.
//!
//! Those that end the process tell all they know. Those that cost one record alone ([`catch`]) come as often as
//! the record's like, and their message may quote the record (slicing a text in the middle of a character
//! does): the log has their place, and the message is the caller's.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

use tracing::error;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// File, line and column in the source, as far as they are known.
    pub place: String,
    /// What it said. It may quote what was worked on.
    pub message: String,
}

/// From now on, panics are said in the log.
pub(super) fn tell() {
    set_hook(Box::new(|panic| if CATCHING.get() { note(panic) } else { say(panic) }));
}

fn say(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let said = panic.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    error!(event = "panic", place, said, %backtrace, "this is a defect in kinetail; please report it");
}

fn note(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    error!(
        event = "panic_in_record",
        place, "this is a defect in kinetail; please report it. The record is kept as a dead letter"
    );
    PLACE.set(place);
}

/// Does something that may panic and that keeps what it works on usable when it does.
///
/// # Errors
///
/// It panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    let outer = CATCHING.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    done.map_err(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Caught { place: PLACE.take(), message: message.unwrap_or_else(|| "no message".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_said_is_the_callers_and_what_was_made_before_it_stays() {
        let mut made = Vec::new();
        let caught = catch(|| {
            made.push(1);
            let text = "é";
            made.push(text[1..].len());
        });
        assert!(caught.unwrap_err().message.contains('é'));
        assert_eq!(made, [1]);
        assert_eq!(catch(|| 2), Ok(2));
        assert!(!CATCHING.get());
    }
}
