//! Patterns of paths: `*`, `**`, `?`, `[…]` and `{a,b}`, in folders and in names.
//!
//! A pattern is absolute. `*`, `?` and `[…]` never match a `/`; `**` as a whole component matches any number
//! of folders. So that discovery looks only where a file could be, a pattern is also known by its components:
//! a folder is walked into only if its path matches the pattern's beginning.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet};

/// The longest pattern, in bytes. A path of the system has at most 4,096.
const MAX_LEN: usize = 1024;
/// The most folders in one, its file counted.
const MAX_DEPTH: usize = 64;

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// A pattern of paths.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: GlobSet,
    /// The folders before the first component that holds a wildcard.
    base: PathBuf,
    /// For each depth below the root, what a folder of that depth must match to be walked into.
    folders: Vec<GlobSet>,
    /// Below this depth everything is walked: the pattern holds a `**`, or a brace that spans a `/`.
    any_below: Option<usize>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Reads a pattern of at most 1 KiB and 64 folders: every folder's beginning of it is compiled, and held in
    /// memory, by itself.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_LEN {
            let len = text.len();
            return Err(PatternError(format!("the pattern has {len} bytes; at most {MAX_LEN} are allowed")));
        }
        if !text.starts_with('/') {
            return Err(PatternError(format!("{text:?} is not an absolute path; begin it with a /")));
        }
        if Path::new(text).components().any(|part| part == Component::ParentDir) {
            return Err(PatternError(format!("{text:?} holds a ..; write the folder itself")));
        }
        if text.ends_with('/') {
            return Err(PatternError(format!(
                "{text:?} names a folder; add the files' names, such as {text}*.log"
            )));
        }
        let whole = compile(text)?;
        let components = split_components(text);
        let wild = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        if components.len() > MAX_DEPTH {
            let depth = components.len();
            return Err(PatternError(format!(
                "the pattern is {depth} folders deep; at most {MAX_DEPTH} are allowed"
            )));
        }
        // The last component is the file's name, never a folder to walk into.
        let above = &components[..components.len() - 1];
        let fixed = above.iter().take_while(|part| !wild(part)).count();
        let base = above[..fixed].iter().fold(PathBuf::from("/"), |path, part| path.join(part));
        let mut folders = Vec::new();
        let mut any_below = None;
        let mut prefix = String::new();
        for (depth, part) in components.iter().enumerate() {
            let spans = part.contains('/') || part.contains("**");
            if spans {
                any_below = Some(depth);
                break;
            }
            if depth < above.len() {
                prefix.push('/');
                prefix.push_str(part);
                folders.push(compile(&prefix)?);
            }
        }
        Ok(Self { text: text.to_owned(), whole, base, folders, any_below })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a file's path matches.
    pub fn matches(&self, path: &Path) -> bool {
        self.whole.is_match(path)
    }

    /// The deepest folder that holds everything the pattern can match.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether a matching file may lie in this folder or below it; for folders at or below the base.
    pub fn may_match_below(&self, folder: &Path) -> bool {
        let depth = folder.components().filter(|part| matches!(part, Component::Normal(_))).count();
        if let Some(any_below) = self.any_below
            && depth > any_below
        {
            return any_below == 0
                || self.folders.last().is_none_or(|matcher| {
                    folder.ancestors().any(|above| depth_of(above) == any_below && matcher.is_match(above))
                });
        }
        match depth {
            0 => true,
            depth => self.folders.get(depth - 1).is_some_and(|matcher| matcher.is_match(folder)),
        }
    }

    /// Whether a file could match both, as far as the texts before and after the wildcards of each folder tell. True where
    /// they do not.
    pub fn may_meet(&self, other: &Self) -> bool {
        let (here, there) = (split_components(&self.text), split_components(&other.text));
        let spans = |part: &&str| part.contains('/') || part.contains("**");
        let known = |parts: &[&str]| parts.iter().position(spans).unwrap_or(parts.len());
        let (of_here, of_there) = (known(&here), known(&there));
        let fixed_depth = of_here == here.len() && of_there == there.len();
        (!fixed_depth || here.len() == there.len())
            && here[..of_here].iter().zip(&there[..of_there]).all(|(one, other)| parts_may_meet(one, other))
    }
}

/// Whether a name could match both of these components: what they begin and end with agrees as far as both say it.
fn parts_may_meet(one: &str, other: &str) -> bool {
    let ((begin, end), (other_begin, other_end)) = (fixed(one), fixed(other));
    (begin.starts_with(other_begin) || other_begin.starts_with(begin))
        && (end.ends_with(other_end) || other_end.ends_with(end))
}

/// What a component begins with, before its first wildcard, and what it ends with, after its last one.
fn fixed(part: &str) -> (&str, &str) {
    const WILD: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];
    let begin = part.find(WILD).map_or(part, |at| &part[..at]);
    let end = part.rfind(WILD).map_or(part, |at| &part[at + 1..]);
    (begin, end)
}

fn depth_of(path: &Path) -> usize {
    path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count()
}

/// As a set of one: only a set tells by an error that a pattern is too large to be compiled.
fn compile(text: &str) -> Result<GlobSet, PatternError> {
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    glob.and_then(|glob| GlobSet::builder().add(glob).build())
        .map_err(|error| PatternError(format!("{text:?} is not a pattern: {}", error.kind())))
}

