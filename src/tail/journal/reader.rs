//! A run of journalctl that reads entries from a place on, in a thread of its own.
//!
//! Reading must not wait for another process. So a thread does, and holds at most one batch that is ready and one that
//! is being made; then it stops reading, and journalctl stops writing. A run ends at the end of the journal as it was
//! when it began: following is a matter of looking at the files' headers, and costs no process that has to be trusted to
//! notice rotation.
//!
//! journalctl is given the files as descriptors that are open here (`--file=/proc/self/fd/…`): under a file's name it
//! might find the next one. Its environment is empty, and no shell is between.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::Wake;
use super::export::Splitter;
use super::listing::{Extent, Sequence};
use super::settings::JournalSettings;

/// A batch is handed over once it has so many bytes.
const BATCH: usize = 256 << 10;
/// What is read from the pipe at once.
const PART: usize = 64 << 10;
/// How much of what journalctl complains about is told.
const COMPLAINT: u64 = 512;

/// Entries that follow each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Where it begins: everything before this number was in an earlier batch.
    pub(super) from: u64,
    /// Where it ends: there is nothing between this number and its last entry.
    pub(super) next: u64,
    /// Frames (see [`crate::journal`]).
    pub(super) frames: Vec<u8>,
    /// The end of the run.
    pub(super) last: bool,
}

/// What the thread has come to.
#[derive(Debug, Default)]
struct State {
    batch: Option<Batch>,
    failed: Option<String>,
    /// Nobody wants more.
    stopped: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    child: Mutex<Child>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run of journalctl. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// Where the batch begins that comes next or is there.
    pub(super) at: u64,
    /// Up to where it was handed out.
    pub(super) taken: u64,
    /// Where it began.
    began: u64,
    /// What was there when it began.
    pub(super) extent: Extent,
    /// When somebody last asked for what it has.
    pub(super) used: Instant,
}

impl Reader {
    /// Begins to read a sequence from this number on. Entries may take `longest` bytes.
    ///
    /// # Errors
    ///
    /// journalctl cannot be started.
    pub(super) fn start(
        settings: &JournalSettings,
        sequence: &Sequence,
        from: u64,
        longest: usize,
        wake: Wake,
        now: Instant,
    ) -> io::Result<Self> {
        let extent = sequence.extent();
        let complaints = File::from(rustix::fs::memfd_create(c"journalctl", MemfdFlags::CLOEXEC)?);
        let (child, stdout) = spawn(settings, sequence, from, complaints.try_clone()?)?;
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), child: Mutex::new(child) });
        let run = Run {
            shared: Arc::clone(&shared),
            splitter: Splitter::rising(longest, sequence.id, from),
            batch: Batch { from, next: from, ..Batch::default() },
            tail: extent.tail,
            wake,
        };
        let reader = Self { shared, at: from, taken: from, began: from, extent, used: now };
        // Where there can be no thread, dropping the reader ends the process.
        thread::Builder::new().name("journal".to_owned()).spawn(move || run.run(stdout, complaints))?;
        Ok(reader)
    }

    /// Does something with the batch that is ready. None where none is.
    pub(super) fn batch<T>(&mut self, look: impl FnOnce(&Batch) -> T) -> Option<T> {
        self.shared.state().batch.as_ref().map(look)
    }

    /// The batch was taken; the next may come.
    pub(super) fn pass(&mut self) {
        let mut state = self.shared.state();
        if let Some(batch) = state.batch.take() {
            self.at = batch.next;
        }
        self.shared.changed.notify_one();
    }

    /// Whether there is something to be asked for: a batch, or what went wrong.
    pub(super) fn has_news(&self) -> bool {
        let state = self.shared.state();
        state.batch.is_some() || state.failed.is_some()
    }

    /// Whether something of what it read was taken.
    pub(super) fn came_on(&self) -> bool {
        self.at > self.began
    }

    /// Why it ended, if it went wrong and all that came before was taken.
    pub(super) fn failed(&self) -> Option<String> {
        let state = self.shared.state();
        state.failed.clone().filter(|_| state.batch.is_none())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
        // It may have ended by itself.
        let _ = self.shared.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
}

