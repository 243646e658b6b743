//! A real systemd-journald with folders of its own, which writes, rotates and is killed as a test says.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::process::Command;

use super::container::{self, Mount};
use super::endpoint::Marker;
use super::process::{Process, until};

const PROGRAM: &str = "/lib/systemd/systemd-journald";
const JOURNALCTL: &str = "/usr/bin/journalctl";

/// Stands for systemd-journal, the group that may read the journal.
pub const GROUP: u32 = 64_998;

/// The service manager's journal, where processes write to `<folder>/run/systemd/journal/socket` and files are kept
/// below `<folder>/log/journal`.
pub struct Journald {
    folder: PathBuf,
    process: Process,
    socket: UnixDatagram,
    /// What was sent, in order.
    sent: Vec<Marker>,
}

/// Whether it can run here. CI must; elsewhere the test says why it did nothing.
pub fn possible() -> bool {
    if !Path::new(PROGRAM).exists() || !Path::new(JOURNALCTL).exists() {
        assert!(std::env::var_os("CI").is_none(), "systemd-journald and journalctl are not installed");
        eprintln!("skipped, as systemd-journald is not installed (Debian's package systemd)");
        return false;
    }
    container::possible()
}

/// What an image or a host has where systemd is installed: journalctl and its libraries.
pub fn journalctl() -> Vec<Mount> {
    ["/usr/lib", JOURNALCTL].map(|path| Mount { from: path.into(), at: path.into(), read_only: true }).into()
}

impl Journald {
    /// Starts it with no other journal there, and makes the journal's folder as systemd does: its files may be read by root and
    /// one group ([`GROUP`]).
    pub async fn of_a_host(folder: &Path) -> Self {
        let journal = Self::journal(folder);
        fs::create_dir_all(&journal).expect("a folder");
        chown(&journal, Some(0), Some(GROUP)).expect("we are root");
        fs::set_permissions(&journal, fs::Permissions::from_mode(0o2755)).expect("it is ours");
        let mut journald = Self::start(folder).await;
        journald.say(Marker::new("first", 0), b"");
        journald.written().await;
        for file in journald.files() {
            let told = fs::metadata(&file).expect("it is there");
            assert_eq!(
                (told.uid(), told.gid(), told.mode() & 0o7777),
                (0, GROUP, 0o640),
                "{}",
                file.display()
            );
        }
        journald
    }

    /// Starts it, with what is in the folder from earlier.
    pub async fn start(folder: &Path) -> Self {
        Self::in_boot(folder, 1).await
    }

    /// Starts it after a power loss, of which this copy of its files was left.
    pub async fn after_power_loss(folder: &Path, left: &Path) -> Self {
        let journal = Self::journal(folder);
        fs::remove_dir_all(&journal).expect("the journal");
        copy(left, &journal);
        for name in ["seqnum", "kernel-seqnum"] {
            // One of them is there with later versions only.
            let _ = fs::remove_file(folder.join("run/systemd/journal").join(name));
        }
        Self::in_boot(folder, 2).await
    }

    /// A copy of its files as they are, such as a power loss would leave.
    pub async fn copy(&self) -> PathBuf {
        self.written().await;
        let copied = self.folder.join("copied");
        copy(&Self::journal(&self.folder), &copied);
        copied
    }

    async fn in_boot(folder: &Path, boot: u32) -> Self {
        let on = |path: &str| {
            let path = folder.join(path);
            fs::create_dir_all(&path).expect("a folder");
            path
        };
        let (run, log) = (on("run"), on("log"));
        on("log/journal");
        on("run/systemd/journal");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("it is ours");
        // As after systemd-journal-flush.service.
        fs::write(run.join("systemd/journal/flushed"), "").expect("a file");
        let settings = "[Journal]\nStorage=persistent\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\n\
                        SystemMaxUse=1G\nSystemKeepFree=1M\n";
        fs::write(on("run/systemd/journald.conf.d").join("test.conf"), settings).expect("a file");
        // Whether it listens is told by a socket that it has made, not by the last one's.
        let socket_at = run.join("systemd/journal/socket");
        let _ = fs::remove_file(&socket_at);
        let id = folder.join("boot_id");
        fs::write(&id, format!("{boot:08x}-0000-4000-8000-000000000000\n")).expect("a file");
        let script = format!(
            "set -eu; mount --make-rprivate /; mount --bind {} /proc/sys/kernel/random/boot_id; \
             mount --bind {} /run; mount --bind {} /var/log; exec {PROGRAM}",
            id.display(),
            run.display(),
            log.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let process = Process::start(command);
        let socket = UnixDatagram::unbound().expect("a socket");
        until(async || socket.connect(&socket_at).is_ok()).await;
        Self { folder: folder.to_owned(), process, socket, sent: Vec::new() }
    }

    /// The folder with its files.
    pub fn journal(folder: &Path) -> PathBuf {
        folder.join("log/journal")
    }

    /// Its files, of whatever kind.
    pub fn files(&self) -> Vec<PathBuf> {
        let machines = fs::read_dir(Self::journal(&self.folder)).expect("the journal").flatten();
        let files = machines.flat_map(|machine| fs::read_dir(machine.path()).expect("a folder").flatten());
        files.map(|file| file.path()).collect()
    }

    /// Those that it does not write to any more.
    pub fn archived(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|path| path.to_string_lossy().contains('@'));
        files
    }

    /// Writes an entry, by journald's native protocol. Values may hold any bytes.
    pub fn write(&mut self, fields: &[(&str, &[u8])]) {
        let mut datagram = Vec::new();
        for (name, value) in fields {
            datagram.extend_from_slice(name.as_bytes());
            datagram.push(b'\n');
            datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
            datagram.extend_from_slice(value);
            datagram.push(b'\n');
        }
        self.socket.send(&datagram).expect("journald takes it");
    }

    /// Writes an entry with a marker and more text behind it.
    pub fn say(&mut self, marker: Marker, more: &[u8]) {
        let text = [marker.to_string().as_bytes(), more].concat();
        self.write(&[("MESSAGE", &text), ("PRIORITY", b"6")]);
        self.sent.push(marker);
    }

    /// What was said by [`say`](Self::say).
    pub fn sent(&self) -> &[Marker] {
        &self.sent
    }

    /// Has it begin a new file, and waits for that.
    pub async fn rotate(&mut self) {
        let before = self.archived().len();
        self.process.signal(Signal::USR2);
        until(async || self.archived().len() > before).await;
    }

    /// Waits until everything that was sent is in its files.
    pub async fn written(&self) {
        let Some(last) = self.sent.last().map(ToString::to_string) else { return };
        until(async || {
            let mut journalctl = Command::new(JOURNALCTL);
            journalctl.args(["--quiet", "--no-pager", "--output=cat", "--lines=50", "--directory"]);
            let out = journalctl.arg(Self::journal(&self.folder)).output().await.expect("journalctl runs");
            String::from_utf8_lossy(&out.stdout).contains(&last)
        })
        .await;
    }

    /// As by a power loss or the kernel for want of memory: it does not close its file.
    pub async fn kill(self) -> Vec<Marker> {
        self.written().await;
        self.process.kill().await;
        self.sent
    }
}

/// Copies the folders of machines with their files.
fn copy(from: &Path, to: &Path) {
    for machine in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(machine.file_name());
        fs::create_dir_all(&to).expect("a folder");
        for file in fs::read_dir(machine.path()).expect("a folder").flatten() {
            fs::copy(file.path(), to.join(file.file_name())).expect("a file");
        }
    }
}
