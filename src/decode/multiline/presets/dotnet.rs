//! .NET: `Exception.ToString`, and what its console logger makes of it.

use super::{NONE, Rule, rule};

const HEADER: &str = "the exception, and its message";
const FRAMES: &str = "frames";
const CONSOLE: &str = "a message of the console logger";

pub(super) const RULES: &[Rule] = &[
    // The simple console formatter: everything behind the category is indented by six.
    rule(&[NONE], r"^(?:trce|dbug|info|warn|fail|crit): .*\[-?\d+\]$", CONSOLE),
    rule(&[CONSOLE], r"^\s{6}", CONSOLE),
    rule(&[NONE], r"^Unhandled [Ee]xception[.:]", HEADER),
    rule(
        &[NONE],
        r"(?:^|[^\w.])(?:[A-Za-z_]\w*\.)+[\w`+]*(?:Exception|Error)(?: \((?:0x)?[0-9A-Fa-f]+\))?(?:: |:?$)",
        HEADER,
    ),
    rule(&[NONE, HEADER, FRAMES], r"^\s*---> ", HEADER),
    rule(&[NONE, HEADER, FRAMES], r"^\s+at \S", FRAMES),
    rule(&[NONE, HEADER, FRAMES], r"^\s*--- End of ", FRAMES),
    // Further lines of messages: files that are missing, what Npgsql and SqlClient add.
    rule(&[HEADER], r"^\s|^$|^(?:File name|DETAIL|HINT|POSITION|WHERE): ", HEADER),
    rule(&[FRAMES], r"^\s|^$|^(?:ClientConnectionId|Error Number):", FRAMES),
];
