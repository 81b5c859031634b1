//! The events of the benchmark: a topic and a JSON payload per number, hot ones among them, and the
//! numbers read back out of results. Sending and receiving them is left to others.

use std::time::{SystemTime, UNIX_EPOCH};

/// Added to an event's number, so that it always prints with ten digits and no leading zero.
pub(super) const SEQ_BASE: u64 = 1_000_000_000;

/// Nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| age.as_nanos() as u64)
}

/// `d000`, `d001`, …
pub(super) fn device(number: u64) -> String {
    format!("d{number:03}")
}

/// Topic of the device of this number.
pub(super) fn topic(device_number: u64) -> String {
    format!("sensors/{}/env", device(device_number))
}

/// `true` for one event in ten, scattered, and the same ones on every run.
pub(super) fn is_hot(seq: u64) -> bool {
    scatter(seq).is_multiple_of(10)
}

/// Hundredths of a degree: above 50 for a hot event, from 10 to 50 for any other.
pub(super) fn centidegrees(seq: u64) -> u64 {
    let variety = scatter(seq) / 10;
    if is_hot(seq) {
        5_001 + variety % 3_999
    } else {
        1_000 + variety % 4_000
    }
}

/// The finaliser of SplitMix64: neighbouring numbers share nothing afterwards.
fn scatter(seq: u64) -> u64 {
    let mut bits = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The whole payload; every one has the same length.
pub(super) fn payload(device_number: u64, seq: u64, ns: u64) -> String {
    let (device, temperature) = (device(device_number), centidegrees(seq));
    format!(
        r#"{{"device":"{device}","ts":{},"ns":{ns},"seq":{},"temperature":{}.{:02},"humidity":55.2}}"#,
        ns / 1_000_000,
        SEQ_BASE + seq,
        temperature / 100,
        temperature % 100,
    )
}

/// The whole number behind `"name":` in JSON without blanks; the first one if there are several.
pub(super) fn number(payload: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?;
    let after = text.split_once(&format!("\"{name}\":"))?.1;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_in_ten_is_hot_and_only_those_exceed_fifty_degrees() {
        let hot = (0..100_000).filter(|&seq| is_hot(seq)).count();
        assert!((9_700..10_300).contains(&hot), "{hot}");
        for seq in 0..100_000 {
            assert_eq!(centidegrees(seq) > 5_000, is_hot(seq));
        }
    }

    #[test]
    fn numbers_are_read_back() {
        let text = payload(17, 42, 1_700_000_000_123_456_789);
        for (name, expected) in [
            ("ns", Some(1_700_000_000_123_456_789)),
            ("seq", Some(SEQ_BASE + 42)),
            ("ts", Some(1_700_000_000_123)),
            ("humidity", Some(55)),
            ("device", None),
            ("absent", None),
        ] {
            assert_eq!(number(text.as_bytes(), name), expected, "{name}");
        }
    }
}
