//! The stages, each by itself, over the same lines.
//!
//! ```sh
//! cargo bench --profile dist --bench stages            # a table
//! cargo bench --profile dist --bench stages -- encode  # stages that hold `encode` in their name
//! ```
//!
//! `stages count NAME TIMES` runs one stage so many times and nothing else: `.ci/instructions` counts with
//! callgrind what a line costs in instructions, which is the same on every run.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod log_lines;
mod stages_support;

use std::time::{Duration, Instant};

use stages_support::{Input, parsers};

/// How long one stage is measured.
const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let input = Input::new();
    if let [word, name, times] = &words[..]
        && word == "count"
    {
        let times: u32 = times.parse().expect("the third word is a number");
        let stage = stages_support::all().into_iter().find(|stage| stage.name == *name);
        let mut run = (stage.expect("the second word is a stage's name").prepare)(&input);
        return (0..times).for_each(|_| run());
    }
    if words.first().is_some_and(|word| word == "names") {
        println!("lines {}", input.lines());
        return stages_support::all().iter().for_each(|stage| println!("{}", stage.name));
    }
    let wanted = words.first().map_or("", String::as_str);
    println!("| stage | MB of log per s | ns per line |\n|---|---|---|");
    for stage in stages_support::all().iter().filter(|stage| stage.name.contains(wanted)) {
        row(stage.name, input.bytes(), input.lines(), measure(&mut *(stage.prepare)(&input)));
    }
    for parser in parsers::all().iter().filter(|parser| parser.name.contains(wanted)) {
        row(parser.name, parser.bytes(), parser.lines(), measure(&mut parser.prepare()));
    }
}

fn row(name: &str, bytes: usize, lines: u32, each: Duration) {
    let each = each.as_secs_f64();
    println!("| {name} | {:.0} | {:.0} |", bytes as f64 / 1e6 / each, each * 1e9 / f64::from(lines));
}

/// The median of what a run takes.
fn measure(run: &mut dyn FnMut()) -> Duration {
    run();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < MEASURED {
        let began = Instant::now();
        run();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}
