//! `rate-limit`: passes at most so many events in a time. Counted is the time at which, at a steady pace, the events that passed would be through
//! (a leaky bucket): one slot, however many may pass at once.
#![no_std]

use tidemill_sdk::event;

#[tidemill_sdk::function(
    outputs(out),
    config(interval_ms: f64 = 1000 in 0..=315360000000, burst: f64 = 1),
    slots(through_at),
    named,
    tests = r#"[{"in": {"value": 20}, "out": [{"port": "out", "pass": true}]}, {"in": {}, "out": [{"port": "out", "pass": true}]}]"#
)]
fn rate_limit() -> bool {
    let now = event::arrival_ms() as f64;
    let interval = cfg::interval_ms();
    let ahead = slot::THROUGH_AT.get() - now;
    // Further ahead than all that may pass at once: the clock was set back, and nothing is known.
    let ahead = if ahead > interval * cfg::burst().max(1.0) {
        0.0
    } else {
        ahead.max(0.0)
    };
    let passes = ahead <= interval * (cfg::burst() - 1.0).max(0.0);
    if passes {
        slot::THROUGH_AT.set(now + ahead + interval);
    }
    passes
}
