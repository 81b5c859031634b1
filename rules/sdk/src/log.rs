//! Lines for the gateway's log, which cuts them at 256 bytes and takes 10 a second from a rule.

use crate::ffi;
use tidemill_abi::Level;

/// Somebody should look.
pub fn error(line: &str) {
    ffi::log(Level::Error as i32, line.as_bytes());
}

/// Somebody may want to look.
pub fn warn(line: &str) {
    ffi::log(Level::Warn as i32, line.as_bytes());
}

/// Worth knowing.
pub fn info(line: &str) {
    ffi::log(Level::Info as i32, line.as_bytes());
}

/// Of use to who writes the function.
pub fn debug(line: &str) {
    ffi::log(Level::Debug as i32, line.as_bytes());
}
