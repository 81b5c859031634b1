//! Which of the crash points of the design were met.

use std::fmt;

const NAMES: [&str; 13] = [
    "received, not in a commit",
    "appended, not synced",
    "synced, not acknowledged",
    "acknowledgement lost",
    "packet identifier used again",
    "receiver took it, cursor not saved",
    "crash in checkpoint or recycling",
    "broker went back",
    "session lost, crash before SUBSCRIBE",
    "poison",
    "disk full or failing, then a start",
    "killed, read from page cache, power cut",
    "redeployment, overlaps, retained",
];

/// Counts of C1 to C13.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    counts: [u64; 13],
}

impl Coverage {
    /// Crash point C`number` was met.
    pub(crate) fn enter(&mut self, number: usize) {
        self.counts[number - 1] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            // Seeds are counted, not how often in each.
            *count += more.min(1);
        }
    }

    /// Crash points that no seed met.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let empty = |(_, count): &(usize, &u64)| **count == 0;
        let counts = self.counts.iter().enumerate();
        counts
            .filter(empty)
            .map(|(at, _)| format!("C{}", at + 1))
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in NAMES.iter().zip(self.counts).enumerate() {
            writeln!(f, "C{:<3}{name:<42}{count:>8} seeds", at + 1)?;
        }
        Ok(())
    }
}
