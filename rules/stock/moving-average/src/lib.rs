//! `moving-average`: sends the average of the last values, at each value. Where the value comes from is said by the rule.
#![no_std]

use tidemill_sdk::{Code, state};

/// The longest that a rule may ask for: what is added up once a round is then far below the fuel of a call.
const COUNT_MAX: u16 = 1000;

#[tidemill_sdk::function(
    outputs(out),
    config(count: f64 = 10, warm_up: f64 = 1),
    slots(sum, next, filled, length),
    named,
    state_bytes = 58000,
    tests = r#"[
        {"in": {"value": 20}, "out": [{"port": "out", "payload": 20}]},
        {"in": {"value": 20}, "config": {"warm_up": 2}, "out": []},
        {"in": {}, "out": []}
    ]"#
)]
fn moving_average(value: Option<f64>) -> Result<(), Code> {
    let Some(value) = value else {
        return Ok(());
    };
    let count = (cfg::count() as u16).clamp(1, COUNT_MAX);
    if slot::LENGTH.get() != f64::from(count) {
        begin_anew(count);
    }
    let next = slot::NEXT.get() as u16;
    let filled = slot::FILLED.get();
    let full = filled == f64::from(count);
    let gone = if full { kept(next)? } else { 0.0 };
    state::put(&name(next), &value.to_le_bytes())?;
    let filled = if full { filled } else { filled + 1.0 };
    slot::FILLED.set(filled);
    let sum = if next + 1 == count {
        slot::NEXT.set(0.0);
        // Once a round all of them: what is added and taken away again leaves its rounding behind.
        (0..count).try_fold(0.0, |sum, place| Ok::<f64, Code>(sum + kept(place)?))?
    } else {
        slot::NEXT.set(f64::from(next + 1));
        slot::SUM.get() - gone + value
    };
    slot::SUM.set(sum);
    if filled < cfg::warm_up().min(f64::from(count)) {
        return Ok(());
    }
    port::OUT.emit_f64(sum / filled)
}

/// The rule has another count than before, or is new.
fn begin_anew(count: u16) {
    for place in 0..slot::FILLED.get() as u16 {
        state::remove(&name(place)).ok();
    }
    slot::SUM.set(0.0);
    slot::NEXT.set(0.0);
    slot::FILLED.set(0.0);
    slot::LENGTH.set(f64::from(count));
}

/// The name of the state entry of a place. None begins with 255: such names are the host's.
fn name(place: u16) -> [u8; 2] {
    [(place % 255) as u8, (place / 255) as u8]
}

fn kept(place: u16) -> Result<f64, Code> {
    let mut bytes = [0; 8];
    state::get(&name(place), &mut bytes)?;
    Ok(f64::from_le_bytes(bytes))
}
