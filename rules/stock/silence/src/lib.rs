//! `silence`: tells that nothing came for a time, by a timer and so at that very moment, and that something comes again. It looks at no value.
#![no_std]

use tidemill_sdk::{Code, Json, Port, event, timer};

/// Room for a key, which has at most 256 bytes; one that an earlier version kept may have more.
const KEY_BYTES_MAX: usize = 512;

/// Room for a key of which every byte is escaped with six, and for the rest of the object.
const OBJECT_BYTES_MAX: usize = 6 * KEY_BYTES_MAX + 256;

/// The timer that runs since the latest event.
const SILENCE: i32 = 0;

#[tidemill_sdk::function(
    outputs(silent, back),
    config(for_ms: f64 in 1..=315360000000),
    slots(is_silent, last),
    named,
    timers(silence),
    tests = r#"[{"in": {}, "config": {"for_ms": 600000}, "out": []}]"#
)]
fn silence() -> Result<(), Code> {
    timer::set(SILENCE, cfg::for_ms() as u64)?;
    if slot::IS_SILENT.is_set() {
        slot::IS_SILENT.set_flag(false);
        tell(port::BACK, false)?;
    }
    slot::LAST.set(event::arrival_ms() as f64);
    Ok(())
}

#[tidemill_sdk::on_timer]
fn fell_silent(_id: i32) -> Result<(), Code> {
    slot::IS_SILENT.set_flag(true);
    tell(port::SILENT, true)
}

fn tell(port: Port, silent: bool) -> Result<(), Code> {
    let last = slot::LAST.get() as i64;
    let (mut key, mut object) = ([0; KEY_BYTES_MAX], [0; OBJECT_BYTES_MAX]);
    let mut json = Json::object(&mut object);
    json.text("key", event::key(&mut key)?)
        .flag("silent", silent)
        .integer("last", last)
        // A clock that was set back since makes nothing negative.
        .integer("for_ms", (event::arrival_ms() - last).max(0));
    port.offer(json.end()?)
}
