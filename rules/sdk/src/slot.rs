//! Numeric state, the fast kind: it needs no memory and no encoding. Bytes are kept by [`crate::state`].

use crate::ffi;

/// A number that lasts, per rule and key, or per pane for those named in `tumbling(…)`. 0.0 at first.
#[derive(Clone, Copy, Debug)]
pub struct Slot(i32);

impl Slot {
    /// The slot with this number.
    #[must_use]
    pub const fn new(index: i32) -> Slot {
        Slot(index)
    }

    /// The number in it.
    #[inline]
    #[must_use]
    pub fn get(self) -> f64 {
        ffi::reg_get(self.0)
    }

    /// Puts a number in.
    #[inline]
    pub fn set(self, value: f64) {
        ffi::reg_set(self.0, value);
    }

    /// Returns `true` if the number is anything but 0.0, as [`Slot::set_flag`] leaves it.
    #[inline]
    #[must_use]
    pub fn is_set(self) -> bool {
        self.get() != 0.0
    }

    /// Puts in 1.0 or 0.0.
    #[inline]
    pub fn set_flag(self, flag: bool) {
        self.set(f64::from(u8::from(flag)));
    }
}
