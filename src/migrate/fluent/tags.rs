//! Tags, and the patterns that take them.

use crate::process::Pattern;

/// The tags of an input's records, for each of its paths: texts in which `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tags(Vec<String>);

/// Which of an input's records reach a filter or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    All,
    Some,
    None,
}

impl Tags {
    /// A `*` in a tag stands for the file's path, its slashes made dots.
    pub(super) fn new(tag: &str, paths: &[String]) -> Self {
        let of = |path: &String| {
            let path = path.trim_start_matches('/').replace('/', ".");
            let path: String = path.chars().map(|c| if "?[]{}".contains(c) { '*' } else { c }).collect();
            tag.replacen('*', &path, 1)
        };
        Self(paths.iter().map(of).collect())
    }

    /// By a regular expression nothing can be said of tags that are not known.
    pub(super) fn matched(&self, regex: &str) -> Takes {
        match Pattern::new(regex) {
            Ok(pattern) if !self.0.iter().any(|tag| tag.contains('*')) => {
                let matched = self.0.iter().map(|tag| match pattern.is_match(tag.as_bytes()) {
                    true => Takes::All,
                    false => Takes::None,
                });
                together(matched)
            }
            Ok(_) if [".*", "^.*$", ".+", "^.+$"].contains(&regex) => Takes::All,
            _ => Takes::Some,
        }
    }
}

/// What holds for several tags.
fn together(each: impl Iterator<Item = Takes>) -> Takes {
    each.reduce(|all, one| if all == one { all } else { Takes::Some }).unwrap_or(Takes::None)
}

/// Which of these tags a `Match` takes.
pub(super) fn takes(pattern: &str, tags: &Tags) -> Takes {
    let pattern: Vec<char> = pattern.chars().collect();
    together(tags.0.iter().map(|tags| {
        let tags: Vec<char> = tags.chars().collect();
        if walk(&pattern, &tags, false) {
            Takes::All
        } else if walk(&pattern, &tags, true) {
            Takes::Some
        } else {
            Takes::None
        }
    }))
}

/// Whether the pattern takes the tags: all of them, or, where `any`, at least one.
fn walk(pattern: &[char], tags: &[char], any: bool) -> bool {
    // taken[j]: the pattern so far takes the first j characters of the tags.
    let step = |taken: &[bool], p: char| {
        let mut next = vec![false; tags.len() + 1];
        for j in 0..=tags.len() {
            next[j] = match (p, j.checked_sub(1).map(|before| tags[before])) {
                ('*', None) => taken[0],
                ('*', Some(_)) => taken[j] || next[j - 1],
                // What a `*` of the tags stands for may begin with this character, and go on or end there.
                (_, Some('*')) if any => taken[j] || taken[j - 1] || next[j - 1],
                (p, Some(t)) => t != '*' && p == t && taken[j - 1],
                (_, None) => false,
            };
        }
        next
    };
    let mut first = vec![false; tags.len() + 1];
    first[0] = true;
    for j in 0..tags.len() {
        // A `*` of the tags may stand for nothing.
        first[j + 1] = any && first[j] && tags[j] == '*';
    }
    let mut taken = first;
    for p in pattern {
        taken = step(&taken, *p);
        if any {
            for j in 0..tags.len() {
                taken[j + 1] |= taken[j] && tags[j] == '*';
            }
        }
    }
    taken[tags.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_takes_all_some_or_none_of_an_inputs_tags() {
        let of = |tag: &str, path: &str| Tags::new(tag, &[path.to_owned()]);
        let containers = of("kube.*", "/var/log/containers/*.log");
        assert_eq!(containers.0, ["kube.var.log.containers.*.log"]);
        for (pattern, expected) in [
            ("*", Takes::All),
            ("kube.*", Takes::All),
            ("kube.var.*", Takes::All),
            ("*.log", Takes::All),
            ("kube.var.log.containers.*_shop_*", Takes::Some),
            ("*_shop_*", Takes::Some),
            ("kube.var.log.containers.web.log", Takes::Some),
            ("host.*", Takes::None),
            ("kube", Takes::None),
            ("kube.var.log.pods.*", Takes::None),
        ] {
            assert_eq!(takes(pattern, &containers), expected, "{pattern}");
        }
        let nginx = of("nginx", "/var/log/nginx/access.log");
        for (pattern, expected) in
            [("nginx", Takes::All), ("ngin*", Takes::All), ("*", Takes::All), ("nginx.*", Takes::None)]
        {
            assert_eq!(takes(pattern, &nginx), expected, "{pattern}");
        }
        assert_eq!(nginx.matched("^ng"), Takes::All);
        assert_eq!(nginx.matched("^x"), Takes::None);
        assert_eq!(containers.matched("^kube"), Takes::Some);
        assert_eq!(containers.matched(".*"), Takes::All);
    }
}