fn spawn(
    settings: &JournalSettings,
    sequence: &Sequence,
    from: u64,
    complaints: File,
) -> io::Result<(Child, ChildStdout)> {
    let (program, before) = settings
        .command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    // Copies that the process inherits; those that are held here it does not.
    let inherited: Vec<OwnedFd> = sequence
        .files
        .iter()
        .filter(|(_, header)| header.tail >= from)
        .map(|(file, _)| rustix::io::dup(file))
        .collect::<Result<_, _>>()?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .current_dir("/")
        .args(before)
        .args(["--quiet", "--no-pager", "--output=export"])
        .arg(format!("--cursor=s={};i={from:x}", sequence.id))
        .args(inherited.iter().map(|file| format!("--file=/proc/self/fd/{}", file.as_raw_fd())))
        .args(&settings.filters)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints);
    let mut child = command.spawn()?;
    match child.stdout.take() {
        Some(stdout) => Ok((child, stdout)),
        None => Err(io::Error::other("it has no output")),
    }
}

/// The thread's part of a run.
struct Run {
    shared: Arc<Shared>,
    splitter: Splitter,
    batch: Batch,
    /// The highest number that was given out when the run began.
    tail: u64,
    wake: Wake,
}

impl Run {
    fn run(mut self, stdout: ChildStdout, complaints: File) {
        let outcome = self.read(stdout).and_then(|stopped| match stopped {
            true => Ok(()),
            false => self.finish(complaints),
        });
        if let Err(reason) = outcome {
            // What is whole counts all the same.
            self.splitter.end(&mut self.batch.frames);
            if !self.batch.frames.is_empty() {
                self.hand_over();
            }
            self.shared.state().failed = Some(reason);
            (self.wake)();
        }
        // Whatever became of it, nobody else waits for the process.
        let mut child = self.shared.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Reads to the end of the output. Returns whether it was told to stop before.
    fn read(&mut self, mut stdout: ChildStdout) -> Result<bool, String> {
        let mut part = vec![0; PART];
        loop {
            let read = match stdout.read(&mut part) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("its output cannot be read: {error}")),
            };
            let last = self.splitter.feed(&part[..read], &mut self.batch.frames);
            if let Some(last) = last.map_err(|malformed| malformed.to_string())? {
                self.batch.next = last + 1;
            }
            let whole = self.splitter.unfinished().unwrap_or(self.batch.frames.len());
            if whole >= BATCH && !self.hand_over() {
                return Ok(true);
            }
        }
    }

    /// The output has ended: it is all that there was only if journalctl says so, too.
    fn finish(&mut self, complaints: File) -> Result<(), String> {
        if self.splitter.end(&mut self.batch.frames) {
            return Err(format!("its output ended within an entry ({})", self.end(complaints)?.1));
        }
        let (status, told) = self.end(complaints)?;
        if !status.success() {
            return Err(told);
        }
        // The last number was given out, but its entry may not be there yet: only what is before it is not there for
        // ever.
        self.batch.next = self.batch.next.max(self.tail);
        self.batch.last = true;
        self.hand_over();
        Ok(())
    }

    /// How the process ended, in words, too.
    fn end(&self, mut complaints: File) -> Result<(ExitStatus, String), String> {
        let pid = |child: &Child| i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid(&self.shared.child.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(pid) = pid {
            // Without taking its status, so that whoever drops the reader may still end it.
            let ended = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            while matches!(ended(), Err(Errno::INTR)) {}
        }
        let status = self.shared.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let status = status.map_err(|error| format!("its end is not known: {error}"))?;
        let mut said = Vec::new();
        // What cannot be read of it is not told.
        let _ = complaints
            .seek(SeekFrom::Start(0))
            .and_then(|_| complaints.take(COMPLAINT).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("it exited with status {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        };
        Ok((status, if said.is_empty() { how } else { format!("{how}: {said}") }))
    }

    /// Hands the batch over, once there is room for it. Returns whether more is wanted.
    fn hand_over(&mut self) -> bool {
        let Batch { next, last, .. } = self.batch;
        let whole = self.splitter.unfinished().unwrap_or(self.batch.frames.len());
        let rest = self.batch.frames.split_off(whole);
        self.splitter.moved(whole);
        let batch = std::mem::replace(&mut self.batch, Batch { from: next, next, frames: rest, last });
        let state = self.shared.state();
        let wait = self.shared.changed.wait_while(state, |state| state.batch.is_some() && !state.stopped);
        let mut state = wait.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return false;
        }
        state.batch = Some(batch);
        drop(state);
        (self.wake)();
        true
    }
}
