//! Go: panics, fatal errors and the goroutines behind them.

use super::{NONE, Rule, rule};

const HEADER: &str = "what happened";
const FRAMES: &str = "goroutines";

pub(super) const RULES: &[Rule] = &[
    rule(
        &[NONE, HEADER],
        r"^(?:panic: |fatal error: |runtime: goroutine stack exceeds |unexpected fault address |\[signal SIG|SIG[A-Z]+: )",
        HEADER,
    ),
    rule(&[NONE], r"\bhttp: panic serving ", HEADER),
    rule(&[NONE, HEADER, FRAMES], r"^goroutine \d+ .*\[.*\]:$|^runtime stack:$", FRAMES),
    rule(&[NONE], r"^\t\S+\.(?:go|s):\d", FRAMES),
    rule(&[HEADER], r"^(?:runtime: |(?:PC|sp)=0x|\s|$)", HEADER),
    // A function with its arguments, and the panic's own.
    rule(&[FRAMES], r"^\S+\.\S*\(.*\)$|^panic\(.*\)$|^created by \S", FRAMES),
    rule(&[FRAMES], r"^\s|^$|^\.\.\..*frames elided\.\.\.$|^\[originating from goroutine ", FRAMES),
    // Registers, as a signal leaves them.
    rule(&[FRAMES], r"^[a-z][a-z0-9]{1,7}\s+0x[0-9a-f]+$", FRAMES),
    rule(&[FRAMES], r"^exit status \d+$", FRAMES),
];
