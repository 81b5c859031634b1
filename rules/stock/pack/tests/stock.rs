//! The committed stock functions do what `docs/functions.md` says, and are as small as they should be. Whether they are what the sources
//! compile to is checked where the wasm32 target is installed, by building them again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod host;
mod more;
mod threshold;

use host::Rule;

const DEADBAND: &[u8] = include_bytes!("../../wasm/deadband.wasm");
const AVERAGE: &[u8] = include_bytes!("../../wasm/average.wasm");
const DEBOUNCE: &[u8] = include_bytes!("../../wasm/debounce.wasm");

/// Feeds (value, passes) to a function whose events are 100 ms apart.
fn check_passes(wasm: &[u8], config: &[f64], events: &[(f64, bool)]) -> Rule {
    let mut rule = Rule::new(wasm, config);
    for (index, &(value, passes)) in events.iter().enumerate() {
        rule.advance(100);
        let result: i32 = rule.event(value, "{}");
        assert_eq!(
            result,
            i32::from(passes),
            "event {index}, {value}, config {config:?}"
        );
    }
    rule
}

const NAN: f64 = f64::NAN;

/// band, percent, max_silence_ms
#[test]
fn deadband_reports_by_exception() {
    let any_change = [(NAN, false), (20.0, true), (20.0, false), (20.1, true)];
    check_passes(DEADBAND, &[0.0, 0.0, 0.0], &any_change);
    let absolute = [
        (20.0, true),
        (20.5, false),
        (21.0, false),
        (21.1, true),
        (20.2, false),
        (20.0, true),
    ];
    check_passes(DEADBAND, &[1.0, 0.0, 0.0], &absolute);
    let relative = [
        (100.0, true),
        (109.0, false),
        (91.0, false),
        (111.0, true),
        (-100.0, true),
        (-109.0, false),
        (0.0, true),
        (0.1, true),
    ];
    check_passes(DEADBAND, &[0.0, 10.0, 0.0], &relative);
    let either = [
        (100.0, true),
        (104.0, false),
        (106.0, true),
        (10.0, true),
        (12.0, true),
    ];
    check_passes(DEADBAND, &[5.0, 10.0, 0.0], &either);
    let silence = [
        (20.0, true),
        (20.0, false),
        (20.0, false),
        (20.0, true),
        (NAN, false),
    ];
    check_passes(DEADBAND, &[1.0, 0.0, 300.0], &silence);
}

#[test]
fn average_sums_up_a_pane() {
    let mut rule = Rule::new(AVERAGE, &[]);
    rule.advance(5000);
    for value in [1.5, NAN, -3.0, 7.5] {
        assert_eq!(rule.event(value, "{}"), 0);
    }
    assert_eq!(rule.close_window(), 0);
    let expected =
        r#"{"key":"d1","average":2,"min":-3,"max":7.5,"count":3,"start":4000,"end":5000}"#;
    assert_eq!(rule.emitted(), [(0, expected.to_owned())]);
    assert_eq!((rule.close_window(), rule.emitted()), (0, vec![]));
}

#[test]
fn average_escapes_its_key_and_refuses_one_that_is_too_long() {
    let mut rule = Rule::new(AVERAGE, &[]);
    rule.world().key = "a\"b";
    rule.event(1.0, "{}");
    assert_eq!(rule.close_window(), 0);
    assert!(
        rule.emitted()[0]
            .1
            .starts_with(r#"{"key":"a\"b","average":1,"#)
    );
    rule.world().key = "\u{1}".repeat(512).leak();
    rule.event(1.0, "{}");
    assert_eq!(rule.close_window(), 0);
    rule.world().key = "x".repeat(513).leak();
    rule.event(1.0, "{}");
    assert_eq!(rule.close_window(), -3);
}

#[test]
fn debounce_sends_what_held_still() {
    let mut rule = Rule::new(DEBOUNCE, &[1000.0]);
    let mut held = Vec::new();
    // Time between the events, value, payload.
    for (ms, value, payload) in [
        (0, 1.0, "bounce 1"),
        (900, 0.0, "bounce 2"),
        (900, 1.0, "first"),
        (500, 1.0, "first, latest"),
        (499, NAN, "missing"),
        (1, 1.0, "same again"),
        (2000, 0.0, "glitch"),
        (999, 1.0, "back"),
        (1000, 0.0, "second"),
    ] {
        rule.advance(ms);
        held.extend(rule.emitted());
        assert_eq!(rule.event(value, payload), 0);
    }
    rule.advance(1000);
    held.extend(rule.emitted());
    assert_eq!(
        held,
        [(0, "first, latest".to_owned()), (0, "second".to_owned())]
    );
}

#[test]
fn debounce_refuses_a_payload_that_it_cannot_keep() {
    let mut rule = Rule::new(DEBOUNCE, &[1000.0]);
    assert_eq!(rule.event(1.0, &"x".repeat(4096)), 0);
    assert_eq!(rule.event(2.0, &"x".repeat(4097)), -3);
}

#[test]
fn stock_functions_are_small_and_packed() {
    for (name, wasm, most, memory) in [
        ("threshold", threshold::THRESHOLD, 3000, true),
        ("deadband", DEADBAND, 1000, false),
        ("average", AVERAGE, 3000, true),
        ("debounce", DEBOUNCE, 3000, true),
        ("rate-limit", more::RATE_LIMIT, 800, false),
        ("moving-average", more::MOVING_AVERAGE, 3000, true),
        ("ewma", more::EWMA, 1200, false),
        ("convert", more::CONVERT, 800, false),
        ("report-by-exception", more::REPORT, 3000, true),
        ("silence", more::SILENCE, 3000, true),
    ] {
        assert!(wasm.len() <= most, "{name} has {} bytes", wasm.len());
        assert_eq!(tidemill_pack::pack(wasm).unwrap(), wasm, "{name}");
        let module = wasmi::Module::new(&wasmi::Engine::default(), wasm).unwrap();
        let pages = module
            .exports()
            .find_map(|export| export.ty().memory().map(|memory| memory.minimum()));
        assert_eq!(pages, memory.then_some(1), "{name}");
    }
}
