//! The whole process, measured: generates container logs, starts an endpoint on TLS, runs the real binary and prints one
//! table. The endpoint is this process, so its CPU is not counted.
//!
//! ```sh
//! cargo bench --profile dist --bench process              # everything; some minutes
//! cargo bench --profile dist --bench process -- bulk 0.2  # workloads that hold `bulk` in their name, a fifth of the lines
//! ```
//!
//! `MB` is 10^6 bytes of log as it lies in the files. CPU is user and system time of the agent's process from its
//! start, as the kernel accounts it. Memory and disk are the highest of looks every 20 ms: anonymous memory, and resident, which
//! holds mapped chunks too (page cache); what `data_dir` takes.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod log_lines;
mod process_support;

/// The stand-ins that scenario tests use.
#[path = "../tests/support"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a part of it is used")]
mod support {
    pub(crate) mod endpoint;
    pub(crate) mod kubernetes;
    pub(crate) mod logs;
}

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
