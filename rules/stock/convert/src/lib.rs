//! `convert`: a value in another unit. Where the value comes from is said by the rule.
#![no_std]

#[tidemill_sdk::function(
    outputs(out),
    config(zero: f64 = 0, factor: f64 = 1, divisor: f64 = 1, offset: f64 = 0),
    tests = r#"[
        {"in": {"value": 212}, "config": {"zero": 32, "factor": 5, "divisor": 9}, "out": [{"port": "out", "payload": 100}]},
        {"in": {}, "out": []}
    ]"#
)]
fn convert(value: f64) -> f64 {
    // A factor and a divisor, because 5/9 is no number that could be written down.
    (value - cfg::zero()) * cfg::factor() / cfg::divisor() + cfg::offset()
}
