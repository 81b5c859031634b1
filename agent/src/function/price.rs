//! Prices of the imports, in fuel. Everything is paid before it is done; prices of functions of SQL stand with these.
//!
//! A unit is what plain code of a guest does in the same time on the same machine, within a factor of four: `cargo xtask bench prices`
//! measures it. The table in `docs/abi.md` says the same numbers, and a test holds one against the other.

/// Fuel of an import that looks at one number: inputs, slots, configuration, random numbers.
pub(super) const BARE_FUEL: u64 = 40;
/// Fuel of an import that takes a pointer, beside the bytes.
pub(super) const COPY_FUEL: u64 = 30;
/// Bytes that one unit of fuel copies.
pub(super) const COPY_BYTES_PER_FUEL: u64 = 16;
/// Fuel of writing a number as text, and of sending it.
pub(super) const FORMAT_FUEL: u64 = 150;
/// Fuel of an emission, beside its bytes.
pub(super) const EMIT_FUEL: u64 = 100;
/// Fuel of a line of the log.
pub(super) const LOG_FUEL: u64 = 300;
/// Fuel of a look into the state entries: a walk down a tree of byte strings.
pub(super) const ENTRY_FUEL: u64 = 250;
/// Fuel of a row put or read.
pub(super) const ROW_FUEL: u64 = 150;
/// Fuel of a timer set or cancelled.
pub(super) const TIMER_FUEL: u64 = 300;
/// Fuel of growing memory, and of each page that it has afterwards: all of it may have to move.
pub(super) const GROW_FUEL: u64 = 100;
/// Fuel of a page of memory after it has grown.
pub(super) const PAGE_FUEL: u64 = 4_096;
/// Fuel of an import that works on values, beside what it does with them.
pub(super) const VALUE_FUEL: u64 = 90;
/// Fuel of a call of a function of SQL, beside the function's own.
pub(super) const CALL_FUEL: u64 = 200;
/// Fuel of the reason why values do not fit, where the call goes on without them.
pub(super) const REASON_FUEL: u64 = 2_000;
/// Fuel of a byte of a payload, or of user properties, that is read as a row.
pub(super) const READ_FUEL: u64 = 25;
/// Fuel of a byte of a payload that is decoded before the call because it is no plain JSON.
pub(super) const DECODED_FUEL: u64 = 10;
/// Bytes from which on a payload is looked through first, to charge by what is in it.
pub(super) const LONG_BYTES: usize = 2_048;
/// Fuel of a name or column that is put into an object or a row that goes out.
pub(super) const NAME_FUEL: u64 = 120;
/// Fuel of a column that is looked for and may be spelt otherwise, for each column that there is.
pub(super) const LOOK_FUEL: u64 = 6;
/// Fuel of a row that is loaded, beside its values.
pub(super) const LOAD_FUEL: u64 = 200;
/// Fuel of a row that goes out, beside its bytes.
pub(super) const SEND_FUEL: u64 = 250;
/// Fuel of a byte that goes out as JSON.
pub(super) const WRITE_FUEL: u64 = 4;
/// Fuel of a row, group or pair that is gone through, kept or put in order.
pub(super) const STEP_FUEL: u64 = 30;
