//! What this machine and its processes say of themselves.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a tick of `/proc/PID/stat` is: USER_HZ is 100 on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// How long the machine is watched before it is measured.
const WATCH: Duration = Duration::from_millis(500);

/// What all figures depend on: the machine, and what else it does now.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let redis = redis_version();
    let kernel = kernel.trim();
    let machine = format!("Kenning {version} on {cores} cores of {model}, Linux {kernel}, {redis}");
    match busy() {
        Some(busy) => {
            format!("{machine}\nOther work keeps {busy:.0} % of the processors busy now.")
        }
        None => machine,
    }
}

/// How much of the processors' time is used while this process waits, in percent.
fn busy() -> Option<f64> {
    let (idle, all) = processors()?;
    std::thread::sleep(WATCH);
    let (idle_later, all_later) = processors()?;
    Some(100.0 * (1.0 - (idle_later - idle) / (all_later - all)))
}

/// Time that all processors together have been idle, and all of it (proc(5)).
fn processors() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map_while(|field| field.parse().ok()).collect();
    // Idle and waiting for a disk; guests' time is counted in user time already.
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().take(8).sum()))
}

fn redis_version() -> String {
    let said = Command::new("redis-server").arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
    format!("Redis {}", version.unwrap_or("?"))
}

/// A process's memory, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Now (VmRSS).
    pub resident: u64,
    /// At most so far (VmHWM).
    pub peak: u64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no such line")?;
        anyhow::Ok(kib.parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

/// The processor time that a process has used so far, in user and kernel.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in parentheses, may hold anything; the fields after it are numbers.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| anyhow::Ok(fields.get(at).context("a short line")?.parse::<u32>()?);
    // utime and stime are fields 14 and 15 (proc(5)); these here begin with the third.
    Ok(TICK * (ticks(11)? + ticks(12)?))
}
