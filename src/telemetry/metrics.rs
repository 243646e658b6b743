//! The registry of metrics, and what the process itself takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use std::{fmt, fs};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

use crate::metric::register;

/// A registry for the process: every name begins with `kinetail_`.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("kinetail");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What was built", build);
    registry
}

/// What the process takes of the machine, under the names that every Prometheus client gives it.
pub struct ProcessMetrics {
    registry: Registry,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl Default for ProcessMetrics {
    /// The process is taken to have started now.
    fn default() -> Self {
        let mut registry = Registry::with_prefix("process");
        let cpu = Counter::default();
        let (memory, open_fds, max_fds) = (Gauge::default(), Gauge::default(), Gauge::default());
        let start = Gauge::<f64, AtomicU64>::default();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(since.as_secs_f64());
        register!(&mut registry, {
            "cpu_seconds": cpu, "Time that all threads spent on a CPU, in user and system mode";
            "resident_memory_bytes": memory, "Memory in RAM";
            "open_fds": open_fds, "Open file descriptors";
            "max_fds": max_fds, "The most file descriptors that may be open";
            "start_time_seconds": start, "When it started, since 1970";
        });
        Self { registry, cpu, memory, open_fds, max_fds }
    }
}

impl ProcessMetrics {
    /// Measures, and writes them and those of a registry as OpenMetrics.
    ///
    /// # Errors
    ///
    /// A metric cannot be written.
    pub fn encode(&self, rest: &Registry) -> Result<String, fmt::Error> {
        self.measure();
        let mut text = String::new();
        encode_registry(&mut text, rest)?;
        encode_registry(&mut text, &self.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn measure(&self) {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let spent = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
        // Several may look at once. Numbers that are not negative are in the order of their bits.
        self.cpu.inner().fetch_max(spent.to_bits(), Ordering::Relaxed);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.memory.set(resident(&status).unwrap_or_default());
        // One of them is the folder itself.
        let open = fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count().saturating_sub(1));
        self.open_fds.set(open as i64);
        let most = rlimit::Resource::NOFILE.get_soft().unwrap_or_default();
        self.max_fds.set(i64::try_from(most).unwrap_or(i64::MAX));
    }
}

/// Of proc_pid_status(5), in bytes.
fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_takes_is_measured() {
        let own = ProcessMetrics::default();
        let text = own.encode(&registry()).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(text.contains("kinetail_build_info{") && text.ends_with("# EOF\n"));
    }

    #[test]
    fn resident_memory_is_read_from_the_status() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
