//! Limits that the configuration allows, at their bounds and between them, under a flood that passes them:
//! the agent stays alive, its books balance and show which limits were passed, and it starts again from
//! what it left.
//!
//! `TIDEMILL_TEST_CONFIGURATIONS` and `TIDEMILL_TEST_FLOOD_SECONDS` make it larger: 100 and 60 for all of it.

mod flood;

use std::time::Duration;

use tidemill_tests::{Random, setting};

use super::seed;

/// A numeric key with its table, its least and its greatest value, and what is written behind the number.
type Key = (&'static str, &'static str, u64, u64, &'static str);

const BROKER: &str = "[broker]";
const LOCAL_OUTBOX: &str = "[broker.outbox]";
const CLOUD: &str = "[destinations.cloud]";
const CLOUD_OUTBOX: &str = "[destinations.cloud.outbox]";
const WEB: &str = "[destinations.web]";
const WEB_OUTBOX: &str = "[destinations.web.outbox]";
const RECORDER: &str = "[recorder]";
const LIMITS: &str = "[limits]";
const FLEET: &str = "[fleet]";

const HOUR: u64 = 3_600;
const AGE_MAX: u64 = 3_660 * 24 * HOUR;

/// As `docs/configuration.md` has them.
const KEYS: [Key; 42] = [
    (BROKER, "qos", 0, 1, ""),
    (BROKER, "packet_bytes_max", 1_024, 8 << 20, ""),
    (BROKER, "topic_bytes_max", 64, 65_535, ""),
    (BROKER, "coalesce", 0, 1_000, "ms"),
    (BROKER, "commit_interval", 0, 10_000, "ms"),
    (BROKER, "commit_events", 1, 4_096, ""),
    (BROKER, "session_expiry", 60, 3_650 * 24 * HOUR, "s"),
    (BROKER, "event_ids_remembered", 256, 65_536, ""),
    (BROKER, "in_flight", 1, 4_096, ""),
    (BROKER, "keep_alive", 1, HOUR, "s"),
    (BROKER, "timeout", 1, HOUR, "s"),
    (LOCAL_OUTBOX, "bytes", 64 << 10, 1 << 40, ""),
    (LOCAL_OUTBOX, "age", 1, AGE_MAX, "s"),
    (LOCAL_OUTBOX, "count", 1, 1 << 40, ""),
    (CLOUD, "packet_bytes_max", 1_024, 8 << 20, ""),
    (CLOUD, "in_flight", 1, 4_096, ""),
    (CLOUD, "keep_alive", 1, HOUR, "s"),
    (CLOUD, "timeout", 1, HOUR, "s"),
    (CLOUD, "alarm_after", 1, 30 * 86_400, "s"),
    (CLOUD_OUTBOX, "bytes", 64 << 10, 1 << 40, ""),
    (CLOUD_OUTBOX, "age", 1, AGE_MAX, "s"),
    (CLOUD_OUTBOX, "count", 1, 1 << 40, ""),
    (WEB, "timeout", 1, HOUR, "s"),
    (WEB, "answer_timeout", 1, HOUR, "s"),
    (WEB, "alarm_after", 1, 30 * 86_400, "s"),
    (WEB_OUTBOX, "bytes", 64 << 10, 1 << 40, ""),
    (WEB_OUTBOX, "age", 1, AGE_MAX, "s"),
    (WEB_OUTBOX, "count", 1, 1 << 40, ""),
    ("[journal]", "segment_bytes", 1 << 20, 64 << 20, ""),
    (RECORDER, "bytes", 0, 256 << 20, ""),
    (RECORDER, "disk", 1 << 20, 64 << 30, ""),
    (FLEET, "probation", 1, HOUR, "s"),
    (FLEET, "pause", 0, HOUR, "s"),
    (LIMITS, "module_bytes", 1_024, 16 << 20, ""),
    (LIMITS, "memory_pages", 1, 1_024, ""),
    (LIMITS, "fuel", 1, 100_000_000, ""),
    // With less the flood leaves every rule behind, and passes no other limit.
    (LIMITS, "fuel_per_second", 100_000_000, 100_000_000_000, ""),
    (LIMITS, "emissions", 1, 4_096, ""),
    (LIMITS, "emission_bytes", 1, 4 << 20, ""),
    (LIMITS, "value_bytes", 64 << 10, 256 << 20, ""),
    (LIMITS, "state_bytes", 1_024, 64 << 20, ""),
    (LIMITS, "keys", 1, 1_000_000, ""),
];

/// The page that tells the keys to those who set them.
const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// A value for each key.
struct Values(Vec<u64>);

impl Values {
    /// Draws for each key its least value, its greatest, or one between.
    fn random(random: &mut Random) -> Self {
        let value = |(_, _, least, greatest, _): &Key| match random.within(0..3) {
            0 => *least,
            1 => *greatest,
            // Each length of a number is as likely as any other.
            _ => {
                let bits = u64::BITS - (greatest - least).leading_zeros();
                let below = 1 << random.within(0..u64::from(bits) + 1);
                (least + random.within(0..below)).min(*greatest)
            }
        };
        Self(KEYS.iter().map(value).collect())
    }

    fn of(&self, table: &str, key: &str) -> u64 {
        let mut all = KEYS.iter().zip(&self.0);
        let found = all.find(|((of, name, ..), _)| (*of, *name) == (table, key));
        *found.expect("a key of the table").1
    }

    /// The lines that set them. Those of `[broker]` come first: they go on in its table.
    fn lines(&self, cloud: u16, web: &str) -> String {
        let (mut table, mut lines) = (BROKER, String::new());
        for ((of, key, _, _, unit), value) in KEYS.iter().zip(&self.0) {
            if *of != table {
                lines.push_str(&format!("{of}\n"));
                table = of;
                match table {
                    CLOUD => lines.push_str(&format!("url = \"mqtt://127.0.0.1:{cloud}\"\n")),
                    WEB => lines.push_str(&format!("url = \"{web}\"\n")),
                    FLEET => lines.push_str("root = \"root.json\"\n"),
                    _ => {}
                }
            }
            if unit.is_empty() {
                lines.push_str(&format!("{key} = {value}\n"));
            } else {
                lines.push_str(&format!("{key} = \"{value}{unit}\"\n"));
            }
        }
        lines
    }
}

/// The keys of the page whose row names two bounds that are numbers.
fn documented() -> Vec<&'static str> {
    let is_number = |text: &str| text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let mut keys = Vec::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let bounded = |cell: &&&str| {
            if cell.contains("letters") {
                return false;
            }
            let bounds = cell.split_once(" to ").or(cell.split_once(" and more"));
            let bounds = bounds.or(cell.split_once(", ").filter(|(_, most)| is_number(most)));
            bounds.is_some_and(|(least, _)| is_number(least.rsplit(", ").next().unwrap_or(least)))
        };
        if cells.iter().skip(2).take(2).filter(bounded).count() > 0 {
            let names = cells.get(1).into_iter().flat_map(|cell| cell.split(", "));
            keys.extend(names.map(|name| name.trim_matches('`')));
        }
    }
    keys
}

