//! The types that a parameter of a function may have, and how each is made of what the host hands over. Where a value comes from in the
//! payload is said in the manifest.

use crate::ffi;
use crate::port::fitting;
use tidemill_abi::Code;

/// A parameter of a function.
pub trait Input {
    /// The Wasm type of it: i32, i64 or f64.
    type Raw;
    /// Makes the value; `index` is the input's number in the manifest.
    fn from_raw(index: i32, raw: Self::Raw) -> Self;
}

/// A number as it is.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Input for $type {
            type Raw = $type;
            #[inline]
            fn from_raw(_: i32, raw: $type) -> $type {
                raw
            }
        })*
    };
}
plain!(f64, i64, i32);

/// `None` when the value is missing.
impl Input for Option<f64> {
    type Raw = f64;
    #[inline]
    fn from_raw(_: i32, raw: f64) -> Option<f64> {
        (!raw.is_nan()).then_some(raw)
    }
}

/// A JSON boolean, or the integers 0 and 1.
impl Input for bool {
    type Raw = i32;
    #[inline]
    fn from_raw(_: i32, raw: i32) -> bool {
        raw != 0
    }
}

/// A string that the host keeps until it is read.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    source: Source,
    index: i32,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Input,
    Config,
}

impl Text {
    pub(crate) const fn of_config(index: i32) -> Text {
        Text {
            source: Source::Config,
            index,
        }
    }

    /// Copies the string into `buf`. Fails with `NotFound` when it is missing and `TooBig` when `buf` is too small.
    pub fn read(self, buf: &mut [u8]) -> Result<&[u8], Code> {
        let len = match self.source {
            Source::Input => ffi::in_bytes(self.index, buf),
            Source::Config => ffi::cfg_bytes(self.index, buf),
        };
        fitting(buf, len)
    }
}

/// The content of a JSON string, which may be missing.
impl Input for Text {
    type Raw = i32;
    #[inline]
    fn from_raw(index: i32, _len: i32) -> Text {
        Text {
            source: Source::Input,
            index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_none() {
        assert_eq!(Option::<f64>::from_raw(0, f64::NAN), None);
        assert_eq!(Option::<f64>::from_raw(0, 1.5), Some(1.5));
    }

    #[test]
    fn booleans_come_as_integers() {
        assert!(bool::from_raw(0, 1));
        assert!(!bool::from_raw(0, 0));
    }
}
