//! Finding the files that the routes want.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::{FileId, Stamp};
use super::pattern::Pattern;
use crate::source::Verdict;

/// The files of one route.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The files it takes.
    pub files: Vec<Pattern>,
    /// The files it leaves to later routes.
    pub exclude: Vec<Pattern>,
    /// Of what the patterns take, it takes only these.
    pub only: Option<Only>,
    /// What it takes may fall under later routes, too.
    pub go_on: bool,
}

/// A condition on paths, said by somebody else.
#[derive(Clone)]
pub struct Only {
    by_path: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    /// On what else it depends.
    by_more: Option<ByMore>,
}

#[derive(Clone)]
struct ByMore {
    condition: Arc<dyn Fn(&Path) -> Verdict + Send + Sync>,
    /// What it asks for, in words of its own.
    rule: Arc<str>,
}

impl Only {
    /// Those of which this is true, which depends on the path alone.
    pub fn those(condition: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        Self { by_path: Arc::new(condition), by_more: None }
    }

    /// The same, of which this is so, too, which depends on what may become known later. Where `rule` is the same, so is what
    /// is asked for.
    #[must_use]
    pub fn once_known(
        mut self,
        rule: &str,
        condition: impl Fn(&Path) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.by_more = Some(ByMore { condition: Arc::new(condition), rule: rule.into() });
        self
    }
}

impl fmt::Debug for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Only(…)")
    }
}

impl Selection {
    /// Whether it takes a file of this path.
    pub fn verdict(&self, path: &Path) -> Verdict {
        match self.only.as_ref().and_then(|only| only.by_more.as_ref()) {
            _ if !self.may_take(path) => Verdict::Leaves,
            None => Verdict::Takes,
            Some(by_more) => (by_more.condition)(path),
        }
    }

    /// Whether it takes a file of this path, as far as paths tell.
    pub fn may_take(&self, path: &Path) -> bool {
        self.files.iter().any(|pattern| pattern.matches(path))
            && !self.exclude.iter().any(|pattern| pattern.matches(path))
            && self.only.as_ref().is_none_or(|only| (only.by_path)(path))
    }

    /// What it asks for beside the path, in words of its own; none where the path decides.
    pub fn rule(&self) -> Option<&str> {
        self.only.as_ref()?.by_more.as_ref().map(|by_more| &*by_more.rule)
    }

    /// Whether what it takes depends on more than paths.
    pub fn is_by_more(&self) -> bool {
        self.rule().is_some()
    }
}

/// The first of these that takes the path, or may take it.
pub fn route_of(routes: &[Selection], path: &Path) -> Option<usize> {
    routes.iter().position(|route| route.verdict(path) != Verdict::Leaves)
}

/// All of these that a path falls under, or may fall under: the first and, as long as they look further, those after it.
pub fn routes_of(routes: &[Selection], path: &Path) -> Vec<usize> {
    let mut all = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let verdict = route.verdict(path);
        if verdict != Verdict::Leaves {
            all.push(index);
        }
        if verdict == Verdict::Takes && !route.go_on {
            break;
        }
    }
    all
}

/// Whether it is known which of these a path falls under.
pub fn is_decided(routes: &[Selection], path: &Path) -> bool {
    for route in routes {
        match route.verdict(path) {
            Verdict::Unknown => return false,
            Verdict::Takes if !route.go_on => return true,
            Verdict::Takes | Verdict::Leaves => {}
        }
    }
    true
}

/// A file that a route wants.
#[derive(Clone, Debug)]
pub struct Found {
    /// By its pattern's path; links in it are not resolved.
    pub path: PathBuf,
    /// The index of the first route that takes it.
    pub route: usize,
    /// Which file it is.
    pub id: FileId,
    /// Its length, and when it was last written.
    pub stamp: Stamp,
}

/// What a look at the folders gave.
#[derive(Debug, Default)]
pub struct Walk {
    /// By route, then by path.
    pub found: Vec<Found>,
    /// The folders that were looked into, links resolved: changes happen there.
    pub folders: HashSet<PathBuf>,
    /// In each of them by its name in the patterns, the files that no route wants.
    pub others: HashMap<PathBuf, Vec<OsString>>,
    /// What could not be looked into, and why. A folder that is not there is no error.
    pub refused: Vec<(PathBuf, String)>,
    /// Something was renamed or removed while it was looked at.
    pub unsure: bool,
}

/// Where links may lead.
#[derive(Clone, Debug)]
pub struct Roots(Vec<PathBuf>);

