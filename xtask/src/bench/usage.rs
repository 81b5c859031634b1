//! Resources that a process has used: CPU time and memory, as the kernel counts them.

use anyhow::{Context, Result};
use std::fs;

/// The kernel shows CPU time in hundredths of a second on every architecture that Linux runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading of a process's account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// User and system time of all its threads since it started.
    pub(super) cpu_seconds: f64,
    pub(super) rss_mb: f64,
    /// The highest resident memory so far.
    pub(super) peak_rss_mb: f64,
}

/// Reads the account of process `id`; fails when it has gone.
pub(super) fn of(id: u32) -> Result<Usage> {
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{id}/{file}"))
            .with_context(|| format!("process {id} has gone"))
    };
    parse(&read("stat")?, &read("status")?).with_context(|| format!("no account of process {id}"))
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let cpu_seconds = (ticks()? + ticks()?) / TICKS_PER_SECOND;
    let mb = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    Some(Usage {
        cpu_seconds,
        rss_mb: mb("VmRSS:")?,
        peak_rss_mb: mb("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_a_name_with_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 5 0 1 2 3";
        let status = "Name:\ta\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let usage = parse(stat, status).unwrap();
        assert_eq!(usage.cpu_seconds, 1.75);
        assert_eq!((usage.rss_mb, usage.peak_rss_mb), (1.024, 2.048));
    }
}
