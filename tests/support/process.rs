//! Child processes, among them the real binary: their output is read line by line and can be awaited.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clients::{ACCESS_KEY, REGION, SECRET_KEY};
use super::endpoint::patiently;

/// A child process; killed when dropped.
pub struct Process {
    what: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

/// What a process wrote so far, both its streams, in the order in which it was read.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    changes: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    lines: usize,
    ended: usize,
}

/// How a process ended, and everything that it wrote.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub lines: Vec<String>,
}

impl Process {
    /// Starts a command. Its standard output and error are read here. Its input stays empty and open, and ends when
    /// this process ends in whatever way: a child that nobody would stop any more can stop by itself.
    pub fn start(mut command: Command) -> Self {
        let what = format!("{:?}", command.as_std());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let output = Arc::new(Output::default());
        let readers = vec![
            tokio::spawn(read(child.stdout.take().expect("a pipe"), output.clone())),
            tokio::spawn(read(child.stderr.take().expect("a pipe"), output.clone())),
        ];
        Self { what, child, output, readers }
    }

    /// Everything that it wrote so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines().clone()
    }

    /// Waits for a line that fits, also among those written already, and returns it. Fails with all output when
    /// the process ends without.
    pub async fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.line_after(0, fits).await.1
    }

    /// Like [`Process::line`], from this many lines on; also returns how many lines there are up to and with it,
    /// so that the next can be awaited.
    pub async fn line_after(&self, start: usize, fits: impl Fn(&str) -> bool) -> (usize, String) {
        let mut changes = self.output.changes.subscribe();
        let mut looked_at = start;
        let event = async {
            loop {
                let progress = *changes.borrow_and_update();
                {
                    let lines = self.output.lines();
                    let fresh = lines.get(looked_at..).unwrap_or_default();
                    if let Some(index) = fresh.iter().position(|line| fits(line)) {
                        return (looked_at + index + 1, fresh[index].clone());
                    }
                    looked_at = looked_at.max(lines.len());
                }
                assert!(progress.ended < 2, "ended without the awaited line:\n{self}");
                changes.changed().await.expect("the sender lives in `self`");
            }
        };
        patiently(|| format!("a line of\n{self}"), event).await
    }

    /// Its number, as long as it was not waited for.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it was not waited for yet")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.id()).expect("a process id")).expect("not zero");
        kill_process(id, signal).expect("the process is our child");
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let output = self.output.clone();
        let missing = || format!("the end of {}\n{output}", self.what);
        let status = patiently(missing, self.child.wait()).await.expect("the process is our child");
        for reader in self.readers.drain(..) {
            reader.await.expect("reading does not panic");
        }
        Ended { status, lines: self.lines() }
    }

    /// SIGTERM; waits for its end, which must be with code 0.
    pub async fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        let what = self.what.clone();
        let ended = self.ended().await;
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{what} on SIGTERM: {}\n{}",
            ended.status,
            ended.lines.join("\n")
        );
        ended
    }

    /// SIGKILL; waits for its end.
    pub async fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended().await
    }
}

impl Drop for Process {
    /// A test that fails while it runs shows what it wrote: that is where the cause stands.
    #[expect(clippy::print_stdout, reason = "what is known of a failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{self}");
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.output)
    }
}

impl Output {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // A predicate that panics over a line must not hide its message behind a poisoned lock.
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        // The end tells what went wrong; all of it would bury the failed assertion.
        let start = lines.len().saturating_sub(100);
        f.write_str(&lines[start..].join("\n"))
    }
}

async fn read(pipe: impl AsyncRead + Unpin, output: Arc<Output>) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        output.lines().push(String::from_utf8_lossy(&line).into_owned());
        output.changes.send_modify(|progress| progress.lines += 1);
    }
    output.changes.send_modify(|progress| progress.ended += 1);
}

/// Looks all the time at how much anonymous memory a process takes.
pub struct MemoryWatch {
    goes_on: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<u64>,
}

impl MemoryWatch {
    /// From now on.
    pub fn of(process: &Process) -> Self {
        let (goes_on, id) = (Arc::new(AtomicBool::new(true)), process.id());
        let watched = Arc::clone(&goes_on);
        let watcher = std::thread::spawn(move || {
            let mut most = anonymous(id);
            while watched.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(5));
                most = most.max(anonymous(id));
            }
            most
        });
        Self { goes_on, watcher }
    }

    /// The most that it was seen with, in bytes; no longer watched.
    pub fn most(self) -> u64 {
        self.goes_on.store(false, Ordering::Relaxed);
        self.watcher.join().expect("the watcher does not panic")
    }
}

/// Bytes of anonymous memory, as proc_pid_status(5) tells; none once the process has ended.
fn anonymous(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |kilobytes| kilobytes.trim().parse::<u64>().expect("a number") << 10)
}

/// The real binary, with a configuration of the test's.
pub struct Agent(Process);

impl Agent {
    /// `kinetail run` with this configuration, which is written to `<dir>/kinetail.yaml`.
    pub fn start(config: &str, dir: &Path) -> Self {
        Self::run(config, dir, &[])
    }

    /// `kinetail run --once` with this configuration; wait for it with [`Agent::ended`].
    pub fn once(config: &str, dir: &Path) -> Self {
        Self::run(config, dir, &["--once"])
    }

    fn run(config: &str, dir: &Path, flags: &[&str]) -> Self {
        let path = write_config(config, dir);
        let mut command = kinetail(dir);
        command.args(["run", "--config"]).arg(path).args(flags);
        Self(Process::start(command))
    }

    /// One that was started in another way.
    pub fn of(process: Process) -> Self {
        Self(process)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.0
    }

    /// Waits for a line of its log that holds this text.
    pub async fn logged(&self, text: &str) -> String {
        self.0.line(|line| line.contains(text)).await
    }

    /// Where its admin port, which must be configured, is.
    pub async fn address(&self) -> String {
        let ready = self.logged("admin_ready").await;
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("its log is JSON");
        ready["listen"].as_str().expect("an address").to_owned()
    }

    /// What its admin port, which must be configured, answers to a GET: the status code and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address().await).await.expect("the admin port answers");
        let request = format!("GET {path} HTTP/1.1\r\nhost: kinetail\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("the answer is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.expect("a status code"), body.to_owned())
    }

    /// What it says of itself at `/api/status`.
    pub async fn status(&self) -> serde_json::Value {
        let (code, body) = self.get("/api/status").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("the status is JSON")
    }

    /// A number of its metrics, by name and labels as they are written there.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value.trim().parse().expect("a number")
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Ended {
        self.0.ended().await
    }

    /// SIGTERM; waits for its end, which must be with code 0.
    pub async fn terminate(self) -> Ended {
        self.0.terminate().await
    }

    /// SIGKILL; waits for its end.
    pub async fn kill(self) -> Ended {
        self.0.kill().await
    }
}

/// Asks an admin port until it says so.
pub async fn until(holds: impl AsyncFn() -> bool) {
    let ask = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    patiently(|| "the admin port did not say so".into(), ask).await;
}

/// The binary, without arguments yet. Of this process's environment it sees nothing that would change what it
/// does: its AWS settings are the test's, and it cannot ask an instance's metadata for others.
pub fn kinetail(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", dir)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("RUST_BACKTRACE", "1")
        .current_dir(dir);
    command
}

fn write_config(config: &str, dir: &Path) -> PathBuf {
    let path = dir.join("kinetail.yaml");
    std::fs::write(&path, config).expect("writes the configuration");
    path
}