impl Roots {
    /// The given folders and those of the patterns, links in their own names resolved.
    pub fn new<'a>(allowed: &[PathBuf], patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let all = allowed.iter().cloned().chain(patterns.map(|pattern| pattern.base().to_owned()));
        let mut roots: Vec<PathBuf> =
            all.flat_map(|root| [fs::canonicalize(&root).ok(), Some(root)]).flatten().collect();
        roots.sort();
        roots.dedup();
        Self(roots)
    }

    /// Whether a path without links lies in one of them.
    pub fn allow(&self, real: &Path) -> bool {
        self.0.iter().any(|root| real.starts_with(root))
    }
}

/// Looks for all files of the routes.
pub fn walk(routes: &[Selection], roots: &Roots) -> Walk {
    let mut walker = Walker { routes, roots, walk: Walk::default(), seen: HashSet::new() };
    let mut bases: Vec<&Path> = routes.iter().flat_map(|route| &route.files).map(Pattern::base).collect();
    bases.sort_unstable();
    bases.dedup();
    for base in bases {
        walker.folder(base);
        // Where it is not there yet, its coming is seen in the folder above.
        if let Some(above) = base.ancestors().find(|folder| folder.is_dir()) {
            walker.walk.folders.extend(fs::canonicalize(above));
        }
    }
    let mut walk = walker.walk;
    walk.found.sort_by(|a, b| (a.route, &a.path).cmp(&(b.route, &b.path)));
    walk
}

struct Walker<'a> {
    routes: &'a [Selection],
    roots: &'a Roots,
    walk: Walk,
    seen: HashSet<PathBuf>,
}

