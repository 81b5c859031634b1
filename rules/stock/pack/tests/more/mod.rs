//! The functions that limit, smooth, convert and report.

use crate::host::Rule;
use crate::{NAN, check_passes};

pub(crate) const RATE_LIMIT: &[u8] = include_bytes!("../../../wasm/rate_limit.wasm");
pub(crate) const MOVING_AVERAGE: &[u8] = include_bytes!("../../../wasm/moving_average.wasm");
pub(crate) const EWMA: &[u8] = include_bytes!("../../../wasm/ewma.wasm");
pub(crate) const CONVERT: &[u8] = include_bytes!("../../../wasm/convert.wasm");
pub(crate) const REPORT: &[u8] = include_bytes!("../../../wasm/report_by_exception.wasm");
pub(crate) const SILENCE: &[u8] = include_bytes!("../../../wasm/silence.wasm");

/// interval_ms, burst
#[test]
fn rate_limit_passes_a_burst_and_then_a_pace() {
    let mut rule = Rule::new(RATE_LIMIT, &[1000.0, 3.0]);
    rule.advance(10_000);
    let mut passed = 0;
    for _ in 0..100 {
        passed += rule.any_event();
        rule.advance(100);
    }
    // Three at once, and one more a second.
    assert_eq!(passed, 3 + 9);
    rule.advance(60_000);
    let burst: i32 = (0..10).map(|_| rule.any_event()).sum();
    assert_eq!(burst, 3);
    rule.world().now = 0;
    let after_a_step_back: i32 = (0..10).map(|_| rule.any_event()).sum();
    assert_eq!(after_a_step_back, 3);
}

/// count, warm_up
#[test]
fn moving_average_is_of_the_last_values() {
    let mut rule = Rule::new(MOVING_AVERAGE, &[3.0, 2.0]);
    for value in [1.0, NAN, 3.0, 5.0, 10.0, 1e300, 2.0, 4.0, 6.0, 9.0] {
        assert_eq!(rule.event(value, "{}"), 0);
    }
    let averages: Vec<_> = rule.emitted().into_iter().map(|(_, text)| text).collect();
    // A huge value takes the small ones with it, until the round is over.
    assert_eq!(&averages[..3], ["2", "3", "6"]);
    assert_eq!(&averages[7..], ["6.333333333333333"]);
    rule.world().config = vec![2.0, 0.0];
    rule.event(100.0, "{}");
    rule.event(200.0, "{}");
    let expected = ["100", "150"].map(|text| (0, text.to_owned()));
    assert_eq!(rule.emitted(), expected);
}

/// alpha, threshold, warm_up, min_deviation, learn, repeat
#[test]
fn ewma_passes_what_is_unlike_the_past() {
    let mut rule = Rule::new(EWMA, &[0.1, 4.0, 20.0, 0.0, 0.0, 1.0]);
    for index in 0..200 {
        let value = if index % 2 == 0 { 19.0 } else { 21.0 };
        assert_eq!(rule.event(value, "{}"), 0, "event {index}");
    }
    let scores = rule.emitted();
    assert_eq!((scores.len(), scores[0].0), (180, 1));
    assert!(
        scores
            .iter()
            .all(|(_, score)| (0.8..1.2).contains(&score.parse::<f64>().unwrap().abs()))
    );
    // Nothing of it is learned: it stays an anomaly.
    for value in [25.0, 25.0, 15.0, 25.0] {
        assert_eq!(rule.event(value, "{}"), 1);
    }
    assert_eq!([rule.event(NAN, "{}"), rule.event(20.0, "{}")], [0, 0]);
    let steps: Vec<_> = [(20.0, false), (20.0, false), (20.4, false), (21.0, true)].into();
    check_passes(EWMA, &[0.1, 3.0, 2.0, 0.2, 1.0, 0.0], &steps);
    let once = [(1.0, false), (1.0, false), (9.0, true), (9.0, false)];
    check_passes(EWMA, &[0.1, 1.0, 2.0, 0.2, 0.0, 0.0], &once);
}

