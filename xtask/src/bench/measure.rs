//! Subscribes to the results of a run and judges them: lost, repeated, uncalled for, how late. Knows
//! which results to expect from the events' numbers; sending those is left to `publish`.

use super::event;
use super::mqtt::{Arrival, Connection, put_ack};
use anyhow::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Results that have to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expect {
    /// Every event, once.
    All,
    /// Every event above 50 degrees, once.
    Hot,
    /// Results whose `count` fields add up to the number of events.
    Counts,
}

impl Expect {
    fn wants(self, seq: u64) -> bool {
        match self {
            Expect::All => true,
            Expect::Hot => event::is_hot(seq),
            Expect::Counts => false,
        }
    }
}

/// Results that came back.
#[derive(Debug)]
pub(super) struct Measured {
    expect: Expect,
    pub(super) expected: u64,
    pub(super) received: u64,
    /// Results beyond one per event, or counts beyond the number of events.
    pub(super) duplicates: u64,
    /// Results that no event called for, or that carry no number.
    pub(super) strange: u64,
    /// When the last result came.
    pub(super) last: Option<Instant>,
    /// Messages that came, whatever they were.
    messages: u64,
    seen: Vec<bool>,
    latencies_ns: Vec<u64>,
}

impl Measured {
    fn new(expect: Expect, count: u64) -> Self {
        let expected = match expect {
            Expect::Counts => count,
            _ => (0..count).filter(|&seq| expect.wants(seq)).count() as u64,
        };
        Self {
            expect,
            expected,
            received: 0,
            duplicates: 0,
            strange: 0,
            last: None,
            messages: 0,
            seen: vec![false; count as usize],
            latencies_ns: Vec::new(),
        }
    }

    /// Events whose result did not come.
    pub(super) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// The latency in milliseconds that this share of the results did not exceed.
    pub(super) fn latency_ms(&self, share: f64) -> Option<f64> {
        let last = self.latencies_ns.len().checked_sub(1)?;
        let at = (last as f64 * share).round() as usize;
        Some(*self.latencies_ns.get(at)? as f64 / 1e6)
    }

    fn take(&mut self, payload: &[u8], now_ns: u64) {
        self.messages += 1;
        if self.expect == Expect::Counts {
            match event::number(payload, "count") {
                Some(count) => self.received += count,
                None => self.strange += 1,
            }
            self.duplicates = self.received.saturating_sub(self.expected);
            return;
        }
        let seq = event::number(payload, "seq").and_then(|seq| seq.checked_sub(event::SEQ_BASE));
        let place = seq.and_then(|seq| self.seen.get_mut(seq as usize));
        match (seq, place) {
            (Some(seq), Some(seen)) if self.expect.wants(seq) => {
                if std::mem::replace(seen, true) {
                    self.duplicates += 1;
                } else {
                    self.received += 1;
                    let sent_ns = event::number(payload, "ns").unwrap_or(now_ns);
                    self.latencies_ns.push(now_ns.saturating_sub(sent_ns));
                }
            }
            _ => self.strange += 1,
        }
    }
}

/// Collects until `sent` is set and everything is there, or nothing has come for `idle` since.
pub(super) fn collect(
    mut connection: Connection,
    expect: Expect,
    count: u64,
    idle: Duration,
    sent: &AtomicBool,
) -> Result<Measured> {
    /// After the last result that is due, so that a repeated one is not missed.
    const ENCORE: Duration = Duration::from_millis(200);
    let mut measured = Measured::new(expect, count);
    let mut acks = Vec::new();
    let mut quiet_since = Instant::now();
    connection.patience(Duration::from_millis(50))?;
    loop {
        let before = measured.messages;
        let mut now_ns = None;
        let open = connection.receive(|arrival| {
            if let Arrival::Message { payload, id, .. } = arrival {
                // The clock is read once per read from the socket: all of it arrived just now.
                measured.take(payload, *now_ns.get_or_insert_with(event::now_ns));
                if let Some(id) = id {
                    put_ack(&mut acks, id);
                }
            }
        })?;
        connection.send(&acks)?;
        acks.clear();
        let now = Instant::now();
        if measured.messages > before {
            measured.last = Some(now);
            quiet_since = now;
        }
        if !sent.load(Ordering::Acquire) {
            quiet_since = now;
        }
        let complete = measured.received >= measured.expected;
        let patience = if complete { ENCORE.min(idle) } else { idle };
        if !open || now - quiet_since >= patience {
            break;
        }
    }
    measured.latencies_ns.sort_unstable();
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_repeated_and_strange_results_are_told_apart() {
        let hot: Vec<u64> = (0..1_000).filter(|&seq| event::is_hot(seq)).collect();
        let cold = (0..1_000).find(|&seq| !event::is_hot(seq)).unwrap();
        let mut measured = Measured::new(Expect::Hot, 1_000);
        for seq in [hot[0], hot[1], hot[1], cold, 5_000] {
            measured.take(event::payload(0, seq, 1_000_000).as_bytes(), 3_000_000);
        }
        measured.take(b"{}", 3_000_000);
        let counts = (measured.received, measured.duplicates, measured.strange);
        assert_eq!(counts, (2, 1, 3));
        assert_eq!(measured.lost(), hot.len() as u64 - 2);
        assert_eq!(measured.latency_ms(0.5), Some(2.0));
    }

    #[test]
    fn counts_of_windows_add_up() {
        let mut measured = Measured::new(Expect::Counts, 30);
        for (payload, received, lost, duplicates, strange) in [
            (r#"{"key":"d1","average":3.5,"count":10}"#, 10, 20, 0, 0),
            (r#"{"count":21}"#, 31, 0, 1, 0),
            (r#"{"average":null}"#, 31, 0, 1, 1),
        ] {
            measured.take(payload.as_bytes(), 0);
            let now = (
                measured.received,
                measured.lost(),
                measured.duplicates,
                measured.strange,
            );
            assert_eq!(now, (received, lost, duplicates, strange), "{payload}");
        }
    }
}
