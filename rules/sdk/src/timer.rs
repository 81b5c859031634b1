//! Timers of a key. When one is due the handler marked `#[on_timer]` is called with its id.

use crate::ffi;
use crate::port::done;
use tidemill_abi::Code;

/// Sets the timer `id`, anew if it runs. Fails with `Quota` when too many run, and with `BadArgument` for a delay of more than ten years.
pub fn set(id: i32, delay_ms: u64) -> Result<(), Code> {
    done(ffi::timer(id, i64::try_from(delay_ms).unwrap_or(i64::MAX)))
}

/// Cancels the timer `id`; one that does not run is no error.
pub fn cancel(id: i32) {
    // The only failure is that there was nothing to cancel.
    ffi::timer(id, -1);
}
