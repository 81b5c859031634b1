//! Rows of an agent at a receiver, each of them once, and the counter rule: where a function sends
//! n = state + 1 for each event, a key's values must be exactly 1 to N. A gap is a loss, a value
//! that comes again under a new name an event that counted twice.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Name of a row, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowName {
    /// The gateway, `tm-gw`.
    pub gateway: String,
    /// The life of its data directory, `tm-inc`.
    pub incarnation: String,
    /// Destination and priority, `tm-lane`.
    pub lane: String,
    /// The number in the lane, `tm-seq`.
    pub seq: u64,
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: row {}", self.gateway, self.lane, self.seq)
    }
}

/// A row as it came first.
#[derive(Debug)]
struct Arrived {
    lane: String,
    topic: String,
    payload: String,
}

/// Rows, each once.
#[derive(Debug, Default)]
pub struct Received {
    /// Content of each row of a lane, as a hash; the first has seq 1.
    lanes: BTreeMap<(String, String, String), Vec<u64>>,
    rows: Vec<Arrived>,
    repeated: u64,
}

impl Received {
    /// Takes a row in; whether it is new.
    ///
    /// # Errors
    /// When rows before it are missing, or it was another row when it came before.
    pub fn take(&mut self, name: &RowName, topic: &str, payload: &[u8]) -> Result<bool, String> {
        let mut hasher = DefaultHasher::new();
        (topic, payload).hash(&mut hasher);
        let hash = hasher.finish();
        let lane = (
            name.gateway.clone(),
            name.incarnation.clone(),
            name.lane.clone(),
        );
        let had = self.lanes.entry(lane).or_default();
        let next = had.len() as u64 + 1;
        if name.seq > next || name.seq == 0 {
            return Err(format!(
                "LOST: rows {next} to {} of {} have not come before {name}",
                name.seq.saturating_sub(1),
                name.lane
            ));
        }
        if name.seq < next {
            self.repeated += 1;
            return if had.get(name.seq as usize - 1) == Some(&hash) {
                Ok(false)
            } else {
                Err(format!(
                    "CHANGED: {name} came again as {topic} {}",
                    String::from_utf8_lossy(payload)
                ))
            };
        }
        had.push(hash);
        self.rows.push(Arrived {
            lane: name.lane.clone(),
            topic: topic.to_owned(),
            payload: String::from_utf8_lossy(payload).into_owned(),
        });
        Ok(true)
    }

    /// Number of rows, each counted once.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Number of rows of a lane, each counted once.
    pub fn count_of(&self, lane: &str) -> usize {
        self.rows.iter().filter(|row| row.lane == lane).count()
    }

    /// Number of copies beyond the first of each row.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Number of rows of lane `other` that came before the row number `count` of `lane`.
    pub fn overtaken(&self, lane: &str, count: usize, other: &str) -> usize {
        let mut of_lane = 0;
        let before = self.rows.iter().take_while(|row| {
            of_lane += usize::from(row.lane == lane);
            of_lane < count
        });
        before.filter(|row| row.lane == other).count()
    }

