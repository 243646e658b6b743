//! Writers that write logs as container runtimes and programs do, and let befall them what kubelet and logrotate
//! do. Every line begins with a [`Marker`], and the writer remembers what it wrote.
//!
//! Everything comes from a seed, the times in the lines as well: a writer never looks at a clock.

mod busy;
mod format;
mod rotation;

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::endpoint::Marker;

pub use self::busy::Busy;
pub use self::format::{Format, Stream};
pub use self::rotation::{compress, siblings};

/// A container of a pod, as kubelet's folders name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub name: String,
}

impl Container {
    /// The container `app` of the pod `<pod>` in the namespace `shop`, with a uid made from the pod's name.
    pub fn of_pod(pod: &str) -> Self {
        let hex = format!("{:032x}", Rng::with_seed(seed_of(pod)).u128(..));
        Self {
            namespace: "shop".into(),
            pod: pod.into(),
            uid: [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
            name: "app".into(),
        }
    }

    /// Its folder: `<root>/pods/<namespace>_<pod>_<uid>/<name>`.
    pub fn folder(&self, root: &Path) -> PathBuf {
        root.join("pods").join(format!("{}_{}_{}", self.namespace, self.pod, self.uid)).join(&self.name)
    }
}

/// The logs of this many containers, `app-00` and so on, by both CRI runtimes in turn.
pub fn containers(root: &Path, count: usize) -> Vec<Writer> {
    (0..count)
        .map(|number| {
            let container = Container::of_pod(&format!("app-{number:02}"));
            let format = [Format::Containerd, Format::Crio][number % 2];
            Writer::container(root, &container, format)
        })
        .collect()
}

/// Two writers of different names write different texts.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(131).wrapping_add(u64::from(byte)))
}

/// A line that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name and number.
    pub marker: Marker,
    /// Its stream; meaningless in plain files.
    pub stream: Stream,
    /// Its time as the file shows it; none in plain files.
    pub time: Option<String>,
    /// Its text, the marker included.
    pub text: String,
}

/// Writes one log, and remembers what it wrote.
pub struct Writer {
    name: String,
    format: Format,
    path: PathBuf,
    file: File,
    max_files: usize,
    lengths: Range<usize>,
    long_lines: bool,
    rng: Rng,
    now: Timestamp,
    written: Vec<Written>,
    unfinished: Option<Unfinished>,
}

/// A line of which only the beginning is in the file.
struct Unfinished {
    rest: Vec<u8>,
    /// Its stream, if lines of another may come between.
    between: Option<Stream>,
}

impl Writer {
    /// The log of a container, in kubelet's layout under `root`. Its pod gives the writer its name.
    pub fn container(root: &Path, container: &Container, format: Format) -> Self {
        Self::new(&container.pod, container.folder(root).join("0.log"), format)
    }

    /// The log of a container of Docker's: `<root>/containers/<id>/<id>-json.log`.
    pub fn docker(root: &Path, name: &str) -> Self {
        let id = format!("{:064x}", Rng::with_seed(seed_of(name)).u128(..));
        let path = root.join("containers").join(&id).join(format!("{id}-json.log"));
        Self::new(name, path, Format::Docker)
    }

    /// A program's own log at this path.
    pub fn plain(path: impl Into<PathBuf>, name: &str) -> Self {
        Self::new(name, path.into(), Format::Plain)
    }

    /// A log in this format at this path.
    pub fn new(name: &str, path: PathBuf, format: Format) -> Self {
        Self {
            name: name.to_owned(),
            format,
            file: rotation::open(&path),
            path,
            max_files: 5,
            lengths: 0..200,
            long_lines: true,
            rng: Rng::with_seed(seed_of(name)),
            now: Timestamp::new(1_790_000_000, 0).expect("a time"),
            written: Vec::new(),
            unfinished: None,
        }
    }

