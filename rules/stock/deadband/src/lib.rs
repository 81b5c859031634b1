//! `deadband`: passes an event when its value has moved far enough from the last one passed, or after a silence. Where the value comes from is
//! said by the rule.
#![no_std]

#[path = "../../moved.rs"]
mod moved;

use moved::has_moved;
use tidemill_sdk::event;

#[tidemill_sdk::function(
    outputs(out),
    config(band: f64 = 0, percent: f64 = 0, max_silence_ms: f64 = 0 in 0..=315360000000),
    slots(passed, last, passed_at),
    named,
    tests = r#"[
        {"in": {"value": 20}, "out": [{"port": "out", "pass": true}]},
        {"in": {}, "out": []}
    ]"#
)]
fn deadband(value: Option<f64>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let now = event::arrival_ms() as f64;
    let pass = !slot::PASSED.is_set() || has_moved(value) || was_silent(now);
    if pass {
        slot::PASSED.set_flag(true);
        slot::LAST.set(value);
        slot::PASSED_AT.set(now);
    }
    pass
}

fn was_silent(now: f64) -> bool {
    let max_silence = cfg::max_silence_ms();
    max_silence > 0.0 && now - slot::PASSED_AT.get() >= max_silence
}
