//! Node.js: `Error.stack`, `util.inspect` with causes and properties, and what ends the process.

use super::{NONE, Rule, rule};

const PLACE: &str = "the place that threw";
const CODE: &str = "the line of code";
const MARK: &str = "the mark below it";
const HEADER: &str = "the error, and its message";
const FRAMES: &str = "frames";
const END: &str = "behind the trace";

pub(super) const RULES: &[Rule] = &[
    rule(&[NONE], r"^(?:file://|node:|/|[A-Za-z]:\\)\S*:\d+$", PLACE),
    rule(&[PLACE], r"^", CODE),
    rule(&[CODE], r"^\s*\^+\s*$", MARK),
    rule(&[MARK], r"^\s*$", MARK),
    // Anything can be thrown.
    rule(&[MARK], r"^\S", HEADER),
    rule(&[NONE], r"(?:^|[^\w.$])(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?(?:: |:?$)", HEADER),
    // Where class and name differ.
    rule(&[NONE], r"(?:^|\s)\w+ \[\w*Error\]: ", HEADER),
    rule(&[NONE, HEADER, FRAMES, END], r"^\s+at \S", FRAMES),
    // A module that is missing, and who wanted it.
    rule(&[HEADER], r"^Require stack:$|^- \S|^\s|^$", HEADER),
    rule(&[FRAMES], r"^\s*$", END),
    rule(&[HEADER, FRAMES, END], r"^[}\]]", FRAMES),
    rule(&[FRAMES], r"^Caused by: ", HEADER),
    rule(&[FRAMES], r"^From previous event:$|^\s", FRAMES),
    rule(&[HEADER, FRAMES, END], r"^Thrown at:$", FRAMES),
    rule(&[HEADER, FRAMES, END], r"^Node\.js v\d|^\(Use `node --trace", END),
    rule(&[END], r"^\s*$", END),
];
