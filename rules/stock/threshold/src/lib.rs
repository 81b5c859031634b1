//! `threshold`: passes events while their value is beyond a limit, with hysteresis. Where the value comes from is said by the rule.
#![no_std]

#[tidemill_sdk::function(
    outputs(out, clear),
    config(limit: f64, hysteresis: f64 = 0, below: f64 = 0, repeat: f64 = 1),
    slots(on),
    tests = r#"[
        {"in": {"value": 50.5}, "config": {"limit": 50}, "out": [{"port": "out", "pass": true}]},
        {"in": {"value": 50}, "config": {"limit": 50}, "out": []}
    ]"#
)]
fn threshold(value: Option<f64>) -> bool {
    let Some(value) = value else {
        return false;
    };
    // Below a limit is above its negative.
    let sign = if cfg::below() == 0.0 { 1.0 } else { -1.0 };
    let (level, limit) = (sign * value, sign * cfg::limit());
    let was_on = slot::ON.is_set();
    let on = level
        > if was_on {
            limit - cfg::hysteresis()
        } else {
            limit
        };
    if on == was_on {
        return on && cfg::repeat() != 0.0;
    }
    slot::ON.set_flag(on);
    if !on {
        // A rule may leave the port unbound.
        port::CLEAR.emit_f64(value).ok();
    }
    on
}
