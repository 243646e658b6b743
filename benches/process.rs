//! The whole process, measured: generates container logs, starts an endpoint on TLS, runs the real binary and prints one
//! table. The endpoint is this process, so its CPU is not counted.
//!
//! ```sh
//! cargo bench --profile dist --bench process              # everything; some minutes
//! cargo bench --profile dist --bench process -- bulk 0.2  # workloads that hold `bulk` in their name, a fifth of the lines
//! ```
//!
//! `MB` is 10^6 bytes of log as it lies in the files. CPU is user and system time of the agent's process from its
//! start, as the kernel accounts it; memory is the highest of looks every 20 ms: anonymous, and resident, which holds
//! mapped chunks too (page cache).

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../tests/support/endpoint/mod.rs"]
mod endpoint;
mod log_lines;
mod process_support;

use process_support::{Workload, measure, print_header, print_row};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wanted = words.first().map_or("", String::as_str);
    let scale: f64 = words.get(1).map_or(1.0, |scale| scale.parse().expect("the second word is a number"));
    print_header();
    for workload in Workload::all(scale) {
        if workload.name.contains(wanted) {
            print_row(&workload, &measure(&workload));
        }
    }
}
