//! `threshold`: passes events while their value is beyond a limit, with hysteresis, at once or after the value has held for a time. Where the
//! value comes from is said by the rule.
#![no_std]

use tidemill_sdk::{Code, Json, Port, event, state, timer};

/// Room for a payload that is kept. Of a longer one the value is, and goes out with the key.
const PAYLOAD_BYTES_MAX: usize = 4096;

/// Room for a key, which has at most 256 bytes; one that an earlier version kept may have more.
const KEY_BYTES_MAX: usize = 512;

/// Room for a key of which every byte is escaped with six, and for the rest of the object.
const OBJECT_BYTES_MAX: usize = 6 * KEY_BYTES_MAX + 128;

/// The name of the state entry with the latest payload while a switch waits.
const LATEST: &[u8] = b"latest";

/// The timer that runs while a switch waits.
const WAIT: i32 = 0;

#[tidemill_sdk::function(
    outputs(out, clear),
    config(
        limit: f64,
        hysteresis: f64 = 0,
        below: f64 = 0,
        repeat: f64 = 1,
        for_ms: f64 = 0 in 0..=315360000000,
        clear_for_ms: f64 = 0 in 0..=315360000000
    ),
    slots(on, waits, value),
    named,
    timers(wait),
    state_bytes = 4352,
    tests = r#"[
        {"in": {"value": 50.5}, "config": {"limit": 50}, "out": [{"port": "out", "pass": true}]},
        {"in": {"value": 50}, "config": {"limit": 50}, "out": []},
        {"in": {"value": 50.5}, "config": {"limit": 50, "for_ms": 1000}, "out": []}
    ]"#
)]
fn threshold(value: Option<f64>) -> Result<Option<Port>, Code> {
    let Some(value) = value else {
        return Ok(None);
    };
    let was_on = slot::ON.is_set();
    let on = is_on(value, was_on);
    let repeated = (was_on && cfg::repeat() != 0.0).then_some(port::OUT);
    if on == was_on {
        stop_waiting()?;
        return Ok(repeated);
    }
    let wait = if on {
        cfg::for_ms()
    } else {
        cfg::clear_for_ms()
    };
    if wait <= 0.0 {
        stop_waiting()?;
        return Ok(Some(switch(on)));
    }
    keep_latest(value)?;
    if !slot::WAITS.is_set() {
        slot::WAITS.set_flag(true);
        timer::set(WAIT, wait as u64)?;
    }
    Ok(repeated)
}

fn is_on(value: f64, was_on: bool) -> bool {
    // Below a limit is above its negative.
    let sign = if cfg::below() == 0.0 { 1.0 } else { -1.0 };
    let hysteresis = if was_on { cfg::hysteresis() } else { 0.0 };
    sign * value > sign * cfg::limit() - hysteresis
}

/// Switches on or off; the port is the one that tells.
fn switch(on: bool) -> Port {
    slot::ON.set_flag(on);
    if on { port::OUT } else { port::CLEAR }
}

fn stop_waiting() -> Result<(), Code> {
    if !slot::WAITS.is_set() {
        return Ok(());
    }
    slot::WAITS.set_flag(false);
    timer::cancel(WAIT);
    forget_latest()
}

/// Keeps the payload, or of one that is too long the value: what goes out at the end of a wait is never older than the latest event.
fn keep_latest(value: f64) -> Result<(), Code> {
    slot::VALUE.set(value);
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    match event::payload(&mut payload) {
        Ok(payload) => state::put(LATEST, payload),
        Err(Code::TooBig) => forget_latest(),
        Err(other) => Err(other),
    }
}

fn forget_latest() -> Result<(), Code> {
    match state::remove(LATEST) {
        Err(Code::NotFound) => Ok(()),
        done => done,
    }
}

#[tidemill_sdk::on_timer]
fn held(_id: i32) -> Result<(), Code> {
    slot::WAITS.set_flag(false);
    let port = switch(!slot::ON.is_set());
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    match state::get(LATEST, &mut payload) {
        Ok(latest) => port.offer(latest)?,
        Err(Code::NotFound) => return tell_value(port),
        Err(other) => return Err(other),
    }
    forget_latest()
}

/// Tells the latest value, whose payload was too long to be kept.
fn tell_value(port: Port) -> Result<(), Code> {
    let (mut key, mut object) = ([0; KEY_BYTES_MAX], [0; OBJECT_BYTES_MAX]);
    let mut json = Json::object(&mut object);
    json.text("key", event::key(&mut key)?)
        .number("value", slot::VALUE.get());
    port.offer(json.end()?)
}
