//! `average`: sums values up over a tumbling window and sends average, extremes and count per key. Where the value comes from and how long the
//! window is are said by the rule.
#![no_std]

use tidemill_sdk::{Code, Json, event};

/// Room for a key, which has at most 256 bytes; one that an earlier version kept may have more.
const KEY_BYTES_MAX: usize = 512;

/// Room for a key of which every byte is escaped with six, and for the rest of the object.
const OBJECT_BYTES_MAX: usize = 6 * KEY_BYTES_MAX + 256;

#[tidemill_sdk::function(
    outputs(out),
    tumbling(length_ms = 1000, slots(sum, count, min, max)),
    named,
    tests = r#"[{"in": {"value": 20}, "out": []}, {"in": {}, "out": []}]"#
)]
fn average(value: Option<f64>) {
    let Some(value) = value else {
        return;
    };
    let count = slot::COUNT.get();
    if count == 0.0 || value < slot::MIN.get() {
        slot::MIN.set(value);
    }
    if count == 0.0 || value > slot::MAX.get() {
        slot::MAX.set(value);
    }
    slot::SUM.set(slot::SUM.get() + value);
    slot::COUNT.set(count + 1.0);
}

#[tidemill_sdk::on_window]
fn close() -> Result<(), Code> {
    let count = slot::COUNT.get();
    if count == 0.0 {
        return Ok(());
    }
    let (mut key, mut object) = ([0; KEY_BYTES_MAX], [0; OBJECT_BYTES_MAX]);
    let mut json = Json::object(&mut object);
    json.text("key", event::key(&mut key)?)
        .number("average", slot::SUM.get() / count)
        .number("min", slot::MIN.get())
        .number("max", slot::MAX.get())
        .integer("count", count as i64)
        .integer("start", event::pane_start_ms())
        .integer("end", event::pane_end_ms());
    port::OUT.emit(json.end()?)
}
