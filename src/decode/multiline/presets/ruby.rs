//! Ruby: `Exception#full_message` in both orders, what `Logger` makes of an exception, and Rails' backtraces.

use super::{NONE, Rule, rule};

const BOTTOM: &str = "frames that come before the exception";
const HEADER: &str = "the exception, and its message";
const GAP: &str = "an empty line behind a message";
const CODE: &str = "the place in the code that is shown";
const FRAMES: &str = "frames";
const CAUSES: &str = "Rails' list of causes";

/// With the tags that Rails puts before every line.
const FRAME: &str = r"^(?:\[[^\]]*\] )*\s*(?:from )?\S+:\d+:in [`'][^']*'$";
const EMPTY: &str = r"^(?:\[[^\]]*\] )*\s*$";

pub(super) const RULES: &[Rule] = &[
    rule(&[NONE], r"^Traceback \(most recent call last\):$", BOTTOM),
    rule(&[BOTTOM], r"^\s+\d+: from ", BOTTOM),
    // What ends a thread, or the process; a cause comes behind the frames in the same form.
    rule(&[NONE, BOTTOM, FRAMES, GAP, CODE], r"^\S+:\d+:in [`'][^']*': .", HEADER),
    rule(&[NONE], r"^#<Thread:0x\S+ .*> terminated with exception", BOTTOM),
    // Logger's form, and Rails'.
    rule(&[NONE], r"\((?:[A-Z]\w*::)*[A-Z]\w*\)$", HEADER),
    rule(&[NONE], r"(?:^|\s)(?:[A-Z]\w*::)*[A-Z]\w* \(.*\):\s*$", HEADER),
    rule(&[NONE], r"^\s+from \S+:\d+:in ", FRAMES),
    rule(&[HEADER, GAP, CODE, FRAMES], FRAME, FRAMES),
    rule(&[FRAMES, GAP], r"^(?:\[[^\]]*\] )*(?:Causes|Caused by):", CAUSES),
    rule(&[CAUSES], r"^(?:\[[^\]]*\] )*(?:[A-Z]\w*::)*[A-Z]\w* \(.*\)$", FRAMES),
    rule(&[CAUSES], EMPTY, CAUSES),
    rule(&[HEADER, FRAMES, GAP], EMPTY, GAP),
    // error_highlight shows the line of code, which is not indented at a file's top, and marks a place in it.
    rule(&[GAP], r"^\s+\S|^[a-z@$]", CODE),
    rule(&[CODE], r"^\s|^$", CODE),
    rule(&[HEADER, CODE], r"^Did you mean\?", CODE),
    rule(&[HEADER], r"^\s", HEADER),
    rule(&[FRAMES], r"^\s", FRAMES),
];