/// zero, factor, divisor, offset
#[test]
fn convert_is_exact_where_the_numbers_are() {
    let mut celsius = Rule::new(CONVERT, &[32.0, 5.0, 9.0, 0.0]);
    assert_eq!(
        [212.0, 32.0, -40.0].map(|f| celsius.number(f)),
        [100.0, 0.0, -40.0]
    );
    assert!(celsius.number(NAN).is_nan());
    let mut loop_current = Rule::new(CONVERT, &[4.0, 100.0, 16.0, -50.0]);
    assert_eq!(
        [4.0, 12.0, 20.0].map(|ma| loop_current.number(ma)),
        [-50.0, 0.0, 50.0]
    );
}

/// band, percent, max_silence_ms
#[test]
fn reports_come_by_exception_and_after_a_silence() {
    let mut rule = Rule::new(REPORT, &[1.0, 0.0, 1000.0]);
    assert_eq!(rule.event(20.0, "a"), 1);
    rule.advance(400);
    assert_eq!(
        [
            rule.event(20.5, "b"),
            rule.event(NAN, "n"),
            rule.event(20.9, "c")
        ],
        [0; 3]
    );
    rule.advance(599);
    assert_eq!(rule.emitted(), []);
    rule.advance(1);
    assert_eq!(rule.emitted(), [(0, "c".to_owned())]);
    // From 20.9 on now; what moves takes the payload that waits with it.
    assert_eq!([rule.event(21.5, "d"), rule.event(22.0, "e")], [0, 1]);
    rule.advance(5000);
    assert_eq!(rule.emitted(), [(1, "22".to_owned())]);
    // Back after the silence: passed, though it has not moved.
    assert_eq!([rule.event(22.0, "f"), rule.event(22.0, "g")], [1, 0]);
    let changes = [(NAN, false), (1.0, true), (1.0, false), (1.1, true)];
    check_passes(REPORT, &[0.0, 0.0, 0.0], &changes);
}

#[test]
fn silence_is_told_when_that_long_nothing_came() {
    let mut rule = Rule::new(REPORT, &[1.0, 0.0, 1000.0]);
    assert_eq!(rule.event(20.0, "a"), 1);
    rule.advance(300);
    assert_eq!(rule.event(20.5, "b"), 0);
    rule.advance(700);
    assert_eq!(rule.emitted(), [(0, "b".to_owned())]);
    // A second after the event, not after the report.
    rule.advance(299);
    assert_eq!(rule.emitted(), []);
    rule.advance(1);
    assert_eq!(rule.emitted(), [(1, "20.5".to_owned())]);
    rule.advance(10_000);
    assert_eq!(rule.emitted(), []);
}

/// for_ms
#[test]
fn a_key_that_falls_silent_is_told_once_and_so_is_its_return() {
    let mut rule = Rule::new(SILENCE, &[1000.0]);
    rule.world().now = 5000;
    for _ in 0..5 {
        assert_eq!(rule.any_event(), 0);
        rule.advance(999);
    }
    assert_eq!(rule.emitted(), []);
    rule.advance(1);
    let silent = r#"{"key":"d1","silent":true,"last":8996,"for_ms":1000}"#;
    assert_eq!(rule.emitted(), [(0, silent.to_owned())]);
    rule.advance(5000);
    assert_eq!((rule.any_event(), rule.any_event()), (0, 0));
    let back = r#"{"key":"d1","silent":false,"last":8996,"for_ms":6000}"#;
    assert_eq!(rule.emitted(), [(1, back.to_owned())]);
    // Ports that lead nowhere, and a clock that was set back.
    rule.world().denied_port = Some(0);
    rule.advance(1000);
    rule.world().now = 1;
    assert_eq!(rule.any_event(), 0);
    let back = r#"{"key":"d1","silent":false,"last":14996,"for_ms":0}"#;
    assert_eq!(rule.emitted(), [(1, back.to_owned())]);
}

#[test]
fn a_report_that_cannot_be_kept_is_an_error() {
    let mut rule = Rule::new(REPORT, &[1.0, 0.0, 1000.0]);
    let long = "x".repeat(4097);
    assert_eq!([rule.event(1.0, &long), rule.event(1.0, &long)], [1, -3]);
}
