//! What the stack traces of languages look like: tables of states and lines.
//!
//! Three things hold for all of them. A trace begins with a line that the language's runtime puts before one, wherever
//! a logger may have put it in its line. Once it has begun, an indented line belongs to it. And a line that can only
//! be out of the middle of a trace begins one as well, so that what follows a limit, a rotation or a pause is not
//! torn into lines.

mod dotnet;
mod go;
mod java;
mod node;
mod python;
mod ruby;

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// Java, and others on its virtual machine.
    Java,
    /// Python.
    Python,
    /// Go.
    Go,
    /// Ruby.
    Ruby,
    /// .NET.
    Dotnet,
    /// Node.js.
    Node,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 6] =
        [Preset::Java, Preset::Python, Preset::Go, Preset::Ruby, Preset::Dotnet, Preset::Node];

    pub(super) fn rules(self) -> &'static [Rule] {
        match self {
            Preset::Java => java::RULES,
            Preset::Python => python::RULES,
            Preset::Go => go::RULES,
            Preset::Ruby => ruby::RULES,
            Preset::Dotnet => dotnet::RULES,
            Preset::Node => node::RULES,
        }
    }
}

/// The state in which no trace is open.
pub(super) const NONE: &str = "";

/// In one of some states, a line of this form leads to another. Of a state's rules the first that fits counts.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) from: &'static [&'static str],
    pub(super) line: &'static str,
    pub(super) to: &'static str,
}

const fn rule(from: &'static [&'static str], line: &'static str, to: &'static str) -> Rule {
    Rule { from, line, to }
}
