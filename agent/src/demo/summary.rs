//! Summary at the end of the demo, and its faults. Pure, but for the process's own figures.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

use super::view::{Snapshot, bytes, grouped, latency, ledger_table, saved};

/// Cost of this process so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    cpu_seconds: f64,
    /// Most memory that it held at once, where the kernel tells.
    peak_bytes: Option<u64>,
}

impl Cost {
    /// Asks the kernel.
    pub(super) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            peak_bytes: peak_bytes(&status),
        }
    }
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

/// The faults of the run, as sentences; nothing where all is well. `sent` is the number of messages
/// that the plant published, of which the agent may miss the first `unheard`: they came before its
/// subscription.
pub(super) fn faults(end: &Snapshot, sent: u64, unheard: u64) -> Vec<String> {
    let mut faults = Vec::new();
    for (rule, ledger) in &end.ledgers {
        if !ledger.balances() {
            faults.push(format!(
                "the ledger of rule {rule} does not balance: {ledger:?}"
            ));
        }
        let missing = sent.saturating_sub(ledger.received);
        if missing > unheard {
            faults.push(format!("rule {rule} has missed {missing} of {sent} events"));
        }
    }
    let made: u64 = end.ledgers.iter().map(|(_, ledger)| ledger.emissions).sum();
    match end.arrived.messages {
        0 => faults.push("nothing arrived upstream".to_owned()),
        arrived if arrived < made => {
            faults.push(format!("only {arrived} of {made} results arrived upstream"));
        }
        _ => {}
    }
    faults
}

/// The summary.
pub(super) fn text(end: &Snapshot, cost: Cost, all_is_well: bool) -> String {
    let (seconds, arrived) = (end.elapsed.as_secs_f64(), &end.arrived);
    let mut text = format!(
        "\ntidemill demo: {seconds:.1} s, 50 sensors, {} rules\n\nevents in          {} ({})\n\n{}\n",
        end.ledgers.len(),
        grouped(end.events),
        bytes(end.bytes),
        ledger_table(&end.ledgers)
    );
    if all_is_well {
        text.push_str(
            " Each event stands in exactly one column of each rule:\n the ledger balances.\n",
        );
    }
    let _ = writeln!(
        text,
        "\nresults upstream   {} ({}, {} on the way up)",
        grouped(arrived.messages),
        bytes(arrived.bytes),
        saved(end)
    );
    let _ = writeln!(
        text,
        "sensor to upstream {}\n                   ({} results carry their sensor's time)",
        latency(end),
        grouped(arrived.latency.count)
    );
    let _ = writeln!(
        text,
        "cost of everything {:.2} s of CPU ({:.1} % of one core){},\n                   brokers and sensors included",
        cost.cpu_seconds,
        100.0 * cost.cpu_seconds / seconds.max(0.001),
        cost.peak_bytes
            .map_or(String::new(), |peak| format!(", {} of memory", bytes(peak))),
    );
    text.push_str(
        "\nTry next:
  tidemill init my-gateway     a gateway of your own, as files
  tidemill demo --port 1884    and elsewhere:
                               mosquitto_sub -p 1884 -t '#' -v\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::cloud::Arrived;
    use crate::event::ledger::Ledger;

    fn end(received: u64, filtered: u64, emissions: u64, arrived: u64) -> Snapshot {
        let ledger = Ledger {
            received,
            filtered,
            emissions,
            ..Ledger::default()
        };
        Snapshot {
            ledgers: vec![("r".into(), ledger)],
            arrived: Arrived {
                messages: arrived,
                ..Arrived::default()
            },
            ..Snapshot::default()
        }
    }

    #[track_caller]
    fn check(end: &Snapshot, expected: &[&str]) {
        let faults = faults(end, 10, 2);
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn every_way_to_go_wrong_is_told() {
        check(&end(10, 10, 3, 3), &[]);
        check(&end(8, 8, 3, 4), &[]);
        check(&end(10, 9, 3, 3), &["does not balance"]);
        check(&end(7, 7, 3, 3), &["missed 3 of 10"]);
        check(&end(10, 10, 0, 0), &["nothing arrived"]);
        check(&end(10, 10, 3, 2), &["only 2 of 3"]);
    }

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        assert_eq!(
            peak_bytes("Name:\tx\nVmHWM:\t    12 kB\n"),
            Some(12 * 1_024)
        );
        assert_eq!(peak_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn only_a_demo_without_faults_says_that_the_ledger_balances() {
        let end = end(10, 10, 3, 3);
        assert!(text(&end, Cost::now(), true).contains("the ledger balances"));
        assert!(!text(&end, Cost::now(), false).contains("the ledger balances"));
    }
}
