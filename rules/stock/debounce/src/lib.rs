//! `debounce`: sends a changed value's event on only once the value has held still. Where the value comes from is said by the rule.
#![no_std]

use tidemill_sdk::{Code, event, state, timer};

/// Room for a payload. A longer one cannot be kept: it is an error of the rule, and the event becomes a dead letter.
const PAYLOAD_BYTES_MAX: usize = 4096;

/// The name of the state entry that keeps the latest payload while the timer runs.
const LATEST: &[u8] = b"latest";

/// The timer that runs while the value holds still.
const HOLD: i32 = 0;

#[tidemill_sdk::function(
    outputs(out),
    config(hold_ms: f64 = 1000 in 0..=315360000000),
    slots(candidate, waiting, sent, has_sent),
    named,
    timers(hold),
    state_bytes = 4352,
    tests = r#"[{"in": {"value": 20}, "out": []}, {"in": {}, "out": []}]"#
)]
fn debounce(value: Option<f64>) -> Result<(), Code> {
    let Some(value) = value else {
        return Ok(());
    };
    let waiting = slot::WAITING.is_set();
    let known = waiting || slot::HAS_SENT.is_set();
    let changed = !known || value != slot::CANDIDATE.get();
    if !changed && !waiting {
        return Ok(());
    }
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    state::put(LATEST, event::payload(&mut payload)?)?;
    if changed {
        slot::CANDIDATE.set(value);
        slot::WAITING.set_flag(true);
        timer::set(HOLD, cfg::hold_ms() as u64)?;
    }
    Ok(())
}

#[tidemill_sdk::on_timer]
fn held(_id: i32) -> Result<(), Code> {
    slot::WAITING.set_flag(false);
    let value = slot::CANDIDATE.get();
    if !slot::HAS_SENT.is_set() || value != slot::SENT.get() {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        port::OUT.offer(state::get(LATEST, &mut payload)?)?;
        slot::SENT.set(value);
        slot::HAS_SENT.set_flag(true);
    }
    state::remove(LATEST)
}
