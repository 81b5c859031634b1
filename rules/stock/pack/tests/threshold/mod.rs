//! The function that tells when a value goes beyond a limit, and when it is back.

use crate::NAN;
use crate::host::Rule;

pub(crate) const THRESHOLD: &[u8] = include_bytes!("../../../wasm/threshold.wasm");

/// Answers of the handler: nothing, the input through `out`, the input through `clear`.
const NO: i32 = 0;
const OUT: i32 = 1;
const CLEAR: i32 = 2;

/// Feeds values 100 ms apart and compares the answers.
fn check(config: &[f64; 6], events: &[(f64, i32)]) {
    let mut rule = Rule::new(THRESHOLD, config);
    for (index, &(value, expected)) in events.iter().enumerate() {
        rule.advance(100);
        let answer = rule.event(value, "{}");
        assert_eq!(
            answer, expected,
            "event {index}, {value}, config {config:?}"
        );
    }
    assert_eq!(rule.emitted(), []);
}

/// limit, hysteresis, below, repeat, for_ms, clear_for_ms
#[test]
fn a_limit_is_passed_above_and_left_below() {
    let events = [
        (50.0, NO),
        (50.1, OUT),
        (60.0, OUT),
        (NAN, NO),
        (50.0, CLEAR),
        (50.0, NO),
        (51.0, OUT),
    ];
    check(&[50.0, 0.0, 0.0, 1.0, 0.0, 0.0], &events);
    let with_hysteresis = [
        (49.0, NO),
        (51.0, OUT),
        (49.0, OUT),
        (45.1, OUT),
        (45.0, CLEAR),
        (49.0, NO),
        (50.5, OUT),
    ];
    check(&[50.0, 5.0, 0.0, 1.0, 0.0, 0.0], &with_hysteresis);
    let below = [
        (11.0, NO),
        (10.0, NO),
        (9.9, OUT),
        (11.9, OUT),
        (12.0, CLEAR),
        (10.5, NO),
    ];
    check(&[10.0, 2.0, 1.0, 1.0, 0.0, 0.0], &below);
    let once = [
        (51.0, OUT),
        (52.0, NO),
        (NAN, NO),
        (52.0, NO),
        (50.0, CLEAR),
        (51.0, OUT),
    ];
    check(&[50.0, 0.0, 0.0, 0.0, 0.0, 0.0], &once);
}

/// Milliseconds to wait before, value, payload, and what the handler answers.
type Step = (i64, f64, &'static str, i32);

/// Goes through the steps; gives what timers sent, with the moment.
fn sent(config: &[f64; 6], steps: &[Step]) -> Vec<(i64, i32, String)> {
    let mut rule = Rule::new(THRESHOLD, config);
    let (mut now, mut sent) = (0, Vec::new());
    for &(ms, value, payload, expected) in steps {
        for _ in 0..ms {
            rule.advance(1);
            now += 1;
            let emitted = rule.emitted().into_iter();
            sent.extend(emitted.map(|(port, payload)| (now, port, payload)));
        }
        assert_eq!(rule.event(value, payload), expected, "{payload} at {now}");
    }
    sent
}

#[test]
fn what_held_long_enough_is_told_at_that_moment_with_the_latest_payload() {
    let steps = [
        (0, 51.0, "a", NO),
        (200, 52.0, "b", NO),
        (50, NAN, "missing", NO),
        // Told at 300, between two events.
        (100, 53.0, "c", NO),
        (100, 50.0, "cool", NO),
        (100, 54.0, "hot again", NO),
        (300, 49.0, "d", NO),
        (100, 48.0, "e", NO),
        (150, 47.0, "f", NO),
        (500, 46.0, "g", NO),
    ];
    let expected = [(300, 0, "b".to_owned()), (1050, 1, "e".to_owned())];
    assert_eq!(sent(&[50.0, 0.0, 0.0, 0.0, 300.0, 200.0], &steps), expected);
}

#[test]
fn what_does_not_hold_is_not_told() {
    let steps = [
        (0, 51.0, "a", NO),
        (299, 50.0, "b", NO),
        (100, 51.0, "c", NO),
        (250, 50.0, "d", NO),
        (1000, 49.0, "e", NO),
    ];
    assert_eq!(sent(&[50.0, 0.0, 0.0, 0.0, 300.0, 0.0], &steps), []);
}

#[test]
fn events_pass_while_it_waits_for_the_end_of_an_alarm() {
    let steps = [
        (0, 51.0, "a", OUT),
        (100, 49.0, "b", OUT),
        (100, 51.0, "c", OUT),
        (100, 49.0, "d", OUT),
        (300, 48.0, "e", NO),
    ];
    let expected = [(600, 1, "d".to_owned())];
    assert_eq!(sent(&[50.0, 0.0, 0.0, 1.0, 0.0, 300.0], &steps), expected);
}

#[test]
fn a_wait_that_an_edit_takes_away_ends_at_the_next_event() {
    let mut rule = Rule::new(THRESHOLD, &[50.0, 0.0, 0.0, 0.0, 300.0, 0.0]);
    assert_eq!(rule.event(51.0, "a"), NO);
    rule.world().config[4] = 0.0;
    assert_eq!(rule.event(52.0, "b"), OUT);
    rule.advance(1000);
    assert_eq!(rule.emitted(), []);
}

#[test]
fn a_port_that_leads_nowhere_is_no_error() {
    let mut rule = Rule::new(THRESHOLD, &[50.0, 0.0, 0.0, 0.0, 10.0, 10.0]);
    rule.world().denied_port = Some(1);
    rule.event(51.0, "a");
    rule.advance(10);
    rule.event(49.0, "b");
    rule.advance(10);
    assert_eq!(rule.emitted(), [(0, "a".to_owned())]);
    rule.event(51.0, "c");
    rule.advance(10);
    assert_eq!(rule.emitted(), [(0, "c".to_owned())]);
}

#[test]
fn of_a_payload_that_cannot_be_kept_key_and_value_go_out() {
    let long = "x".repeat(4097);
    let mut rule = Rule::new(THRESHOLD, &[50.0, 0.0, 0.0, 1.0, 300.0, 0.0]);
    assert_eq!([rule.event(1.0, &long), rule.event(51.0, &long)], [NO, NO]);
    rule.advance(300);
    assert_eq!(
        rule.emitted(),
        [(0, r#"{"key":"d1","value":51}"#.to_owned())]
    );
    let mut rule = Rule::new(THRESHOLD, &[50.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(
        [rule.event(51.0, &long), rule.event(1.0, &long)],
        [OUT, CLEAR]
    );
}
