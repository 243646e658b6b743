//! `multiline` of a route: presets or patterns.

use super::Validator;
use crate::config::diagnostics::Path;
use crate::config::raw;
use crate::decode::{LinePatterns, Multiline, Preset};

impl Validator<'_> {
    pub(super) fn multiline(&mut self, path: &Path, typed: &raw::Multiline) -> Multiline {
        let options = match typed {
            raw::Multiline::Preset(name) => return Multiline::traces(&[(*name).into()]),
            raw::Multiline::Presets(names) => {
                if names.0.is_empty() {
                    self.error(path, "is empty; name a preset, or leave it out");
                }
                let presets: Vec<Preset> = names.iter().map(|(_, name)| (*name).into()).collect();
                return Multiline::traces(&presets);
            }
            raw::Multiline::With(options) => options,
        };
        let presets: Vec<Preset> = options.preset.iter().map(|(_, name)| (*name).into()).collect();
        let pattern = |typed: &Option<raw::Regex>| typed.as_ref().map(|pattern| pattern.0.as_regex().clone());
        let patterns = LinePatterns {
            start: pattern(&options.start),
            continuation: pattern(&options.continuation),
            end: pattern(&options.end),
        };
        let has_patterns = patterns != LinePatterns::default();
        if presets.is_empty() && !has_patterns {
            self.error(
                path,
                "joins nothing; give a `preset`, or `start`, `continue` or `end`, or leave it out",
            );
        } else if !presets.is_empty() && has_patterns {
            self.error(
                path,
                "has a `preset` and patterns; a preset has patterns of its own, so keep one of them",
            );
        }
        let mut multiline =
            if has_patterns { Multiline::by_patterns(patterns) } else { Multiline::traces(&presets) };
        multiline.flush_after = options.flush_after.0;
        multiline.max_size = usize::try_from(options.max_size.0.0).unwrap_or(usize::MAX);
        multiline.max_lines = options.max_lines as usize;
        multiline
    }
}
