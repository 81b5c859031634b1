//! Ports, and what results of imports mean as `Result`s. Where a port leads is said by the rule.

use crate::ffi;
use tidemill_abi::Code;

/// A way out. The attribute makes one for each name in `outputs(…)`.
#[derive(Clone, Copy, Debug)]
pub struct Port(i32);

impl Port {
    /// The port with this number.
    #[must_use]
    pub const fn new(index: i32) -> Port {
        Port(index)
    }

    #[inline]
    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// Sends `payload`. Fails with `Denied` where the rule binds the port to nothing, and with `TooBig` or `Quota` beyond the limits.
    #[inline]
    pub fn emit(self, payload: &[u8]) -> Result<(), Code> {
        done(ffi::emit(self.0, payload))
    }

    /// Sends `payload`, unless the rule leaves the port unbound. Fails with `TooBig` or `Quota` beyond the limits.
    #[inline]
    pub fn offer(self, payload: &[u8]) -> Result<(), Code> {
        match self.emit(payload) {
            Err(Code::Denied) => Ok(()),
            sent => sent,
        }
    }

    /// Sends a number as JSON. Fails as [`Port::emit`] does.
    #[inline]
    pub fn emit_f64(self, value: f64) -> Result<(), Code> {
        done(ffi::emit_f64(self.0, value))
    }
}

/// The result of an import that does something.
#[inline]
pub(crate) fn done(result: i32) -> Result<(), Code> {
    match result {
        0.. => Ok(()),
        _ => Err(failure(result)),
    }
}

/// The result of an import that wrote into `buf` and answered the full length.
#[inline]
pub(crate) fn fitting(buf: &[u8], result: i32) -> Result<&[u8], Code> {
    match usize::try_from(result) {
        Ok(len) => buf.get(..len).ok_or(Code::TooBig),
        Err(_) => Err(failure(result)),
    }
}

/// A result below 0; one that this version does not know counts as a bad argument.
fn failure(result: i32) -> Code {
    Code::from_value(result).unwrap_or(Code::BadArgument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_codes_become_results() {
        let buf = *b"abcd";
        for (result, expected) in [
            (0, Ok(&b""[..])),
            (3, Ok(&b"abc"[..])),
            (4, Ok(&b"abcd"[..])),
            (5, Err(Code::TooBig)),
            (-1, Err(Code::NotFound)),
            (-7, Err(Code::WrongContext)),
            (-99, Err(Code::BadArgument)),
        ] {
            assert_eq!(fitting(&buf, result), expected);
        }
        assert_eq!(done(0), Ok(()));
        assert_eq!(done(-5), Err(Code::Quota));
    }
}
