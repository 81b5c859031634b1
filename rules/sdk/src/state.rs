//! State entries: bytes by name, per rule and key. Numbers are cheaper in a [`crate::Slot`].

use crate::ffi;
use crate::port::{done, fitting};
use tidemill_abi::Code;

/// Copies the entry `name` into `buf`. Fails with `NotFound` where there is none and `TooBig` when `buf` is too small.
pub fn get<'a>(name: &[u8], buf: &'a mut [u8]) -> Result<&'a [u8], Code> {
    let len = ffi::st_get(name, buf);
    fitting(buf, len)
}

/// Writes the entry `name`. Fails with `TooBig` or `Quota` beyond the limits.
pub fn put(name: &[u8], value: &[u8]) -> Result<(), Code> {
    done(ffi::st_put(name, value))
}

/// Removes the entry `name`. Fails with `NotFound` where there is none.
pub fn remove(name: &[u8]) -> Result<(), Code> {
    done(ffi::st_del(name))
}