    /// Everything that is chosen by chance comes from this seed; from the writer's name unless said.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::with_seed(seed);
        self
    }

    /// How many files a rotation leaves, the one in use included; 5 unless said, as kubelet's default. What is
    /// beyond them is deleted, read or not.
    pub fn max_files(mut self, files: usize) -> Self {
        assert!(files >= 2, "a rotation needs the file in use and a rotated one");
        self.max_files = files;
        self
    }

    /// How long texts are, the marker aside, in bytes; 0 to 199 unless said. With it, no line is made longer than
    /// its runtime's limit; otherwise one in fifty is.
    pub fn lengths(mut self, lengths: Range<usize>) -> Self {
        self.lengths = lengths;
        self.long_lines = false;
        self
    }

    /// The file in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in markers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All lines written, in their order; one that has only begun counts already.
    pub fn written(&self) -> &[Written] {
        &self.written
    }

    /// The markers of all lines written.
    pub fn markers(&self) -> impl Iterator<Item = Marker> {
        self.written.iter().map(|line| line.marker.clone())
    }

    /// The line of this number.
    pub fn line_of(&self, number: u64) -> &Written {
        &self.written[usize::try_from(number).expect("a number of a line")]
    }

    /// Writes so many lines, on both streams. Parts of a split line are sometimes interleaved with a line of the
    /// other stream, as runtimes do.
    pub fn lines(&mut self, count: usize) {
        assert!(self.unfinished.is_none(), "the line before has not ended");
        let mut left = count;
        while left > 0 {
            let stream = self.any_stream();
            let parts = self.next_line(stream);
            left -= 1;
            let between = parts.len() > 1 && left > 0 && self.rng.bool();
            let (head, tail) = parts.split_at(if between { 1 } else { parts.len() });
            self.put(head);
            if between {
                let other = match stream {
                    Stream::Stdout => Stream::Stderr,
                    Stream::Stderr => Stream::Stdout,
                };
                let whole = self.next_line(other);
                left -= 1;
                self.put(&whole);
                self.put(tail);
            }
        }
    }

    /// Writes one line on this stream.
    pub fn line(&mut self, stream: Stream) {
        let free = self.unfinished.as_ref().is_none_or(|open| open.between.is_some_and(|of| of != stream));
        assert!(free, "the line before has not ended");
        let parts = self.next_line(stream);
        self.put(&parts);
    }

    /// Writes the first part of a split line (`P`), or of a line without its newline where the format knows no
    /// parts. Until [`Writer::end_line`] writes the rest, only lines of the other stream may come between.
    pub fn begin_line(&mut self, stream: Stream) {
        assert!(self.unfinished.is_none(), "the line before has not ended");
        let (text, time) = self.next_text(8 << 10..12 << 10);
        let (head, tail) = text.split_at(4 << 10);
        let (first, rest) = match self.format {
            Format::Plain => (head.as_bytes().to_vec(), format!("{tail}\n").into_bytes()),
            format => (format.part(time, stream, head, false), format.part(time, stream, tail, true)),
        };
        self.unfinished =
            Some(Unfinished { rest, between: (self.format != Format::Plain).then_some(stream) });
        self.remember(stream, time, text);
        self.put(&[first]);
    }

    /// Writes the first two lines of a trace of four on stdout, and a part of the third. [`Writer::end_line`] writes the
    /// rest; until then, and until a line that is not of the trace, only lines of the other stream may come between.
    /// The first line ends with ` trace`, the others begin with `  at `.
    pub fn begin_trace(&mut self) {
        assert!(self.unfinished.is_none(), "the line before has not ended");
        let (text, time) = self.next_text(0..200);
        let stream = Stream::Stdout;
        let whole = |line: &str| self.format.part(time, stream, line, true);
        let first = [
            whole(&format!("{text} trace")),
            whole("  at one"),
            self.format.part(time, stream, "  a", false),
        ];
        let rest = [whole("t two"), whole("  at three")].concat();
        self.unfinished = Some(Unfinished { rest, between: Some(stream) });
        self.remember(stream, time, format!("{text} trace\n  at one\n  at two\n  at three"));
        self.put(&first);
    }

    /// Writes the first half of a line's bytes: what a reader can find at any moment. Nothing may come before
    /// [`Writer::end_line`] writes the rest.
    pub fn tear_line(&mut self) {
        assert!(self.unfinished.is_none(), "the line before has not ended");
        let stream = self.any_stream();
        let mut bytes = self.next_line(stream).concat();
        self.unfinished = Some(Unfinished { rest: bytes.split_off(bytes.len() / 2), between: None });
        self.put(&[bytes]);
    }

    /// Writes the rest of the line that [`Writer::begin_line`] or [`Writer::tear_line`] began.
    pub fn end_line(&mut self) {
        let open = self.unfinished.take().expect("no line was begun");
        self.put(&[open.rest]);
    }

    /// Writes these bytes as they are: for what no runtime writes. They are not remembered.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.put(&[bytes.to_vec()]);
    }

    /// Points this symlink to the file in use, as `/var/log/containers` has them; one that is there is replaced at
    /// once, so that no moment is without it.
    pub fn link_from(&self, link: &Path) {
        let folder = link.parent().expect("a link lies in a folder");
        std::fs::create_dir_all(folder).expect("makes the link's folder");
        let fresh = folder.join(".fresh-link");
        std::os::unix::fs::symlink(&self.path, &fresh).expect("makes the link");
        std::fs::rename(&fresh, link).expect("puts the link in its place");
    }

    fn any_stream(&mut self) -> Stream {
        if self.format != Format::Plain && self.rng.u8(..4) == 0 { Stream::Stderr } else { Stream::Stdout }
    }

    /// The framed parts of a new line, which is remembered.
    fn next_line(&mut self, stream: Stream) -> Vec<Vec<u8>> {
        let lengths =
            if self.long_lines && self.rng.u8(..50) == 0 { 8 << 10..40 << 10 } else { self.lengths.clone() };
        let (text, time) = self.next_text(lengths);
        let parts = self.format.frame(time, stream, &text, &mut self.rng);
        self.remember(stream, time, text);
        parts
    }

    fn next_text(&mut self, lengths: Range<usize>) -> (String, Timestamp) {
        let nanos = self.rng.u64(1_000_000..20_000_000);
        self.pass(Duration::from_nanos(nanos));
        let mut text = Marker::new(self.name.as_str(), self.written.len() as u64).to_string();
        let length = self.rng.usize(lengths);
        if length > 0 {
            text.push(' ');
        }
        // Quotes and backslashes need escapes in JSON; a comma and a blank are what parsers split at.
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz ABCDEFGH 0123456789 .,:;/=[]{}\"\\'";
        text.extend((1..length).map(|_| char::from(LETTERS[self.rng.usize(..LETTERS.len())])));
        // A blank at the end is kept by some formats' readers and trimmed by others'; no test is about it.
        let text = text.trim_end().to_owned();
        (text, self.now)
    }

    fn remember(&mut self, stream: Stream, time: Timestamp, text: String) {
        self.written.push(Written {
            marker: Marker::new(self.name.as_str(), self.written.len() as u64),
            stream,
            time: self.format.time(time),
            text,
        });
    }

    fn put(&mut self, parts: &[Vec<u8>]) {
        for part in parts {
            self.file.write_all(part).expect("writes to the log");
        }
    }

    /// Moves the writer's own clock on.
    fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).expect("a time");
    }
}
