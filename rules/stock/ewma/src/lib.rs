//! `ewma`: passes events whose value is far from what those before it let expect: more than so many deviations (a z-score) from their mean, both
//! weighted exponentially. Where the value comes from is said by the rule.
#![no_std]

#[tidemill_sdk::function(
    outputs(out, score),
    config(alpha: f64 = 0.05, threshold: f64 = 3, warm_up: f64 = 30, min_deviation: f64 = 0, learn: f64 = 1, repeat: f64 = 1),
    slots(seen, mean, variance, on),
    named,
    tests = r#"[
        {"in": {"value": 20}, "config": {"warm_up": 0}, "out": []},
        {"in": {}, "out": []}
    ]"#
)]
fn ewma(value: Option<f64>) -> bool {
    let Some(value) = value else {
        return false;
    };
    let (seen, mean, variance) = (slot::SEEN.get(), slot::MEAN.get(), slot::VARIANCE.get());
    let distance = value - mean;
    let deviation = root(variance).max(cfg::min_deviation());
    // Of the first value nothing can be said.
    let scored = seen > 0.0 && seen >= cfg::warm_up();
    let anomaly = scored && distance.abs() > cfg::threshold() * deviation;
    if scored && deviation > 0.0 {
        // A rule may leave the port unbound.
        port::SCORE.emit_f64(distance / deviation).ok();
    }
    // At first the plain mean and variance, or the first value would weigh as much as all that it stands for.
    let alpha = cfg::alpha().max(1.0 / (seen + 1.0));
    let weight = if anomaly { alpha * cfg::learn() } else { alpha };
    let step = weight * distance;
    slot::MEAN.set(mean + step);
    slot::VARIANCE.set((1.0 - weight) * (variance + distance * step));
    slot::SEEN.set(seen + 1.0);
    let was_on = slot::ON.is_set();
    slot::ON.set_flag(anomaly);
    anomaly && (!was_on || cfg::repeat() != 0.0)
}

/// The square root, by Newton's steps: `core` has none.
fn root(square: f64) -> f64 {
    if square <= 0.0 {
        return 0.0;
    }
    // Half of the exponent: at most 4 % off, and each step doubles the digits that are right.
    let mut root = f64::from_bits((square.to_bits() >> 1) + (1023 << 51));
    for _ in 0..5 {
        root = 0.5 * (root + square / root);
    }
    root
}