/// Splits at every `/` that is not inside `{…}`.
fn split_components(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut braces) = (1, 0_u32);
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'{' => braces += 1,
            b'}' => braces = braces.saturating_sub(1),
            b'/' if braces == 0 => {
                if at > start {
                    parts.push(&text[start..at]);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn wildcards_match_in_folders_and_names_but_not_across_them() {
        for (text, path, matches) in [
            ("/var/log/pods/*/*/*.log", "/var/log/pods/a_b_c/app/0.log", true),
            ("/var/log/pods/*/*/*.log", "/var/log/pods/a/0.log", false),
            ("/var/log/pods/pay_*/*/*.log", "/var/log/pods/pay_x/app/0.log", true),
            ("/var/log/**/*.log", "/var/log/a/b/c.log", true),
            ("/var/log/**/*.log", "/var/log/c.log", true),
            ("/var/log/a?.log", "/var/log/ab.log", true),
            ("/var/log/[a-c].log", "/var/log/b.log", true),
            ("/var/log/{a,b}/x.{log,txt}", "/var/log/b/x.txt", true),
            ("/var/log/{a,b}/x.{log,txt}", "/var/log/c/x.txt", false),
            ("/var/log/*.log", "/var/log/x.log.1", false),
        ] {
            assert_eq!(pattern(text).matches(Path::new(path)), matches, "{text} on {path}");
        }
    }

    #[test]
    fn only_folders_that_can_hold_a_match_are_walked() {
        let pods = pattern("/var/log/pods/pay_*/*/*.log");
        assert_eq!(pods.base(), Path::new("/var/log/pods"));
        for (folder, walked) in [
            ("/var/log/pods", true),
            ("/var/log/pods/pay_x", true),
            ("/var/log/pods/other", false),
            ("/var/log/pods/pay_x/app", true),
            ("/var/log/pods/pay_x/app/deeper", false),
        ] {
            assert_eq!(pods.may_match_below(Path::new(folder)), walked, "{folder}");
        }
        let deep = pattern("/srv/*/logs/**/*.log");
        assert_eq!(deep.base(), Path::new("/srv"));
        for (folder, walked) in [
            ("/srv", true),
            ("/srv/a", true),
            ("/srv/a/logs", true),
            ("/srv/a/other", false),
            ("/srv/a/other/x", false),
            ("/srv/a/logs/x/y/z", true),
        ] {
            assert_eq!(deep.may_match_below(Path::new(folder)), walked, "{folder}");
        }
    }

    #[test]
    fn patterns_meet_unless_the_texts_in_them_or_their_depth_differ() {
        for (one, other, meet) in [
            ("/var/log/pods/*/*/*.log", "/var/log/pods/*/*/*.log", true),
            ("/var/log/pods/shop_*/*/*.log", "/var/log/pods/{kube,kube-*}_*/*/*.log", true),
            ("/var/log/pods/shop_*/*/*.log", "/var/log/pods/shop_web*/*/*.log", true),
            ("/var/log/pods/shop_*/*/*.log", "/var/log/pods/kube-*/*/*.log", false),
            ("/var/log/pods/*/*/*.log", "/var/log/pods/*/*/*.txt", false),
            ("/var/log/*.log", "/var/log/*/*.log", false),
            ("/var/log/**/*.log", "/var/log/*/*.log", true),
            ("/var/log/a/**/*.log", "/var/log/b/*.log", false),
            ("/var/{log/a,lib/b}/*.log", "/var/log/a/x.log", true),
            ("/var/log/x.log", "/srv/x.log", false),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!((one.may_meet(&other), other.may_meet(&one)), (meet, meet), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_brace_may_span_folders() {
        let braces = pattern("/var/{log/a,lib/b}/*.log");
        assert_eq!(braces.base(), Path::new("/var"));
        assert!(braces.matches(Path::new("/var/lib/b/x.log")));
        assert!(braces.may_match_below(Path::new("/var/lib")));
        assert!(braces.may_match_below(Path::new("/var/lib/b")));
    }

    #[test]
    fn a_pattern_of_any_form_is_compiled_or_refused_but_never_too_large() {
        for part in
            ["a*/", "**/", "?", "[^a]", "[a-z]", "{a,b}", "{a,{b,", "{", "[", "\\", "ä*", "{a/b,c}/", "/"]
        {
            for count in [1, 30, 62, 63, 64, 200, 250, 300, 1000, 100_000] {
                let text = format!("/{}x", part.repeat(count));
                if let Ok(pattern) = Pattern::new(&text) {
                    assert!(text.len() <= MAX_LEN && pattern.folders.len() <= MAX_DEPTH, "{part}");
                    pattern.matches(Path::new("/a/b/c"));
                    pattern.may_match_below(Path::new("/a/b"));
                }
            }
        }
        let refused = |text: String| Pattern::new(&text).unwrap_err().to_string();
        assert!(refused(format!("/{}", "x".repeat(2000))).contains("at most 1024"));
        assert!(refused(format!("/{}x", "a/".repeat(100))).contains("at most 64"));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for text in ["var/log/*.log", "/var/../log/*.log", "/var/log/", "/var/log/[a.log", "/var/{a"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }
}
