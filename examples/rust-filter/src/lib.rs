//! Passes an event on when its temperature is above the limit that the rule sets.
#![no_std]

#[tidemill_sdk::function(
    outputs(out),
    config(limit: f64 = 50),
    tests = r#"[
        {"in": {"temperature": 61}, "out": [{"port": "out", "pass": true}]},
        {"in": {"temperature": 50}, "out": []}
    ]"#
)]
fn rust_filter(temperature: f64) -> bool {
    // A missing temperature is NaN, which is above nothing.
    temperature > cfg::limit()
}
