//! Python: `traceback.print_exception`, chains and groups of exceptions included.

use super::{NONE, Rule, rule};

const FRAMES: &str = "frames";
const EXCEPTION: &str = "the exception, and its message";
/// Pydantic tells each field that is wrong on a line of its own.
const FIELDS: &str = "an exception with a list of fields";
const STATEMENT: &str = "a statement of SQL";
const GAP: &str = "an empty line behind an exception";
const LINK: &str = "what joins two exceptions";
const GROUP: &str = "a group of exceptions, in its frame";

pub(super) const RULES: &[Rule] = &[
    rule(&[NONE, LINK], r"^\s*\+ Exception Group Traceback \(most recent call last\):\s*$", GROUP),
    rule(&[NONE, LINK], r"Traceback \(most recent call last\):\s*$", FRAMES),
    // Of a syntax error there is no more.
    rule(&[NONE, LINK], r#"^  File "[^"]*", line \d"#, FRAMES),
    rule(
        &[NONE, GAP],
        r"^(?:During handling of the above exception, another exception occurred|The above exception was the direct cause of the following exception):\s*$",
        LINK,
    ),
    rule(&[FRAMES], r"^\s+\S", FRAMES),
    rule(&[FRAMES], r"^[\w.<>]+: \d+ validation errors? for ", FIELDS),
    rule(&[FRAMES], r"^[\w.<>]+(?::|\s*$)", EXCEPTION),
    // What databases' drivers add to a message, and SQLAlchemy to theirs: a statement of any number of lines.
    rule(&[EXCEPTION], r"^(?:LINE \d+|DETAIL|HINT|CONTEXT): ", EXCEPTION),
    rule(&[EXCEPTION, GAP], r"^\[(?:SQL|parameters): .*\]$|^\(Background on this error at: ", EXCEPTION),
    rule(&[EXCEPTION, GAP], r"^\[(?:SQL|parameters): ", STATEMENT),
    rule(&[STATEMENT], r"\]$", EXCEPTION),
    rule(&[STATEMENT], r"^", STATEMENT),
    rule(&[EXCEPTION], r"^\s+\S", EXCEPTION),
    rule(&[FIELDS], r"^\s+\S|^[\w.\[\]-]+$", FIELDS),
    rule(&[EXCEPTION, FIELDS, GROUP, GAP], r"^\s*$", GAP),
    rule(&[LINK], r"^\s*$", LINK),
    rule(&[GROUP], r"^\s+[|+]", GROUP),
];