    /// The payloads of a lane by topic, in the order in which they came.
    pub fn of_lane(&self, lane: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.lane == lane) {
            values
                .entry(row.topic.as_str())
                .or_default()
                .push(row.payload.as_str());
        }
        values
    }

    /// Checks the counter rule: in this lane each topic of `expected` has exactly the numbers 1 to N.
    #[track_caller]
    pub fn check_counted(&self, lane: &str, expected: &BTreeMap<String, u64>) {
        let all = expected
            .iter()
            .map(|(topic, n)| (topic.clone(), (1..=*n).collect()));
        self.check(lane, &all.collect());
    }

    /// Checks that in this lane each topic of `expected` has exactly these numbers, in order.
    #[track_caller]
    pub fn check(&self, lane: &str, expected: &BTreeMap<String, Vec<u64>>) {
        let got = self.of_lane(lane);
        let mut faults: Vec<String> = expected
            .iter()
            .flat_map(|(topic, numbers)| {
                let values = got.get(topic.as_str()).map_or(&[][..], Vec::as_slice);
                faults(values, numbers)
                    .into_iter()
                    .map(move |fault| format!("{topic}: {fault}"))
            })
            .collect();
        let strange = got.keys().filter(|topic| !expected.contains_key(**topic));
        faults.extend(strange.map(|topic| format!("{topic}: nobody expects anything there")));
        if self.lanes.keys().any(|(_, incarnation, _)| {
            Some(incarnation) != self.lanes.keys().next().map(|(_, first, _)| first)
        }) {
            faults.push("the incarnation changed though the data directory did not".to_owned());
        }
        assert!(
            faults.is_empty(),
            "lane {lane}, {} rows and {} copies:\n{}",
            self.count_of(lane),
            self.repeated,
            faults.join("\n")
        );
    }
}

/// The faults in one topic's values, at most a few sentences.
fn faults(values: &[&str], expected: &[u64]) -> Vec<String> {
    const MOST: usize = 5;
    let mut faults = Vec::new();
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    let mut highest = 0;
    for value in values {
        let Ok(number) = value.parse::<u64>() else {
            faults.push(format!("{value:?} is no number"));
            continue;
        };
        *times.entry(number).or_default() += 1;
        if number < highest && times[&number] == 1 {
            faults.push(format!("OUT OF ORDER: {number} came after {highest}"));
        }
        highest = highest.max(number);
    }
    for number in expected {
        match times.remove(number) {
            None => faults.push(format!("LOST: {number} is missing")),
            Some(1) => {}
            Some(n) => faults.push(format!("COUNTED TWICE: {number} came {n} times")),
        }
    }
    let more = times.keys().take(MOST);
    faults.extend(more.map(|number| format!("COUNTED TWICE: {number} is one too many")));
    let hidden = faults.len().saturating_sub(MOST);
    faults.truncate(MOST);
    if hidden > 0 {
        faults.push(format!("and {hidden} faults more"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(seq: u64) -> RowName {
        RowName {
            gateway: "gw".to_owned(),
            incarnation: "00ff".to_owned(),
            lane: "cloud/normal".to_owned(),
            seq,
        }
    }

    #[test]
    fn a_row_counts_once_and_a_missing_or_changed_one_is_named() {
        let mut received = Received::default();
        assert_eq!(received.take(&name(1), "out/a", b"1"), Ok(true));
        assert_eq!(received.take(&name(1), "out/a", b"1"), Ok(false));
        assert_eq!(received.take(&name(2), "out/a", b"2"), Ok(true));
        assert_eq!((received.count(), received.repeated()), (2, 1));
        let changed = received.take(&name(2), "out/a", b"3").unwrap_err();
        assert!(changed.starts_with("CHANGED: gw/cloud/normal: row 2"));
        let lost = received.take(&name(5), "out/a", b"5").unwrap_err();
        assert!(lost.starts_with("LOST: rows 3 to 4"), "{lost}");
        received.check_counted("cloud/normal", &BTreeMap::from([("out/a".to_owned(), 2)]));
    }

    #[test]
    fn each_breach_of_the_counter_rule_is_named() {
        for (values, expected) in [
            (&["1", "2", "3"][..], &[][..]),
            (&["1", "3"], &["LOST: 2 is missing"]),
            (&["1", "2"], &["LOST: 3 is missing"]),
            (&["1", "2", "2", "3"], &["COUNTED TWICE: 2 came 2 times"]),
            (&["1", "2", "3", "4"], &["COUNTED TWICE: 4 is one too many"]),
            (&["1", "3", "2"], &["OUT OF ORDER: 2 came after 3"]),
            (&["1", "x", "2", "3"], &["\"x\" is no number"]),
        ] {
            assert_eq!(faults(values, &[1, 2, 3]), expected, "{values:?}");
        }
    }
}
