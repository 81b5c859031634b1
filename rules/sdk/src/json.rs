//! Writes a flat JSON object into a buffer, for emissions that are more than a number. The host formats the numbers, since a formatter of
//! floats is larger than most functions.

use crate::ffi;
use tidemill_abi::Code;

/// A JSON object that is being written. What does not fit is noticed at the end.
pub struct Json<'a> {
    buf: &'a mut [u8],
    /// Length in bytes that the text would have if all had fitted.
    len: usize,
}

impl<'a> Json<'a> {
    /// Begins an object in `buf`.
    pub fn object(buf: &'a mut [u8]) -> Json<'a> {
        let mut json = Json { buf, len: 0 };
        json.push(b'{');
        json
    }

    /// Adds a string. `value` should be UTF-8; quotes, backslashes and control characters are escaped.
    pub fn text(&mut self, name: &str, value: &[u8]) -> &mut Json<'a> {
        self.name(name);
        self.quoted(value);
        self
    }

    /// Adds a number in its shortest form; NaN and infinities become `null`.
    pub fn number(&mut self, name: &str, value: f64) -> &mut Json<'a> {
        self.name(name);
        let room = self.buf.get_mut(self.len..).unwrap_or_default();
        self.len += usize::try_from(ffi::fmt_f64(value, room)).unwrap_or(0);
        self
    }

    /// Adds `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Json<'a> {
        self.name(name);
        let word: &[u8] = if value { b"true" } else { b"false" };
        for &letter in word {
            self.push(letter);
        }
        self
    }

    /// Adds an integer.
    pub fn integer(&mut self, name: &str, value: i64) -> &mut Json<'a> {
        self.name(name);
        if value < 0 {
            self.push(b'-');
        }
        let magnitude = value.unsigned_abs();
        let mut unit = 1;
        while magnitude / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            self.push(b'0' + (magnitude / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    /// Ends the object and gives its text; `TooBig` if it did not fit.
    pub fn end(mut self) -> Result<&'a [u8], Code> {
        self.push(b'}');
        let Json { buf, len } = self;
        buf.get(..len).ok_or(Code::TooBig)
    }

    fn name(&mut self, name: &str) {
        if self.len > 1 {
            self.push(b',');
        }
        self.quoted(name.as_bytes());
        self.push(b':');
    }

    fn quoted(&mut self, text: &[u8]) {
        self.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' => {
                    self.push(b'\\');
                    self.push(byte);
                }
                0..0x20 => {
                    for escape in *b"\\u00" {
                        self.push(escape);
                    }
                    self.push(hex_digit(byte >> 4));
                    self.push(hex_digit(byte & 15));
                }
                _ => self.push(byte),
            }
        }
        self.push(b'"');
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.buf.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..10 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &[u8], cap: usize) -> Result<[u8; 64], Code> {
        let (mut buf, mut copy) = ([0; 64], [0; 64]);
        let mut json = Json::object(buf.get_mut(..cap).unwrap());
        json.text("k", value);
        let written = json.end()?;
        copy.get_mut(..written.len())
            .unwrap()
            .copy_from_slice(written);
        Ok(copy)
    }

    #[test]
    fn strings_are_escaped() {
        for (value, expected) in [
            (&b""[..], &br#"{"k":""}"#[..]),
            (b"d1", br#"{"k":"d1"}"#),
            (b"a\"b\\c", br#"{"k":"a\"b\\c"}"#),
            (b"\n\x1f\x00", br#"{"k":"\u000a\u001f\u0000"}"#),
            ("\u{fc}".as_bytes(), "{\"k\":\"\u{fc}\"}".as_bytes()),
        ] {
            assert!(text(value, 64).unwrap().starts_with(expected));
        }
    }

    #[test]
    fn integers_have_all_their_digits() {
        for (value, expected) in [
            (0, &b"{\"n\":0,\"m\":7}"[..]),
            (-10, b"{\"n\":-10,\"m\":7}"),
            (i64::MAX, b"{\"n\":9223372036854775807,\"m\":7}"),
            (i64::MIN, b"{\"n\":-9223372036854775808,\"m\":7}"),
        ] {
            let mut buf = [0; 64];
            let mut json = Json::object(&mut buf);
            json.integer("n", value).integer("m", 7);
            assert_eq!(json.end(), Ok(expected));
        }
    }

    #[test]
    fn flags_are_words() {
        let mut buf = [0; 64];
        let mut json = Json::object(&mut buf);
        json.flag("on", true).flag("off", false);
        assert_eq!(json.end(), Ok(&b"{\"on\":true,\"off\":false}"[..]));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_not_cut() {
        assert!(text(b"12345", 13).is_ok());
        assert_eq!(text(b"12345", 12), Err(Code::TooBig));
        assert_eq!(text(b"12345", 0), Err(Code::TooBig));
    }
}
