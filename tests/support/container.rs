//! The real binary as a container runtime or a service manager starts it: in a root of its own that it cannot write,
//! with nothing but the mounts, the user, the capabilities and the environment that it is given.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::network::Network;
use super::process::Process;

const SECCOMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/seccomp.py");

/// What a process gets.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// What follows the binary.
    pub arguments: Vec<String>,
    /// All variables that it has.
    pub environment: Vec<(String, String)>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// Files of its root: what the image brings along and the runtime adds.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// User and group.
    pub user: (u32, u32),
    /// Its other groups.
    pub groups: Vec<u32>,
    /// All that is left of root's capabilities, such as `dac_read_search`.
    pub capabilities: Vec<String>,
    /// Whether the default profile of container runtimes says which system calls it has.
    pub seccomp: bool,
    /// The network that it is in; that of the test if none is said.
    pub network: Option<Network>,
}

/// A folder or file of the test's or of this machine, seen by the process at another place.
#[derive(Clone, Debug)]
pub struct Mount {
    pub from: PathBuf,
    pub at: PathBuf,
    pub read_only: bool,
}

/// Whether this machine lets a process be confined. CI must; elsewhere the test says why it did nothing.
pub fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c"])
        .arg(
            "mount --make-rprivate / && ip link add cable type veth peer name eth0 && \
             python3 \"$0\" setpriv --bounding-set=-all true",
        )
        .arg(SECCOMP)
        .output();
    let why = match tried {
        _ if !root => "only root may make a mount namespace and take capabilities away".to_owned(),
        Ok(tried) if tried.status.success() => return true,
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).into_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    assert!(std::env::var_os("CI").is_none(), "CI must be able to confine a process: {why}");
    eprintln!("skipped: {why}");
    false
}

impl Container {
    /// Starts it. `root` is an empty folder, which becomes its root.
    pub fn start(&self, root: &Path) -> Process {
        for folder in ["usr/bin", "usr/lib", "usr/lib64", "proc", "dev"] {
            make_folder(root, Path::new(folder));
        }
        let mut script = vec![
            "set -eu".to_owned(),
            "mount --make-rprivate /".into(),
            format!("mount --bind {0} {0}", root.display()),
            format!("mount --rbind /proc {}/proc", root.display()),
        ];
        for (from, at) in [
            (env!("CARGO_BIN_EXE_kinetail"), "usr/bin/kinetail"),
            ("/usr/bin/setpriv", "setpriv"),
            ("/dev/null", "dev/null"),
            ("/dev/urandom", "dev/urandom"),
        ] {
            let at = root.join(at);
            if !at.exists() {
                fs::write(&at, "").expect("a place for a file");
            }
            script.push(format!("mount --bind {from} {}", at.display()));
        }
        // Where this machine has its libraries.
        for link in ["lib", "lib64"] {
            let at = root.join(link);
            if let (Ok(target), false) = (fs::read_link(Path::new("/").join(link)), at.is_symlink()) {
                symlink(target, at).expect("a link of the root");
            }
        }
        for library in libraries(&[env!("CARGO_BIN_EXE_kinetail"), "/usr/bin/setpriv"]) {
            let at = library.strip_prefix("/").expect("an absolute path");
            make_folder(root, at.parent().expect("a folder"));
            fs::copy(&library, root.join(at)).expect("a library");
        }
        for (at, content) in &self.files {
            let at = Path::new(at.trim_start_matches('/'));
            make_folder(root, at.parent().expect("a folder"));
            fs::write(root.join(at), content).expect("a file of the root");
            fs::set_permissions(root.join(at), fs::Permissions::from_mode(0o644)).expect("it is ours");
        }
        for Mount { from, at, read_only } in &self.mounts {
            let at = at.strip_prefix("/").expect("an absolute path");
            if from.is_dir() {
                make_folder(root, at);
            } else {
                make_folder(root, at.parent().expect("a folder"));
                fs::write(root.join(at), "").expect("a place for a mount");
            }
            let at = root.join(at);
            script.push(bind(from, &at, *read_only));
        }
        script.push(format!("mount -o remount,bind,ro {}", root.display()));
        let filter = if self.seccomp { format!("python3 {SECCOMP} ") } else { String::new() };
        script.push(format!("exec {filter}chroot {} \"$@\"", root.display()));

        let mut command = match &self.network {
            None => Command::new("unshare"),
            Some(network) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", network.path().display())).arg("unshare");
                command
            }
        };
        command.args(["--mount", "/bin/sh", "-c", &script.join("\n"), "confine", "/setpriv"]);
        let (user, group) = self.user;
        command.args([format!("--reuid={user}"), format!("--regid={group}")]);
        command.arg(match &self.groups[..] {
            [] => "--clear-groups".to_owned(),
            groups => format!("--groups={}", groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        });
        command.arg("--no-new-privs");
        let kept: String = self.capabilities.iter().map(|capability| format!(",+{capability}")).collect();
        command.arg(format!("--bounding-set=-all{kept}"));
        // User 0 has what its bounding set leaves; any other what it is given to keep.
        let ambient = if user == 0 { "" } else { &kept };
        command.args([format!("--inh-caps=-all{ambient}"), format!("--ambient-caps=-all{ambient}")]);
        command.args(["--", "/usr/bin/kinetail"]).args(&self.arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start(command)
    }
}

/// A folder of the root that everybody may look into, whatever the process's umask.
fn make_folder(root: &Path, at: &Path) {
    fs::create_dir_all(root.join(at)).expect("a folder of the root");
    for folder in at.ancestors() {
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
}

/// The libraries that these programs are linked to, and their loader: what the image has of them.
fn libraries(programs: &[&str]) -> Vec<PathBuf> {
    let told =
        std::process::Command::new("ldd").args(programs).output().expect("ldd, which belongs to glibc");
    let told = String::from_utf8(told.stdout).expect("paths are text");
    let mut paths: Vec<PathBuf> = told
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(Into::into)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    assert!(!paths.is_empty(), "{told}");
    paths
}

/// A folder that everybody may look into, whatever the umask, as those of an image.
pub fn folder(path: &Path) {
    if path.is_dir() {
        return;
    }
    folder(path.parent().expect("a folder"));
    fs::create_dir(path).expect("a folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn bind(from: &Path, at: &Path, read_only: bool) -> String {
    let bind = format!("mount --bind {} {}", from.display(), at.display());
    if read_only { format!("{bind}\nmount -o remount,bind,ro {}", at.display()) } else { bind }
}
