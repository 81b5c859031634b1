//! `report-by-exception`: passes an event when its value has moved far enough from the last one sent, and sends the latest one anyway after a
//! silence. A sensor that has stopped is noticed. Where the value comes from is said by the rule.
#![no_std]

#[path = "../../moved.rs"]
mod moved;

use moved::has_moved;
use tidemill_sdk::{Code, event, state, timer};

/// Room for a payload that is kept. A longer one is an error of the rule, and the event becomes a dead letter.
const PAYLOAD_BYTES_MAX: usize = 4096;

/// The name of the state entry with the latest payload that was not sent.
const LATEST: &[u8] = b"latest";

/// The timer that runs since something was sent.
const REPORT: i32 = 0;

/// The timer that runs since the latest event.
const SILENCE: i32 = 1;

#[tidemill_sdk::function(
    outputs(out, silent),
    config(band: f64 = 0, percent: f64 = 0, max_silence_ms: f64 = 60000 in 0..=315360000000),
    slots(reports, last, pending, latest),
    named,
    timers(silence),
    state_bytes = 4352,
    tests = r#"[{"in": {"value": 20}, "out": [{"port": "out", "pass": true}]}, {"in": {}, "out": []}]"#
)]
fn report_by_exception(value: Option<f64>) -> Result<bool, Code> {
    let Some(value) = value else {
        return Ok(false);
    };
    let max_silence = cfg::max_silence_ms();
    if max_silence > 0.0 {
        timer::set(SILENCE, max_silence as u64)?;
    }
    // Whatever comes is, where nothing was sent yet or the silence was reported.
    let news = !slot::REPORTS.is_set();
    if news || has_moved(value) {
        if slot::PENDING.is_set() {
            state::remove(LATEST)?;
        }
        sent(value)?;
        return Ok(true);
    }
    if max_silence > 0.0 {
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        state::put(LATEST, event::payload(&mut payload)?)?;
        slot::PENDING.set_flag(true);
        slot::LATEST.set(value);
    }
    Ok(false)
}

fn sent(value: f64) -> Result<(), Code> {
    slot::REPORTS.set_flag(true);
    slot::PENDING.set_flag(false);
    slot::LAST.set(value);
    let silence = cfg::max_silence_ms();
    if silence > 0.0 {
        timer::set(REPORT, silence as u64)?;
    }
    Ok(())
}

#[tidemill_sdk::on_timer]
fn due(id: i32) -> Result<(), Code> {
    if id == SILENCE {
        slot::REPORTS.set_flag(false);
        // A rule may leave the port unbound.
        port::SILENT.emit_f64(slot::LAST.get()).ok();
        return Ok(());
    }
    if !slot::PENDING.is_set() {
        return Ok(());
    }
    let mut payload = [0; PAYLOAD_BYTES_MAX];
    port::OUT.offer(state::get(LATEST, &mut payload)?)?;
    state::remove(LATEST)?;
    sent(slot::LATEST.get())
}
