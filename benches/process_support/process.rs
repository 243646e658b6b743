//! The agent as a process, and what the kernel says it used.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most that the agent was seen with, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Most {
    /// Anonymous memory.
    pub(crate) anonymous: u64,
    /// Resident memory.
    pub(crate) resident: u64,
    /// What `data_dir` takes of the disk.
    pub(crate) disk: u64,
}

/// The running agent.
pub(crate) struct Agent {
    child: Child,
    watching: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Most>>,
}

impl Agent {
    pub(crate) fn start(folder: &Path, configuration: &str) -> Self {
        let path = folder.join("kinetail.yaml");
        fs::write(&path, configuration).expect("room on disk");
        let log = fs::File::create(folder.join("kinetail.log")).expect("room on disk");
        let child = Command::new(env!("CARGO_BIN_EXE_kinetail"))
            .args(["run", "--config"])
            .arg(&path)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let watching = Arc::new(AtomicBool::new(true));
        let (goes_on, id, data_dir) = (Arc::clone(&watching), child.id(), folder.join("data"));
        let watcher = std::thread::spawn(move || {
            let mut most = Most::default();
            while goes_on.load(Ordering::Relaxed) {
                let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                most.anonymous = most.anonymous.max(kilobytes(&status, "RssAnon:"));
                most.resident = most.resident.max(kilobytes(&status, "VmRSS:"));
                most.disk = most.disk.max(taken(&data_dir));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Self { child, watching, watcher: Some(watcher) }
    }

    /// The CPU time that it used until now.
    pub(crate) fn cpu(&self) -> Duration {
        // Fields 14 and 15 of proc_pid_stat(5), after the name, which may hold anything: clock ticks of 10 ms.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after = &stat[stat.rfind(')').expect("a name") + 2..];
        let ticks: u64 =
            after.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// The bytes that it made the kernel write to disk until now: chunks, positions and what else is in `data_dir`.
    pub(crate) fn written(&self) -> u64 {
        // proc_pid_io(5)
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("it runs");
        let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        bytes.and_then(|bytes| bytes.parse().ok()).expect("a number")
    }

    /// Stops it and returns the most that it was seen with.
    pub(crate) fn stop(mut self) -> Most {
        self.watching.store(false, Ordering::Relaxed);
        let most = self.watcher.take().and_then(|watcher| watcher.join().ok()).unwrap_or_default();
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.child.wait().expect("it ends").success());
        most
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.watching.store(false, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kilobytes(status: &str, field: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// What a folder takes of the disk, in bytes.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // Files go at any moment: what is gone takes nothing.
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        // stat(2): in units of 512 bytes, whatever the file system's are.
        .map(|(path, metadata)| if metadata.is_dir() { taken(&path) } else { metadata.blocks() * 512 })
        .sum()
}
