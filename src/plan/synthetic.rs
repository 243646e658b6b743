//! Records of synthetic lines, for a rate that somebody expects.

use std::time::{Duration, SystemTime};

use fastrand::Rng;
use jiff::Timestamp;

use super::records::{Destinations, Recorded, keep};
use crate::config::{Config, RouteConfig};
use crate::decode::Format;
use crate::event::Message;
use crate::generate::{Lines, Mix, Sizes};
use crate::source::Stream;
use crate::trial::{Log, Stages};

/// As many lines are enough to see how they fill requests.
const MOST_LINES: f64 = 30_000.0;
const LONGEST: f64 = 120.0;
const SHORTEST: f64 = 1.0;
/// Where a container's log lies, and the fields that its records then have.
const POD: &str = "/var/log/pods/shop_web-6d5f7c9b8d-x2k4q_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/web/0.log";
const FILE: &str = "/var/log/app/app.log";
/// What stands in an entry of the journal beside its text, as journald writes it for a unit's output.
const ENTRY: &str = "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=0123456789abcdef0123456789abcdef\n\
    _HOSTNAME=node-1\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=kubelet\n_TRANSPORT=stdout\n_PID=1234\n_UID=0\n\
    _GID=0\n_COMM=kubelet\n_EXE=/usr/bin/kubelet\n_CMDLINE=/usr/bin/kubelet --config=/etc/kubernetes/kubelet.conf\n\
    _CAP_EFFECTIVE=1ffffffffff\n_SYSTEMD_CGROUP=/system.slice/kubelet.service\n_SYSTEMD_UNIT=kubelet.service\n\
    _SYSTEMD_SLICE=system.slice\n_SYSTEMD_INVOCATION_ID=0123456789abcdef0123456789abcdef\n";

/// Lines that somebody expects.
#[derive(Clone, Debug)]
pub struct Rate {
    /// A second, for each destination.
    pub lines: f64,
    /// How long they are.
    pub sizes: Sizes,
    /// What they say.
    pub mix: Mix,
}

/// The records of such lines: each destination gets the rate, from the first route that leads there.
pub fn synthetic(config: &Config, rate: &Rate) -> Recorded {
    let seconds = (MOST_LINES / rate.lines).clamp(SHORTEST, LONGEST);
    let mut recorded = Recorded::default();
    recorded.period = Duration::from_secs_f64(seconds);
    let mut rng = Rng::with_seed(1);
    let begin = Timestamp::now();
    let mut done: Vec<usize> = Vec::new();
    for (number, route) in (0_u64..).zip(&config.routes) {
        let to = Destinations::of(config, route);
        let fresh = to.without(&done);
        if fresh.is_empty() {
            continue;
        }
        done.extend(fresh.iter());
        add(config, route, number, &fresh, rate, seconds, begin, &mut rng, &mut recorded);
    }
    recorded.sort();
    recorded
}

#[expect(clippy::too_many_arguments, reason = "all that lines are made of")]
fn add(
    config: &Config,
    route: &RouteConfig,
    number: u64,
    to: &Destinations,
    rate: &Rate,
    seconds: f64,
    begin: Timestamp,
    rng: &mut Rng,
    recorded: &mut Recorded,
) {
    let in_container = matches!(route.decoding.format, Format::Cri | Format::Docker);
    let in_journal = route.decoding.format == Format::Journald;
    let path = if in_container { POD } else { FILE };
    let mut stages = Stages::new(config, route, &Log::at(path), number, SystemTime::now(), false);
    let mut lines = Lines::new(rate.mix.clone(), rate.sizes);
    let count = (rate.lines * seconds).ceil().max(1.0) as u64;
    let mut offset = 0;
    for line in 0..count {
        let at = Duration::from_secs_f64(line as f64 / rate.lines);
        let wall = begin.checked_add(at).unwrap_or(begin);
        let mut text = lines.next(wall, rng);
        if in_journal {
            text = format!("{ENTRY}MESSAGE={text}\n");
        }
        let time = format!("{wall:.9}");
        let message = Message {
            start: offset,
            stream: if in_container { Stream::Stdout } else { Stream::Plain },
            time: in_container.then_some(time.as_str()),
            body: text.as_bytes(),
            cut: false,
        };
        stages.message(&message, |made| keep(made, at, to, recorded));
        offset += text.len() as u64 + 1;
        recorded.bytes += text.len() as u64 + 1;
    }
}