impl Walker<'_> {
    fn folder(&mut self, folder: &Path) {
        // By its name, since one folder may be reached by two names of which only one matches a pattern.
        if !self.seen.insert(folder.to_owned()) {
            return;
        }
        let real = match fs::canonicalize(folder) {
            Ok(real) => real,
            Err(error) => return self.refuse(folder, &error),
        };
        if !self.roots.allow(&real) {
            return self.refuse_link(folder, &real);
        }
        // A link that leads back above itself.
        if folder != real && folder.starts_with(&real) {
            return;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(folder, &error),
        };
        self.walk.folders.insert(real);
        let mut others = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                self.walk.unsure = true;
                continue;
            };
            let wanted_below = || {
                self.routes.iter().flat_map(|route| &route.files).any(|pattern| {
                    path.starts_with(pattern.base()) && pattern.may_match_below(&path)
                        || pattern.base().starts_with(&path)
                })
            };
            if kind.is_dir() {
                if wanted_below() {
                    self.folder(&path);
                }
                continue;
            }
            let route = route_of(self.routes, &path);
            if kind.is_file() {
                match route.map(|route| (route, entry.metadata())) {
                    Some((route, Ok(metadata))) => self.file(path, route, &metadata),
                    // It was renamed since, or removed.
                    Some((_, Err(_))) => self.walk.unsure = true,
                    None => others.push(entry.file_name()),
                }
            } else if kind.is_symlink() && (route.is_some() || wanted_below()) {
                self.link(path, route);
            }
        }
        self.walk.others.insert(folder.to_owned(), others);
    }

    fn link(&mut self, path: PathBuf, route: Option<usize>) {
        // A link without a target is what a removed container leaves for a moment.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if metadata.is_dir() {
            return self.folder(&path);
        }
        let (Some(route), true, Ok(real)) = (route, metadata.is_file(), fs::canonicalize(&path)) else {
            return;
        };
        if !self.roots.allow(&real) {
            return self.refuse_link(&path, &real);
        }
        // What happens to the file is seen in the folder where it lies.
        if let Some(parent) = real.parent() {
            self.walk.folders.insert(parent.to_owned());
        }
        self.file(path, route, &metadata);
    }

    fn file(&mut self, path: PathBuf, route: usize, metadata: &Metadata) {
        self.walk.found.push(Found { path, route, id: FileId::from(metadata), stamp: Stamp::from(metadata) });
    }

    fn refuse(&mut self, path: &Path, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::NotFound {
            self.walk.refused.push((path.to_owned(), error.to_string()));
        }
    }

    fn refuse_link(&mut self, path: &Path, real: &Path) {
        let reason = format!("it leads to {}, outside of tail.allowed_roots", real.display());
        self.walk.refused.push((path.to_owned(), reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn selection(root: &Path, files: &[&str], exclude: &[&str]) -> Selection {
        let patterns = |texts: &[&str]| {
            texts.iter().map(|text| Pattern::new(&format!("{}{text}", root.display())).unwrap()).collect()
        };
        Selection { files: patterns(files), exclude: patterns(exclude), only: None, go_on: false }
    }

    fn names(root: &Path, routes: &[Selection]) -> Vec<(String, usize)> {
        let roots = Roots::new(&[], routes.iter().flat_map(|route| &route.files));
        walk(routes, &roots)
            .found
            .into_iter()
            .map(|found| (found.path.strip_prefix(root).unwrap().display().to_string(), found.route))
            .collect()
    }

    #[test]
    fn the_first_route_that_takes_a_file_has_it_and_exclusions_leave_it_to_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let root = &fs::canonicalize(folder.path()).unwrap();
        for path in
            ["pods/a_x_1/app/0.log", "pods/b_y_2/app/0.log", "pods/b_y_2/app/0.log.gz", "nginx/access.log"]
        {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "x\n").unwrap();
        }
        let routes = [
            selection(root, &["/pods/*/*/*.log", "/nginx/*"], &["/pods/b_*/**"]),
            selection(root, &["/**/*.log"], &[]),
        ];
        assert_eq!(
            names(root, &routes),
            [
                ("nginx/access.log".into(), 0),
                ("pods/a_x_1/app/0.log".into(), 0),
                ("pods/b_y_2/app/0.log".into(), 1)
            ]
        );
    }

    #[test]
    fn a_route_that_looks_further_leaves_its_files_to_later_ones_too() {
        let root = Path::new("/logs");
        let further = |files| Selection { go_on: true, ..selection(root, files, &[]) };
        let routes = [
            further(&["/a*.log"]),
            selection(root, &["/b.log"], &[]),
            further(&["/*.log"]),
            selection(root, &["/*.log"], &["/a2.log"]),
            selection(root, &["/*.log"], &[]),
        ];
        for (name, expected) in [
            ("a1.log", vec![0, 2, 3]),
            ("a2.log", vec![0, 2, 4]),
            ("b.log", vec![1]),
            ("c.log", vec![2, 3]),
            ("x.txt", vec![]),
        ] {
            let path = root.join(name);
            assert_eq!(routes_of(&routes, &path), expected, "{name}");
            assert_eq!(route_of(&routes, &path), expected.first().copied());
        }
    }

    #[test]
    fn what_is_not_known_yet_is_no_decision_and_hides_no_file() {
        let root = Path::new("/logs");
        let only = |verdict: Verdict| Some(Only::those(|_| true).once_known("", move |_| verdict));
        let path = root.join("a.log");
        let decided = |verdicts: &[(Verdict, bool)]| {
            let routes: Vec<Selection> = verdicts
                .iter()
                .map(|(verdict, go_on)| Selection {
                    only: only(*verdict),
                    go_on: *go_on,
                    ..selection(root, &["/*.log"], &[])
                })
                .collect();
            (route_of(&routes, &path), is_decided(&routes, &path))
        };
        use Verdict::{Leaves, Takes, Unknown};
        assert_eq!(decided(&[(Leaves, false), (Takes, false), (Unknown, false)]), (Some(1), true));
        assert_eq!(decided(&[(Unknown, false), (Takes, false)]), (Some(0), false));
        assert_eq!(decided(&[(Takes, true), (Unknown, false)]), (Some(0), false));
        assert_eq!(decided(&[(Leaves, false), (Unknown, false)]), (Some(1), false));
        assert_eq!(decided(&[(Leaves, false)]), (None, true));
        let elsewhere = [Selection { only: only(Unknown), ..selection(root, &["/b.log"], &[]) }];
        assert!(is_decided(&elsewhere, &path), "its path is none of these");
    }

    #[test]
    fn the_coming_of_a_folder_is_seen_in_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let root = &fs::canonicalize(folder.path()).unwrap();
        let routes = [selection(root, &["/pods/shop/*/*.log"], &[])];
        let roots = Roots::new(&[], routes.iter().flat_map(|route| &route.files));
        assert_eq!(walk(&routes, &roots).folders, [root.clone()].into());
        fs::create_dir_all(root.join("pods/shop")).unwrap();
        assert_eq!(walk(&routes, &roots).folders, [root.join("pods/shop")].into());
    }

    #[test]
    fn links_are_followed_within_the_roots_only() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = &fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("logs")).unwrap();
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(root.join("real/a.log"), "").unwrap();
        fs::write(outside.path().join("secret.log"), "").unwrap();
        symlink(root.join("real/a.log"), root.join("logs/a.log")).unwrap();
        symlink(outside.path().join("secret.log"), root.join("logs/secret.log")).unwrap();
        symlink(root.join("logs"), root.join("logs/loop")).unwrap();
        symlink("/nowhere", root.join("logs/dangling.log")).unwrap();
        let routes = [selection(root, &["/logs/**/*.log"], &[])];
        let roots = |allowed: &[PathBuf]| Roots::new(allowed, routes.iter().flat_map(|route| &route.files));
        let strict = walk(&routes, &roots(&[]));
        assert!(strict.found.is_empty());
        assert_eq!(strict.refused.len(), 2);
        let open = walk(&routes, &roots(&[root.join("real")]));
        assert_eq!(open.found.len(), 1);
        assert!(open.folders.contains(&root.join("real")), "changes are seen where the file lies");
    }
}
