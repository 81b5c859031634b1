//! Tidemill functions in Rust, without allocator and without standard library. A filter is one annotated function:
//!
//! ```
//! #[tidemill_sdk::function]
//! fn hot(temperature: f64) -> bool {
//!     temperature > 50.0
//! }
//! ```
//!
//! A parameter is an input: `temperature` is decoded from the payload at `/temperature` before the call. `#[input("/env/t", default = 20)]`
//! before it names another place or a default. Types: `f64` (NaN when missing), `Option<f64>`, `i64`, `i32`, `bool` and [`Text`]. A function
//! without parameters asks for what it needs through [`event`]. What it returns is an [`Answer`]: `true` passes the input on, a number is sent,
//! and `Some(port::ALARM)` passes the input on through that port.
//!
//! The attribute says what else a function needs, and the names become items beside it:
//!
//! ```
//! use tidemill_sdk::Code;
//!
//! #[tidemill_sdk::function(
//!     outputs(out, alarm),                     // port::OUT, port::ALARM
//!     config(limit: f64, unit: str = "C"),     // cfg::limit(), cfg::unit(); `count: f64 = 10 in 1..=1000` refuses others
//!     slots(count),                            // slot::COUNT
//!     tests = r#"[{"in": {"temperature": 61}, "config": {"limit": 50}, "out": [{"port": "out", "pass": true}]}]"#,
//! )]
//! fn hot(#[input("/env/t")] temperature: f64) -> Result<bool, Code> {
//!     let hot = temperature > cfg::limit();
//!     if hot {
//!         slot::COUNT.set(slot::COUNT.get() + 1.0);
//!         if slot::COUNT.get() == 100.0 {
//!             port::ALARM.emit_f64(temperature)?;
//!         }
//!     }
//!     Ok(hot)
//! }
//! ```
//!
//! Further arguments: `tumbling(length_ms = 1000, slots(sum, count))` (slots of the pane, and a window that calls [`on_window`]), `key = "/device"`,
//! `name = "…"`, `schema = 1`, `state_bytes = 4096`, `named` (a later version finds slots by their names, wherever they stand there, instead of by
//! `schema`), `timers(hold)` (names of timers, by their numbers). A windowed function, and a handler of timers or panes, has no input to pass on, and returns
//! nothing or `Result<(), Code>`:
//!
//! ```
//! #[tidemill_sdk::function(outputs(out), tumbling(length_ms = 1000, slots(sum)))]
//! fn fold(value: f64) {
//!     slot::SUM.set(slot::SUM.get() + value);
//! }
//!
//! #[tidemill_sdk::on_window]
//! fn close() -> Result<(), tidemill_sdk::Code> {
//!     port::OUT.emit_f64(slot::SUM.get())
//! }
//! ```
//!
//! ```compile_fail
//! #[tidemill_sdk::on_window]
//! fn close() -> bool {
//!     true
//! }
//! ```
//!
//! A handler marked [`on_timer`] is called with the id of a timer that is due; [`timer`] sets them.
//!
//! Build with `crate-type = ["cdylib"]`, `#![no_std]` and `cargo build --release --target wasm32-unknown-unknown`, with
//! `-C link-arg=-zstack-size=16384` where text is handled (Rust's stack of 1 MiB is more than the ABI allows), and finish with `tidemill-pack`;
//! `examples/rust-filter` has it all. The contract itself is in `docs/abi.md`; the host gives it meaning.
#![no_std]

mod answer;
pub mod event;
mod ffi;
mod input;
mod json;
pub mod log;
mod port;
mod slot;
pub mod state;
pub mod timer;

pub use answer::{Answer, Quiet};
pub use input::{Input, Text};
pub use json::Json;
pub use port::Port;
pub use slot::Slot;
pub use tidemill_abi::Code;
pub use tidemill_sdk_macros::{function, on_timer, on_window};

/// Random bits; a replay of the event sees the same ones.
#[must_use]
pub fn random() -> i64 {
    ffi::rand()
}

/// Support for generated code; not for use by hand.
#[doc(hidden)]
pub mod generated {
    use crate::{Quiet, Text, ffi};

    #[inline]
    pub fn quiet<R: Quiet>(answer: R) -> i32 {
        answer.raw()
    }

    #[inline]
    #[must_use]
    pub fn config_f64(index: i32) -> f64 {
        ffi::cfg_f64(index)
    }

    #[inline]
    #[must_use]
    pub fn config_text(index: i32) -> Text {
        Text::of_config(index)
    }
}

/// A panic is a trap: the host discards the call, and the message would cost kilobytes of formatting.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
