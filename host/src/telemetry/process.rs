//! What the process is and takes, by the names that Prometheus' own libraries give to it.

use std::fs;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};

/// Ticks in a second of the processor times in `/proc`, on every architecture that Kenning runs on.
const TICKS: u64 = 100;

/// Says what is running, and since when.
pub(super) fn begin() {
    metrics::gauge!(
        "kenning_build_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "arch" => std::env::consts::ARCH
    )
    .set(1.0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("process_start_time_seconds").set(now.as_secs_f64());
}

/// Brings the figures of this process up to date. What the system does not tell stays as it was.
pub fn measure() {
    if let Some(seconds) = processor_seconds() {
        metrics::counter!("process_cpu_seconds_total").absolute(seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = field(&status, "VmRSS:") {
        metrics::gauge!("process_resident_memory_bytes").set((kilobytes * 1024) as f64);
    }
    if let Some(threads) = field(&status, "Threads:") {
        metrics::gauge!("process_threads").set(threads as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
}

/// Whole seconds of processor time, of all threads.
fn processor_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_process_is_read() {
        assert!(processor_seconds().is_some());
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(field(&status, "VmRSS:").unwrap() > 100);
        assert!(field(&status, "Threads:").unwrap() >= 1);
        assert_eq!(field(&status, "NoSuch:"), None);
    }
}
