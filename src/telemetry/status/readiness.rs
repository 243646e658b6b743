//! What is wrong in a status, and whether the agent is ready.

use std::time::Duration;

use super::{Backlog, Destination, DestinationState, Disk, Problem, Status};

/// From how much of its limit on a destination's buffer is said to be nearly full.
const NEARLY_FULL: f64 = 0.8;

impl Status {
    /// Finds what is wrong in what was filled in, and says whether the agent is ready: its configuration loaded, its
    /// files followed, and every destination took records, would take them, or is merely backing off.
    pub fn judge(&mut self, stuck: &[(String, Duration)]) {
        let mut problems = Vec::new();
        for (part, silent) in stuck {
            let what = format!("has made no progress for {} s", silent.as_secs());
            problems.push(Problem::unready(
                part,
                what,
                "/livez is red: whoever watches it starts kinetail anew",
            ));
        }
        if let Some(problem) = &self.configuration.problem {
            let remedy = "the one before goes on; correct the file";
            problems.push(Problem::unready("configuration", problem, remedy));
        }
        if !self.reading.following {
            problems.push(Problem::unready("files", "the first look at all folders is not over yet", ""));
        }
        self.destinations.iter().for_each(|destination| destination.judge(&mut problems));
        if let Disk { free_bytes: Some(free), min_free_bytes: least, path } = &self.disk
            && free < least
        {
            let what = format!("{free} bytes are free in {path}, less than buffer.min_disk_free ({least})");
            problems.push(Problem::warning("disk", what, "reading pauses until there is room"));
        }
        let most = self.buffer.max_bytes;
        if most > 0 && self.buffer.bytes as f64 > most as f64 * NEARLY_FULL {
            let what = format!("all buffers together take {} of {most} bytes", self.buffer.bytes);
            problems.push(Problem::warning("buffer", what, "see why destinations take less than is read"));
        }
        problems.sort_by_key(|problem| !problem.unready);
        self.ready = !problems.iter().any(|problem| problem.unready);
        self.problems = problems;
    }

    /// What `/readyz` answers: a line of everything that is wrong, and of every destination how it does.
    pub fn readiness(&self) -> String {
        let mut text = String::from(if self.ready { "ready\n" } else { "not ready\n" });
        for problem in &self.problems {
            let word = if problem.unready { "problem" } else { "warning" };
            text += &format!("{word}: {problem}\n");
        }
        for destination in &self.destinations {
            text += &format!("destination {}: {}\n", destination.name, destination.state.text());
        }
        text
    }
}

impl Destination {
    fn judge(&self, problems: &mut Vec<Problem>) {
        let part = format!("destination {}", self.name);
        let reason = self.reason.clone().unwrap_or_default();
        let since = self.state_seconds.map(|seconds| format!(" for {seconds:.0} s")).unwrap_or_default();
        match self.state {
            // Nothing more comes for it.
            _ if self.removed => {
                let what = format!("removed, with {} records in its buffer", self.backlog.records);
                problems.push(Problem::warning(&part, what, ""));
            }
            DestinationState::Denied => {
                let remedy = "records wait in the buffer; `kinetail check --online` says more";
                problems.push(Problem::unready(&part, format!("denied{since}: {reason}"), remedy));
            }
            DestinationState::Untried => {
                problems.push(Problem::unready(&part, "it has not answered yet", ""));
            }
            DestinationState::BackingOff => {
                problems.push(Problem::warning(&part, format!("backing off{since}: {reason}"), ""));
            }
            DestinationState::Fine => {}
        }
        let Backlog { bytes, max_bytes, .. } = self.backlog;
        if max_bytes > 0 && bytes as f64 > max_bytes as f64 * NEARLY_FULL {
            let what = format!("its buffer takes {bytes} of {max_bytes} bytes");
            problems.push(Problem::warning(part, what, "when it is full, what its `when_full` says happens"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Buffer, File, FileState, Reading};
    use super::*;

    fn fine() -> Status {
        let destination = |name: &str| Destination {
            name: name.into(),
            state: DestinationState::Fine,
            backlog: Backlog { bytes: 10, max_bytes: 100, ..Backlog::default() },
            ..Destination::default()
        };
        Status {
            reading: Reading { following: true, ..Reading::default() },
            destinations: vec![destination("archive"), destination("audit")],
            ..Status::default()
        }
    }

    fn judged(change: impl FnOnce(&mut Status)) -> Status {
        let mut status = fine();
        change(&mut status);
        status.judge(&[]);
        status
    }

    #[test]
    fn a_destination_that_backs_off_is_named_and_the_agent_ready() {
        assert_eq!(judged(|_| ()).readiness(), "ready\ndestination archive: fine\ndestination audit: fine\n");
        let status = judged(|status| {
            status.destinations[1].state = DestinationState::BackingOff;
            status.destinations[1].reason = Some("Timeout".into());
            status.destinations[1].state_seconds = Some(12.3);
        });
        assert!(status.ready);
        assert!(
            status.readiness().contains("warning: destination audit: backing off for 12 s: Timeout\n"),
            "{}",
            status.readiness()
        );
    }

    #[test]
    fn each_thing_that_makes_it_unready_is_told_and_comes_first() {
        let status = judged(|status| {
            status.buffer = Buffer { bytes: 90, max_bytes: 100 };
            status.configuration.problem = Some("routes[0]: no such destination".into());
            status.reading.following = false;
            status.destinations[0].state = DestinationState::Denied;
            status.destinations[0].reason = Some("AccessDeniedException: not authorized".into());
            status.destinations[1].state = DestinationState::Untried;
            status.destinations[1].backlog.bytes = 81;
        });
        assert!(!status.ready);
        let parts: Vec<_> = status.problems.iter().map(|problem| (problem.unready, &*problem.part)).collect();
        assert_eq!(
            parts,
            [
                (true, "configuration"),
                (true, "files"),
                (true, "destination archive"),
                (true, "destination audit"),
                (false, "destination audit"),
                (false, "buffer"),
            ]
        );
        assert!(status.readiness().contains("denied: AccessDeniedException: not authorized; records wait"));
    }

    #[test]
    fn what_is_stuck_and_a_disk_that_is_low_are_told() {
        let mut status = fine();
        status.disk = Disk { path: "/data".into(), free_bytes: Some(5), min_free_bytes: 10 };
        status.judge(&[("reading".into(), Duration::from_secs(70))]);
        assert!(!status.ready);
        assert_eq!(
            status.problems[0].to_string().split(';').next(),
            Some("reading: has made no progress for 70 s")
        );
        assert_eq!(status.problems[1].part, "disk");
    }

    #[test]
    fn a_status_reads_back_from_its_json() {
        let mut status = fine();
        status.files = vec![File { state: FileState::RateLimited, ..File::default() }];
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains(r#""state":"rate_limited""#), "{json}");
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}