#[test]
fn every_numeric_key_of_the_page_is_tried() {
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    for name in &documented {
        let key = name.rsplit('.').next().unwrap();
        let is_tried = KEYS.iter().any(|(_, tried, ..)| *tried == key);
        assert!(is_tried, "{name} is not tried");
    }
    for (table, key, ..) in KEYS {
        assert!(
            PAGE.contains(&format!("{key}`")),
            "{table} {key} is not documented"
        );
    }
}

#[test]
fn limits_at_their_bounds_hold_under_a_flood_that_passes_them() {
    let configurations = setting("TIDEMILL_TEST_CONFIGURATIONS", 5);
    let seconds = Duration::from_secs(setting("TIDEMILL_TEST_FLOOD_SECONDS", 5));
    let mut random = Random::new(seed());
    let mut at_bounds = [(0, 0); KEYS.len()];
    let mut passed = std::collections::BTreeMap::new();
    for number in 0..configurations {
        let values = Values::random(&mut random);
        for ((bounds, key), value) in at_bounds.iter_mut().zip(KEYS).zip(&values.0) {
            bounds.0 += u64::from(*value == key.2);
            bounds.1 += u64::from(*value == key.3);
        }
        eprintln!("seed {}, configuration {number}", seed());
        for limit in flood::run(&values, seconds) {
            *passed.entry(limit).or_insert(0) += 1;
        }
    }
    eprintln!("limits that were passed, by the ledger: {passed:?}");
    if configurations >= 100 {
        for ((least, greatest), (table, key, ..)) in at_bounds.iter().zip(KEYS) {
            assert!(
                *least >= 5 && *greatest >= 5,
                "{table} {key}: {least}, {greatest}"
            );
        }
        for limit in flood::ALL {
            assert!(passed.contains_key(limit), "{limit} was never passed");
        }
    }
}
