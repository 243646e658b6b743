//! Volumes as kubelet makes them: whose they are, who may do what, and how their files are exchanged while a pod runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// What a volume of files is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A ConfigMap or a Secret, by its name.
    Kept(String),
    /// A token of the pod's account for an audience, in a file of this name.
    Token { audience: String, file: String },
}

/// A volume of files that kubelet keeps up to date.
#[derive(Debug)]
pub(crate) struct Projected {
    pub(crate) sources: Vec<Source>,
    pub(crate) folder: PathBuf,
    /// Of its files.
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) group: Option<u32>,
    pub(crate) generation: u32,
}

impl Projected {
    /// Its files are these from now on. They lie in a folder beside, to which a link is turned, so that they change all at
    /// once; the folder from before goes.
    pub(crate) fn put(&mut self, files: &[(String, String)]) {
        self.generation += 1;
        let (folder, version) = (&self.folder, format!("..{}", self.generation));
        let before = fs::read_link(folder.join("..data"));
        fs::create_dir(folder.join(&version)).expect("a folder");
        fs::set_permissions(folder.join(&version), Permissions::from_mode(0o755)).expect("it is ours");
        for (name, content) in files {
            let path = folder.join(&version).join(name);
            fs::write(&path, content).expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(self.mode)).expect("it is ours");
            chown(&path, Some(self.owner), None).expect("we are root");
            if !folder.join(name).is_symlink() {
                symlink(format!("..data/{name}"), folder.join(name)).expect("a link");
            }
        }
        if let Some(group) = self.group {
            give_to(group, folder, true);
        }
        symlink(&version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("turned");
        if let Ok(before) = before {
            fs::remove_dir_all(folder.join(before)).expect("it is ours");
        }
    }
}

/// What `fsGroup` does to a volume: everything in it becomes the group's to read, and to write unless the volume is `read_only`.
pub(crate) fn give_to(group: u32, path: &Path, read_only: bool) {
    lchown(path, None, Some(group)).expect("we are root");
    if path.is_symlink() {
        return;
    }
    let metadata = fs::metadata(path).expect("it is there");
    let more = if read_only { 0o440 } else { 0o660 } | if metadata.is_dir() { 0o2110 } else { 0 };
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() | more)).expect("we are root");
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            give_to(group, &entry.expect("an entry").path(), read_only);
        }
    }
}

/// Whether `fsGroupChangePolicy: OnRootMismatch` finds nothing to do.
pub(crate) fn belongs_to(group: u32, path: &Path) -> bool {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.gid() == group && metadata.mode() & 0o2770 == 0o2770
}

/// A folder with just this mode.
pub(crate) fn folder(path: &Path, mode: u32) {
    crate::support::container::folder(path);
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}
