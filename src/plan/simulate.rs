//! Delivery without a service: the dispatcher makes requests of records at the times at which they come.

use std::time::Duration;

use tokio::time::Instant;

use super::load::{Load, WINDOW};
use super::records::Recorded;
use crate::deliver::{Answer, Destination, Dispatcher, Next, Request, Settled, body};

/// What a destination, one of the configuration by `index`, would be sent if it were set up like `to`.
pub(super) fn run(to: &Destination, recorded: &Recorded, index: usize) -> Load {
    let begin = Instant::now();
    let mut simulation = Simulation {
        dispatcher: Dispatcher::of(to, fastrand::Rng::with_seed(1)),
        begin,
        now: begin,
        load: Load { period: recorded.period, ..Load::default() },
        minutes: Vec::new(),
    };
    for (at, run) in recorded.rounds(index) {
        simulation.until(begin + at);
        simulation.load.lines += run.len() as u64;
        simulation.load.payload += (run.data().len() - run.len()) as u64;
        for refused in simulation.dispatcher.offer(run, Duration::ZERO, simulation.now) {
            simulation.load.refused += refused.run.len() as u64;
        }
        simulation.send();
    }
    simulation.dispatcher.drain();
    simulation.send();
    let Simulation { mut load, minutes, .. } = simulation;
    load.busiest.0 = minutes.iter().map(|(bytes, _)| *bytes).max().unwrap_or_default();
    load.busiest.1 = minutes.iter().map(|(_, records)| *records).max().unwrap_or_default();
    load
}

struct Simulation {
    dispatcher: Dispatcher,
    begin: Instant,
    now: Instant,
    load: Load,
    /// Bytes and records of each minute.
    minutes: Vec<(u64, u64)>,
}

impl Simulation {
    /// Lets time pass up to `at`, and sends what falls due meanwhile.
    fn until(&mut self, at: Instant) {
        while let Some(due) = self.send().filter(|due| *due <= at) {
            self.now = self.now.max(due);
        }
        self.now = at;
    }

    /// Sends what is to be sent now; returns when there is more.
    fn send(&mut self) -> Option<Instant> {
        loop {
            match self.dispatcher.next(self.now) {
                Next::Send(request) => {
                    // What compression leaves is known once the body is made.
                    body::encode("", "", &request.entries);
                    let settled = self.dispatcher.answered(request.id, Answer::taken(), self.now);
                    self.count(&request, &settled);
                }
                Next::Wait(until) => return Some(until),
                Next::Idle => return None,
            }
        }
    }

    fn count(&mut self, request: &Request, settled: &Settled) {
        self.load.requests += 1;
        self.load.billed += settled.billed_units as u64;
        self.load.billed_on_demand += settled.billed_on_demand as u64;
        let minute = (self.now - self.begin).as_secs() / WINDOW.as_secs();
        let minute = usize::try_from(minute).unwrap_or(usize::MAX);
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, (0, 0));
        }
        for entry in request.entries.iter() {
            let size = entry.sent_size();
            self.load.records += 1;
            self.load.bytes += size as u64;
            self.minutes[minute].0 += size as u64;
            self.minutes[minute].1 += 1;
        }
    }
}
