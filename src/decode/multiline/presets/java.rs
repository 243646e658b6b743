//! Java, Kotlin, Scala: `Throwable.printStackTrace`, and what Logback, Log4j and Reactor make of it.

use super::{NONE, Rule, rule};

const HEADER: &str = "the exception, and its message";
const FRAMES: &str = "frames";

pub(super) const RULES: &[Rule] = &[
    rule(&[NONE], r#"^Exception in thread ""#, HEADER),
    rule(
        &[NONE],
        r"(?:^|[^\w.$/])(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable|Failure)(?:: |:?$)",
        HEADER,
    ),
    rule(&[NONE, HEADER, FRAMES], r"^\s*(?:Caused by|Suppressed|Wrapped by): ", HEADER),
    rule(&[NONE, HEADER, FRAMES], r"^\s+at \S", FRAMES),
    rule(&[NONE, FRAMES], r"^\s+\.\.\. \d+ (?:more|common frames omitted)", FRAMES),
    rule(&[HEADER, FRAMES], r"^\s*\[CIRCULAR REFERENCE", FRAMES),
    // Reactor's account of where a chain was put together.
    rule(
        &[HEADER, FRAMES],
        r"^(?:Error has been observed at the following site|Assembly trace from producer|Original Stack Trace:)",
        HEADER,
    ),
    // Further lines of a message, as databases' drivers have them.
    rule(&[HEADER], r"^\s|^$", HEADER),
    rule(&[FRAMES], r"^\s+\S", FRAMES),
];
